//! `oci pull --dry-run` and `--all-platforms`.

use composefs_testkit::{
    images::{Compression, Image, Layer, Layout},
    sample,
    tars::TarBuilder,
};
use insta::assert_snapshot;
use serde_json::json;

use crate::lab::Session;

#[test]
fn a_plan_makes_nothing() {
    let mut session = Session::new();
    sample::write(&session.sandbox.path("sample"));
    session.see(["oci", "pull", "--dry-run", "oci:sample", "sample"]);
    session.see(["--no-create", "oci", "pull", "--dry-run", "oci:sample", "sample"]);
    session.see_bare(["--no-repo", "oci", "pull", "--dry-run", "--json", "oci:sample", "sample"]);
    session.see(["oci", "pull", "-n", "oci:sample", "@name"]);
    session.see(["oci", "pull", "-n", "oci:missing"]);
    assert!(!session.sandbox.repo().exists());
    assert_snapshot!(session.text());
}

/// An index for two platforms that share a layer, with an attestation.
pub(crate) fn several(layout: &mut Layout) -> Vec<Layer> {
    let layer = |name: &str| {
        Layer::new(
            TarBuilder::new().dir("usr").file("usr/arch", name.repeat(100)).finish(),
            Compression::Gzip,
        )
    };
    let layers = ["both", "amd64", "arm64"].map(layer);
    let statement = Layer::packed(b"{}".to_vec(), b"{\"a\":1}".to_vec(), "application/vnd.in-toto+json");
    let images = [
        layout.write(&Image::new([layers[0].clone(), layers[1].clone()]).platform("amd64", None)),
        layout.write(&Image::new([layers[0].clone(), layers[2].clone()]).platform("arm64", Some("v8"))),
        layout.write(&Image::new([statement]).platform("unknown", None).config("os", json!("unknown"))),
    ];
    layout.index("several", &images);
    layers.to_vec()
}

#[test]
fn all_platforms() {
    let mut session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    several(&mut layout);
    let all =
        ["--jobs=1", "oci", "pull", "--all-platforms", "--platform=linux/amd64", "oci:layout:several", "it"];
    session.see([&all[..], &["--dry-run"]].concat());
    session.see(all);
    session.see([&all[..], &["--dry-run"]].concat());
    session.see([&all[..], &["--dry-run", "--json"]].concat());
    session.see(["oci", "images"]);
    let arm = ["--jobs=1", "oci", "pull", "--platform=linux/arm64", "oci:layout:several", "arm"];
    session.see([&arm[..], &["--dry-run"]].concat());
    session.see([&arm[..], &["--json"]].concat());
    session.see(["oci", "images"]);
    session.see(["oci", "fsck"]);
    session.see(["fsck"]);
    session.see(["gc"]);
    session.see(["oci", "untag", "arm"]);
    session.see(["oci", "untag", "it"]);
    session.see(["gc"]);
    session.see(["oci", "images"]);
    session.note("An image without others");
    layout.image("one", &Image::new([Layer::new(sample::lower(), Compression::Gzip)]));
    session.see(["oci", "pull", "--all-platforms", "oci:layout:one", "one"]);
    assert_snapshot!(session.text());
}
