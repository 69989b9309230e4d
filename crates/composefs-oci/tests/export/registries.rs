//! Into registries, ours that misbehaves and Debian's.

use composefs_oci::{
    credentials::{Credentials, KeychainOptions},
    export::{ExportOptions, Packing},
};
use composefs_testkit::{
    docker_registry::{DockerRegistry, USER, Wants},
    images::{Compression, Image, sha256},
    registry::{Fault, Registry, RegistryOptions, Rule},
};

use crate::lab::{Lab, chain, image, layer};

#[test]
fn what_is_there_is_not_sent_and_not_packed() {
    let mut lab = Lab::new();
    let registry = Registry::start(RegistryOptions::default());
    let pulled = lab.have("x", &image());
    let first = lab.push("x", &registry.reference("app:v1"), Packing::Gzip(None)).unwrap();
    assert_eq!((first.copied.blobs, first.copied.present), (4, 0));
    registry.forget_requests();
    let packed = lab.heard.starting("begin pack").len();
    assert_eq!(packed, 3);
    let again = lab.push("x", &registry.reference("app:v2"), Packing::Gzip(None)).unwrap();
    assert_eq!((again.copied.blobs, again.copied.present), (0, 4));
    assert_eq!(again.copied.manifest, first.copied.manifest);
    assert!(registry.requests().iter().all(|request| !request.path.contains("/uploads/")));
    assert_eq!(lab.heard.starting("begin pack").len(), packed);
    let back = lab.pull(&registry.reference("app:v2"), "back");
    assert_eq!((back.config, back.images), (pulled.config, pulled.images));
}

#[test]
fn a_cut_upload_goes_on() {
    let mut lab = Lab::new();
    let registry = Registry::start(RegistryOptions::default());
    let large = Image::new([layer(1, 34 << 20, Compression::Plain)]);
    lab.have("x", &large);
    registry.inject(Rule::new("/blobs/uploads/", Fault::status(413, "SIZE_INVALID")).method("PUT").times(1));
    registry.inject(Rule::new("/blobs/uploads/", Fault::Close).method("PATCH").after(1).times(1));
    let options = ExportOptions::default().packing(Packing::Gzip(Some(0))).jobs(1);
    let pushed = lab
        .push_as("x", &registry.reference("app:v1"), &options)
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let layer = &pushed.images[0].layers[0];
    assert_eq!(sha256(&registry.find_blob("app", layer.digest.as_str()).unwrap()), layer.digest.as_str());
    let requests = registry.requests();
    let patches: Vec<&str> = requests.iter().filter_map(|request| request.header("content-range")).collect();
    assert_eq!(patches.len(), 3, "{patches:?}");
    assert!(patches[2].starts_with("33554432-"), "{patches:?}");
}

#[test]
fn what_fails_for_good_leaves_no_tag() {
    let mut lab = Lab::new();
    let registry = Registry::start(RegistryOptions::default());
    lab.have("x", &image());
    registry.inject(Rule::new("/manifests/", Fault::status(500, "UNKNOWN")));
    assert!(lab.push("x", &registry.reference("app:v1"), Packing::Gzip(None)).is_err());
    assert!(registry.tags("app").is_empty());
}

#[test]
fn debians_registry() {
    let mut lab = Lab::new();
    let Some(registry) = DockerRegistry::start_or_skip(&lab.path(""), Wants::Password) else { return };
    let (user, password) = USER;
    let login = KeychainOptions::default().credentials(Some(Credentials::basic(user, password)));
    lab.registry = lab.registry.keychain(login);
    let pulled = lab.have("x", &image());
    for (tag, packing) in
        [("gzip", Packing::Gzip(None)), ("zstd", Packing::Zstd(None)), ("tar", Packing::Plain)]
    {
        let to = registry.reference(&format!("team/app:{tag}"));
        let pushed = lab.push("x", &to, packing).unwrap_or_else(|error| panic!("{tag}: {}", chain(&error)));
        let again = lab.push("x", &to, packing).unwrap();
        assert_eq!((again.copied.blobs, again.copied.present), (0, 4));
        let back = lab.pull(&to, "back");
        assert_eq!(back.manifest, pushed.copied.manifest);
        assert_eq!((back.config, back.images), (pulled.config.clone(), pulled.images.clone()), "{tag}");
    }
}
