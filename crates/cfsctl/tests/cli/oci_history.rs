use composefs_testkit::{
    images::{Compression, Image, Layer, Layout},
    sample,
};
use insta::assert_snapshot;
use serde_json::json;

use crate::lab::Session;

#[test]
fn layers_and_what_made_them() {
    let mut session = Session::with_sample();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    let layers = [sample::lower(), sample::upper()].map(|tar| Layer::new(tar, Compression::Plain));
    let history = json!([
        {"created": "2024-05-01T10:00:00Z", "created_by": "ADD rootfs.tar / # buildkit"},
        {"created": "2024-05-01T10:00:01.5Z", "created_by": "ENV A=\u{1b}[31mb", "empty_layer": true},
    ]);
    layout.image("v1", &Image::new(layers).config("history", history));
    let _ = session.run(["-q", "oci", "pull", "oci:layout:v1", "told"]).success();
    session.see(["oci", "history", "told"]);
    session.see(["oci", "history", "--json", "told"]);
    session.see(["oci", "history", "sample"]);
    session.see(["oci", "history", "missing"]);
    assert_snapshot!(session.text());
}
