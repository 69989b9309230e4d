//! Layers that registries don't have, at the addresses their descriptors name.

use composefs_oci::{Error, digest::BlobFault, environment::Environment};
use composefs_testkit::{
    images,
    registry::{Auth, Place, Registry, RegistryOptions, Tls},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::lab::{image, pull_with, trusting, with_login};

/// Stores the image under `tag`, its first layer at these addresses and not in the registry.
fn store(registry: &Registry, tag: &str, urls: &[String]) {
    registry.add_image("app", "base", &image());
    let (_, bytes) = registry.find_manifest("app", "base").unwrap();
    let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
    manifest["layers"][0]["urls"] = json!(urls);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let stored = registry.manifest("app", images::MANIFEST, &bytes);
    registry.tag("app", tag, &stored.digest);
    registry.remove_blob("app", &image().layers[0].digest);
}

#[test]
fn the_registry_is_asked_first_then_each_address() {
    let dir = TempDir::new().unwrap();
    let auth = Auth::Basic("ann".to_owned(), "secret".to_owned());
    let registry = Registry::start(RegistryOptions::default().tls(Tls::Server).auth(auth));
    let vendor = Registry::start(RegistryOptions::default().tls(Tls::Server));
    let authority = dir.path().join("vendor.crt");
    std::fs::write(&authority, &vendor.certificates().unwrap().authority).unwrap();
    let options = trusting(&registry, &dir.path().join("certs"), false)
        .keychain(with_login("ann", "secret").keychain)
        .environment(Environment::default().variable("SSL_CERT_FILE", &authority));
    let reference = |tag: &str| registry.reference(&format!("app:{tag}"));
    let [layer, other, _] = &image().layers[..] else { unreachable!() };
    for layer in [layer, other] {
        vendor.blob_as("win", &layer.digest, &layer.blob);
    }
    let at = |digest: &str| vendor.url(Place::Registry, &format!("/v2/win/blobs/{digest}"));

    // The registry may have it after all: nobody else is asked.
    store(&registry, "v0", &[at(&layer.digest)]);
    registry.blob_as("app", &layer.digest, &layer.blob);
    let expected = pull_with(&reference("v0"), &options).unwrap();
    assert_eq!(vendor.requests().len(), 0);

    // Nobody is asked without TLS, nor at what is no address.
    let plain = at(&layer.digest).replace("https://", "http://");
    store(&registry, "v1", &[plain, "nowhere".to_owned(), "file:///etc/passwd".to_owned()]);
    let error = pull_with(&reference("v1"), &options).unwrap_err();
    assert!(
        matches!(&error, Error::BlobMissing { digest, .. } if digest.as_str() == layer.digest),
        "{error:?}"
    );
    assert_eq!(vendor.requests().len(), 0);

    store(&registry, "v2", &[at(&image().layers[2].digest), at(&layer.digest)]);
    let pulled = pull_with(&reference("v2"), &options).unwrap();
    assert_eq!((pulled.config, pulled.images), (expected.config, expected.images));
    assert_eq!(vendor.requests().len(), 2);
    assert!(vendor.requests().iter().all(|request| request.header("authorization").is_none()));

    // What comes from there must be the layer.
    store(&registry, "v3", &[at(&other.digest)]);
    let error = pull_with(&reference("v3"), &options).unwrap_err();
    assert!(
        matches!(error, Error::BlobMismatch { fault: BlobFault::Size { .. } | BlobFault::Digest { .. }, .. }),
        "{error:?}"
    );
}
