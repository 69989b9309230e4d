//! Tags and referrers, page by page.

use composefs_oci::{digest::Digest, transport::registry::fault::Fault};
use composefs_testkit::{
    images::{self, Compression, Image},
    registry::{Fault as Misdeed, Registry, RegistryOptions, Rule},
};
use serde_json::{Map, json};

use crate::lab::{connect, fault, layer, options};

#[test]
fn tags_of_many_pages() {
    let registry = Registry::start(RegistryOptions::default().page(7));
    let written = registry.add_image("team/app", "v0", &Image::new([layer(1, 50, Compression::Gzip)]));
    for number in 1..30 {
        registry.tag("team/app", &format!("v{number}"), &written.manifest.digest);
    }
    registry.forget_requests();
    let tags = connect(&registry.reference("team/app"), &options()).tags().unwrap();
    assert_eq!(tags, registry.tags("team/app"));
    assert_eq!((tags.len(), registry.requests().len()), (30, 5));
    let error = connect(&registry.reference("absent"), &options()).tags().unwrap_err();
    assert!(matches!(fault(error), Fault::NoRepository { .. }));
}

#[test]
fn lists_without_end() {
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image("app", "v1", &Image::new([]));
    let link = |to: &str| Misdeed::Header("link".to_owned(), format!("<{to}>; rel=\"next\""));
    for (to, text) in [
        ("/v2/app/tags/list?last=v1", "too many pages"),
        ("http://other.example/v2/other/tags/list", "continues a list elsewhere"),
    ] {
        registry.heal();
        registry.inject(Rule::new("/tags/list", link(to)));
        match fault(connect(&registry.reference("app"), &options()).tags().unwrap_err()) {
            Fault::Answer { reason, .. } => assert!(reason.contains(text), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    // A registry behind a proxy may not know its own name.
    registry.heal();
    registry
        .inject(Rule::new("/tags/list", link("http://inner.example:5000/v2/app/tags/list?last=v1")).times(1));
    connect(&registry.reference("app"), &options()).tags().unwrap();
    registry.heal();
    registry.inject(Rule::new("/tags/list", Misdeed::Truncate(5)));
    let error = connect(&registry.reference("app"), &options()).tags().unwrap_err();
    assert!(matches!(fault(error), Fault::Answer { .. }));
}

fn referrer(subject: &images::Descriptor, kind: &str, number: u64) -> Image {
    let mut image = Image::new([layer(number, 50, Compression::Plain)]);
    image.config_media_type = "application/vnd.oci.empty.v1+json".to_owned();
    image.manifest = Map::from_iter([
        ("artifactType".to_owned(), json!(kind)),
        (
            "subject".to_owned(),
            json!({"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size}),
        ),
    ]);
    image
}

#[test]
fn referrers_by_the_interface_and_by_tag() {
    let registry = Registry::start(RegistryOptions::default().page(2));
    let written = registry.add_image("app", "v1", &Image::new([layer(1, 50, Compression::Gzip)]));
    let kinds = ["a/x", "a/x", "b/y", "a/x", "b/y"];
    let mut entries = Vec::new();
    for (number, kind) in (10..).zip(kinds) {
        let stored =
            registry.add_image("app", &format!("r{number}"), &referrer(&written.manifest, kind, number));
        entries.push(json!({
            "mediaType": images::MANIFEST, "digest": stored.manifest.digest, "size": stored.manifest.size,
            "artifactType": kind,
        }));
    }
    let digest: Digest = written.manifest.digest.parse().unwrap();
    let count = |kind| {
        let source = connect(&registry.reference("app:v1"), &options());
        source.referrers(&digest, kind).unwrap().len()
    };
    assert_eq!((count(None), count(Some("a/x")), count(Some("b/y")), count(Some("c+z"))), (5, 3, 2, 0));
    // Without the interface for it there is a tag, or nothing.
    registry.change(|options| options.referrers = false);
    assert_eq!(count(None), 0);
    let text = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": entries})).unwrap();
    let stored = registry.manifest("app", images::INDEX, &text);
    registry.tag("app", &written.manifest.digest.replace(':', "-"), &stored.digest);
    assert_eq!((count(None), count(Some("a/x")), count(Some("c/z"))), (5, 3, 0));
}
