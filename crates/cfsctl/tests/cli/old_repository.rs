//! Repositories of older programs: read without a byte changed, written only where asked.

use insta::assert_snapshot;

use crate::lab::{Session, unpack};

#[test]
fn read_without_change_and_upgraded_on_write() {
    let mut session = Session::new();
    unpack("old-header-sha256.tar.gz", &session.sandbox.repo());
    let before = session.repository_state();
    session.see(["oci", "images"]);
    session.see(["oci", "compute-id", "single"]);
    session.see(["oci", "dump", "single"]);
    session.see(["oci", "fsck"]);
    session.see(["gc", "-n"]);
    session.see(["oci", "inspect", "single"]);
    assert_eq!(session.repository_state(), before, "reading changed an old repository");

    let manifest = "sha256:6de6d46ac91b0e91277b1d68bba71ffbb5d7bf3371600d98d8bd65fb747709a2";
    session.see(["--no-upgrade", "oci", "tag", manifest, "second"]);
    assert_eq!(session.repository_state(), before, "--no-upgrade wrote");
    session.see(["oci", "tag", manifest, "second"]);
    let meta = std::fs::read_to_string(session.sandbox.path("repo/meta.json")).unwrap();
    session.note(format!("meta.json: {meta}"));
    session.see(["oci", "tag", manifest, "third"]);
    session.see(["oci", "compute-id", "third"]);
    session.see(["oci", "fsck"]);
    assert_snapshot!(session.text());
}
