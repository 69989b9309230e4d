use composefs_testkit::{
    images::{Compression, Image, Layer, Layout},
    sample,
    tars::{Meta, TarBuilder},
};
use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn what_an_upgrade_changed() {
    let mut session = Session::with_sample();
    let mut layout = Layout::create(session.sandbox.path("next"));
    let upper = TarBuilder::new()
        .mtime(1_800_000_000)
        .file("etc/hostname", "another\n")
        .file("etc/new", "x".repeat(2000))
        .file("usr/share/.wh.version", "")
        .file_with("usr/share/numbers", "", Meta { mode: 0o600, ..Meta::default() })
        .symlink("usr/bin/hello", "hi")
        .finish();
    let lower = Layer::new(sample::lower(), Compression::Gzip);
    layout.image("latest", &Image::new([lower, Layer::new(upper, Compression::Zstd)]));
    let _ = session.run(["-q", "oci", "pull", "oci:next", "next"]).success();
    session.see(["oci", "diff", "sample", "next"]);
    session.see(["oci", "diff", "--times", "-s", "sample", "next"]);
    session.see(["oci", "diff", "--json", "sample", "next"]);
    session.see(["oci", "diff", "sample", "sample"]);
    session.see(["oci", "diff", "sample", "none"]);
    assert_snapshot!(session.text());
}
