//! What goes wrong, and what is said of it: for which image, what it was, what to do.

use std::net::TcpListener;

use composefs_oci::{Error, transport::registry::fault::Fault};
use composefs_testkit::{
    images::Image,
    registry::{Fault as Misdeed, Registry, RegistryOptions, Rule, Tls},
};

use crate::lab::{chain, fault, image, manifest, options, pull_with, trusting};

/// Fails, and says what is expected and what to do.
fn fails(
    reference: &str,
    registry_options: &composefs_oci::transport::registry::RegistryOptions,
) -> (Error, String) {
    let error = manifest(reference, registry_options).expect_err("it worked");
    let hint = error.hint().unwrap_or_default();
    let text = format!("{}\nhint: {hint}", chain(&error));
    (error, text)
}

#[test]
fn nobody_there() {
    let (error, text) = fails("docker://no-such-host.invalid/app:v1", &options());
    assert!(
        text.starts_with(
            "manifest v1 of no-such-host.invalid/app: the name no-such-host.invalid cannot be resolved"
        ),
        "{text}"
    );
    assert!(text.contains("hint: check the spelling"), "{text}");
    assert!(matches!(fault(error), Fault::UnknownHost { .. }));

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (error, text) = fails(&format!("docker://127.0.0.1:{port}/app:v1"), &options());
    assert!(text.contains(&format!("127.0.0.1:{port} refuses the connection")), "{text}");
    assert!(text.contains("hint: check that the registry runs"), "{text}");
    assert!(error.is_transient());
    assert!(matches!(fault(error), Fault::Refused { .. }));
}

#[test]
fn tls_and_trust() {
    let plain = Registry::start(RegistryOptions::default());
    let (error, text) = fails(&plain.reference("app:v1"), &options().tls_verify(None));
    assert!(text.contains("TLS") && text.contains("--tls-verify=false"), "{text}");
    assert!(matches!(fault(error), Fault::NoTls { .. } | Fault::Tls { .. }));

    let registry = Registry::start(RegistryOptions::default().tls(Tls::Server));
    registry.add_image("app", "v1", &image());
    let reference = registry.reference("app:v1");
    let (error, text) = fails(&reference, &options().tls_verify(None));
    assert!(text.contains(&format!("the certificate of {} is not trusted", registry.host())), "{text}");
    assert!(text.contains(&format!("/etc/containers/certs.d/{}/ca.crt", registry.host())), "{text}");
    assert!(matches!(fault(error), Fault::Untrusted { .. }));
    let dir = tempfile::TempDir::new().unwrap();
    pull_with(&reference, &trusting(&registry, dir.path(), false)).unwrap();
    pull_with(&reference, &options()).unwrap();

    let registry = Registry::start(RegistryOptions::default().tls(Tls::ClientCertificate));
    registry.add_image("app", "v1", &image());
    let reference = registry.reference("app:v1");
    let (error, text) = fails(&reference, &trusting(&registry, &dir.path().join("without"), false));
    assert!(text.contains("client.cert"), "{text}");
    assert!(matches!(fault(error), Fault::WantsCertificate { .. }));
    pull_with(&reference, &trusting(&registry, &dir.path().join("with"), true)).unwrap();
}

#[test]
fn what_is_not_there() {
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image("app", "v1", &image());
    let (error, text) = fails(&registry.reference("app:v2"), &options());
    assert!(
        text.contains(&format!(
            "manifest v2 of {}/app: {0} has no such tag, or no such repository",
            registry.host()
        )),
        "{text}"
    );
    assert!(text.contains("hint: check the tag"), "{text}");
    assert!(text.contains("and the image's name"), "{text}");
    assert!(matches!(fault(error), Fault::NotFound { what: "tag", .. }));
    let (error, _) = fails(&registry.reference(&format!("app@sha256:{}", "0".repeat(64))), &options());
    assert!(matches!(fault(error), Fault::NotFound { what: "manifest", .. }));
    let (error, text) = fails(&registry.reference("absent:v1"), &options());
    assert!(text.contains("no such repository") && text.contains("hint: check the image's name"), "{text}");
    assert!(matches!(fault(error), Fault::NoRepository { .. }));
    let layer = &image().layers[0];
    registry.remove_blob("app", &layer.digest);
    let error = pull_with(&registry.reference("app:v1"), &options()).unwrap_err();
    assert!(
        matches!(&error, Error::BlobMissing { digest, .. } if digest.as_str() == layer.digest),
        "{error:?}"
    );
    // Nobody's image is not worth a second try.
    registry.forget_requests();
    fails(&registry.reference("app:v3"), &options());
    assert_eq!(registry.requests().len(), 1);
}

#[test]
fn denied_and_limited() {
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image("app", "v1", &image());
    let reference = registry.reference("app:v1");
    registry.inject(Rule::new("/manifests/", Misdeed::status(403, "DENIED")));
    let (error, text) = fails(&reference, &options());
    assert!(text.contains("denies access") && text.contains("oci login"), "{text}");
    assert!(matches!(fault(error), Fault::Denied { given: false, .. }));
    assert_eq!(registry.requests().len(), 1);

    registry.heal();
    registry.inject(Rule::new("/manifests/", Misdeed::busy(429, "7")));
    let (error, text) = fails(&reference, &options());
    assert!(text.contains("takes no more requests") && text.contains("hint: try again in 7 s"), "{text}");
    assert!(error.is_transient());
    assert!(matches!(fault(error), Fault::RateLimited { after: Some(_), .. }));
}

#[test]
fn what_passes_is_tried_again() {
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image("app", "v1", &image());
    let reference = registry.reference("app:v1");
    for misdeed in [
        Misdeed::status(500, "UNKNOWN"),
        Misdeed::busy(429, "0"),
        Misdeed::busy(503, "Sun, 06 Nov 1994 08:49:37 GMT"),
        Misdeed::Close,
        Misdeed::CutAfter(10),
        Misdeed::LongLength(10),
    ] {
        registry.heal();
        registry.inject(Rule::new("/manifests/", misdeed.clone()).times(2));
        manifest(&reference, &options()).unwrap_or_else(|error| panic!("{misdeed:?}: {}", chain(&error)));
    }
    registry.heal();
    registry.forget_requests();
    registry.inject(Rule::new("/manifests/", Misdeed::status(503, "UNAVAILABLE")));
    let (error, _) = fails(&reference, &options());
    assert!(matches!(fault(error), Fault::Status { status: 503, .. }));
    assert_eq!(registry.requests().len(), 6);
}

#[test]
fn a_blob_that_breaks_off_names_its_registry() {
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image(
        "app",
        "v1",
        &Image::new([crate::lab::layer(1, 500_000, composefs_testkit::images::Compression::Gzip)]),
    );
    registry.inject(Rule::new("/blobs/", Misdeed::CutAfter(1000)));
    let error = pull_with(&registry.reference("app:v1"), &options()).unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(error.hint().is_some());
    assert!(matches!(fault(error), Fault::Broken { host, .. } if host == registry.host()));
}
