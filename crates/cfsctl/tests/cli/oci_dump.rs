use composefs_testkit::sample;
use insta::assert_snapshot;

use crate::lab::{Session, sha256};

#[test]
fn the_merged_tree_by_every_kind_of_name() {
    let mut session = Session::with_sample();
    session.see(["oci", "dump", "sample"]);
    let dump = session.run(["oci", "dump", "sample"]).success();
    let config = session.run(["oci", "inspect", "sample", "--config"]).success().stdout;
    let config = sha256(config.strip_suffix(b"\n").unwrap());
    for name in [format!("@{config}"), config["sha256:".len()..].to_owned()] {
        assert_eq!(session.run(["oci", "dump", &name]).success().text(), dump.text(), "{name}");
    }
    let same = session.run(["oci", "dump", "--xattrs", "keep-user-xattrs", "sample"]).success();
    assert_eq!(same.text(), dump.text());
    session.see(["oci", "dump", "none"]);
    session.see(["oci", "dump", &format!("@sha256:{}", "0".repeat(64))]);
    session.see(["oci", "dump", "@bad"]);
    session.see(["oci", "dump", "sample", "not-hex"]);
    session.see(["oci", "dump", "sample", &"0".repeat(64)]);
    assert_snapshot!(session.text());
}

#[test]
fn a_missing_layer_is_named() {
    let mut session = Session::with_sample();
    let layer = composefs_testkit::images::sha256(&sample::upper());
    let entry = session.sandbox.path(format!("repo/streams/oci-layer-{layer}"));
    let object = std::fs::canonicalize(&entry).unwrap();
    std::fs::remove_file(object).unwrap();
    session.see(["oci", "dump", "sample"]);
    session.see(["oci", "compute-id", "sample"]);
    session.see(["oci", "layer", &layer]);
    assert_snapshot!(session.text());
}
