use std::{fs, os::unix::fs::MetadataExt as _};

use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn files_directories_and_all() {
    let mut session = Session::with_sample();
    let extract = ["--progress=none", "oci", "extract", "--no-same-owner", "sample"];
    session.see([&extract[..], &["/usr/share/version", "."]].concat());
    session.see([&extract[..], &["/usr/share/version", "renamed"]].concat());
    session.see([&extract[..], &["/usr/share/version", "."]].concat());
    session.see([&extract[..], &["/usr/bin/hi", "link"]].concat());
    session.see([&extract[..], &["/usr/share/.", "share"]].concat());
    session.see([&extract[..], &["/none", "."]].concat());
    session.see([&extract[..], &["/usr", "missing/usr"]].concat());
    session.see([&extract[..], &["--json", "/etc", "."]].concat());
    assert_snapshot!(session.text());
    assert_eq!(fs::read_link(session.sandbox.path("link")).unwrap().to_str(), Some("hello"));
    assert_eq!(
        fs::read(session.sandbox.path("renamed")).unwrap(),
        fs::read(session.sandbox.path("version")).unwrap()
    );
}

/// The tree that was mounted would be; scanning it with the same program gives the image's own tree.
#[test]
fn all_of_it_is_the_tree_again() {
    let session = Session::with_sample();
    let _ = session.run(["-q", "oci", "extract", "sample", "/", "root"]).success();
    let root = session.sandbox.path("root");
    assert_eq!(fs::metadata(root.join("usr/bin/hello")).unwrap().nlink(), 2);
    let scanned = session.run(["create-dumpfile", root.to_str().unwrap()]).success().text().to_owned();
    let merged = session.run(["oci", "dump", "sample"]).success().text().to_owned();
    assert_eq!(scanned, merged);
}
