//! Manifests of all kinds, kept as they are; configs and blobs that need no request.

use composefs_oci::{
    Error,
    digest::BlobFault,
    model::{Descriptor, ModelError, media_type},
    transport::{Source, registry::fault::Fault},
};
use composefs_testkit::{
    images::{self, Compression, Image, Layout, sha256},
    registry::{Fault as Misdeed, Registry, RegistryOptions, Rule},
};
use serde_json::json;

use crate::lab::{amd64, assert_same, connect, fault, image, layer, manifest, options, pull_with};

#[test]
fn the_image_is_the_layouts() {
    let registry = Registry::start(RegistryOptions::default());
    let dir = tempfile::TempDir::new().unwrap();
    let mut layout = Layout::create(dir.path().join("layout"));
    let written = layout.image("v1", &image());
    registry.add_layout("some/app", layout.path());
    let expected = pull_with(&layout.reference("v1"), &options()).unwrap();
    registry.forget_requests();
    let pulled = pull_with(&registry.reference("some/app:v1"), &options()).unwrap();
    assert_same(&pulled, &expected);
    // Each thing was asked for once, all over few connections, and nothing after the last byte.
    let requests = registry.requests();
    let mut paths: Vec<_> = requests.iter().map(|request| request.path.clone()).collect();
    paths.sort();
    paths.dedup();
    assert_eq!((paths.len(), requests.len()), (5, 5), "{paths:?}");
    for request in &requests {
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert!(request.header("user-agent").unwrap().starts_with("composefs-oci/"));
        assert_eq!(request.header("authorization"), None);
    }

    let by_digest = registry.reference(&format!("some/app@{}", written.manifest.digest));
    assert_same(&pull_with(&by_digest, &options()).unwrap(), &expected);
}

#[test]
fn dockers_formats_keep_bytes_and_digest() {
    let registry = Registry::start(RegistryOptions::default());
    let mut docker = image();
    docker.media_type = images::DOCKER_MANIFEST.to_owned();
    docker.config_media_type = images::DOCKER_CONFIG.to_owned();
    docker.layers = vec![layer(1, 3000, Compression::Gzip).claim_media_type(images::DOCKER_LAYER)];
    let written = registry.add_image("app", "one", &docker);
    let (_, bytes) = registry.find_manifest("app", "one").unwrap();
    let list = json!({
        "schemaVersion": 2,
        "mediaType": media_type::DOCKER_LIST,
        "manifests": [{
            "mediaType": media_type::DOCKER_MANIFEST,
            "digest": written.manifest.digest,
            "size": written.manifest.size,
            "platform": {"os": "linux", "architecture": "amd64"},
        }],
    });
    let list = serde_json::to_vec(&list).unwrap();
    let listed = registry.manifest("app", media_type::DOCKER_LIST, &list);
    registry.tag("app", "list", &listed.digest);

    for name in ["app:one", "app:list"] {
        let source = connect(&registry.reference(name), &options());
        let chosen = source.manifest(&amd64()).unwrap();
        assert_eq!((chosen.bytes, chosen.digest.as_str()), (bytes.clone(), written.manifest.digest.as_str()));
        pull_with(&registry.reference(name), &options()).unwrap();
    }
    let root = connect(&registry.reference("app:list"), &options()).root().unwrap();
    assert_eq!((root.bytes, root.media_type.as_str()), (list, media_type::DOCKER_LIST));
    assert_eq!(root.digest.as_str(), listed.digest);
}

#[test]
fn what_says_nothing_is_judged_by_its_shape() {
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image("app", "v1", &image());
    for content_type in ["application/json; charset=utf-8", "text/plain", "application/octet-stream"] {
        registry.heal();
        let header = Misdeed::Header("content-type".to_owned(), content_type.to_owned());
        registry.inject(Rule::new("/manifests/", header));
        manifest(&registry.reference("app:v1"), &options()).unwrap();
    }
    // The same bytes as an index would be another image.
    registry.heal();
    let header = Misdeed::Header("content-type".to_owned(), media_type::OCI_INDEX.to_owned());
    registry.inject(Rule::new("/manifests/", header));
    let error = manifest(&registry.reference("app:v1"), &options()).unwrap_err();
    assert!(matches!(error, Error::Model { source: ModelError::Ambiguous, .. }), "{error:?}");
}

#[test]
fn schema_1_is_refused() {
    let registry = Registry::start(RegistryOptions::default());
    let old = br#"{"schemaVersion":1,"name":"app","tag":"old","fsLayers":[],"history":[]}"#;
    let stored = registry.manifest("app", media_type::DOCKER_SCHEMA1_SIGNED, old);
    registry.tag("app", "old", &stored.digest);
    let error = manifest(&registry.reference("app:old"), &options()).unwrap_err();
    assert!(matches!(error, Error::Model { source: ModelError::Schema1, .. }), "{error:?}");
}

#[test]
fn a_manifest_must_be_the_one_of_its_digest() {
    let registry = Registry::start(RegistryOptions::default());
    let written = registry.add_image("app", "v1", &image());
    let reference = registry.reference(&format!("app@{}", written.manifest.digest));
    registry.inject(Rule::new("/manifests/", Misdeed::FlipByte(30)).times(1));
    manifest(&reference, &options()).unwrap();
    registry.heal();
    registry.inject(Rule::new("/manifests/", Misdeed::FlipByte(30)));
    registry.forget_requests();
    let error = manifest(&reference, &options()).unwrap_err();
    assert!(matches!(error, Error::BlobMismatch { fault: BlobFault::Digest { .. }, .. }), "{error:?}");
    assert_eq!(registry.requests().len(), 2);
}

#[test]
fn manifests_without_end_are_not_read_to_it() {
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image("app", "v1", &image());
    registry.inject(Rule::new("/manifests/", Misdeed::Endless));
    let error = manifest(&registry.reference("app:v1"), &options()).unwrap_err();
    assert!(matches!(fault(error), Fault::Answer { .. }));
    assert!(registry.sent_bytes("/manifests/") < 64 << 20);
}

#[test]
fn what_a_descriptor_has_is_not_fetched() {
    let registry = Registry::start(RegistryOptions::default());
    let source = connect(&registry.reference("app:v1"), &options());
    let read = |text: serde_json::Value| {
        let descriptor: Descriptor = serde_json::from_value(text).unwrap();
        source.document(&descriptor, 1000)
    };
    let kind = "application/vnd.example";
    let empty = sha256(b"{}");
    assert_eq!(read(json!({"mediaType": kind, "digest": empty, "size": 2})).unwrap(), b"{}");
    let digest = sha256(b"hello");
    let hello = json!({"mediaType": kind, "digest": digest, "size": 5, "data": "aGVsbG8="});
    assert_eq!(read(hello).unwrap(), b"hello");
    assert_eq!(registry.requests().len(), 0);
    // What it has in itself may be wrong.
    let source = connect(&registry.reference("app:v1"), &options());
    for data in ["aGVsbG9v", "SEVMTE8=", "????"] {
        let descriptor = json!({"mediaType": kind, "digest": digest, "size": 5, "data": data});
        let result = source.document(&serde_json::from_value(descriptor).unwrap(), 1000);
        assert!(matches!(result, Err(Error::BlobMissing { .. })), "{data}: {result:?}");
    }
}

#[test]
fn a_second_look_costs_nothing() {
    let registry = Registry::start(RegistryOptions::default());
    let written = registry.add_image("app", "v1", &Image::new([layer(1, 100, Compression::Gzip)]));
    let source = connect(&registry.reference("app:v1"), &options());
    for _ in 0..3 {
        assert_eq!(source.root().unwrap().digest.as_str(), written.manifest.digest);
        source.manifest(&amd64()).unwrap();
    }
    // The manifest, and the config for its platform.
    assert_eq!(registry.requests().len(), 2);
}
