use insta::assert_snapshot;

use crate::lab::{Session, sha256};

#[test]
fn a_document_and_the_raw_bytes() {
    let mut session = Session::with_sample();
    session.see(["oci", "inspect", "sample"]);
    let raw = session.run(["oci", "inspect", "sample", "--manifest"]).success().stdout;
    let digest = sha256(raw.strip_suffix(b"\n").unwrap());
    assert_eq!(session.run(["oci", "inspect", &format!("@{digest}"), "--manifest"]).success().stdout, raw);
    session.see(["oci", "inspect", "sample", "--config"]);
    session.see(["oci", "inspect", "sample", "--config", "--manifest"]);
    session.see(["oci", "inspect", "none"]);
    session.see(["oci", "inspect", &format!("@sha256:{}", "0".repeat(64))]);
    session.see(["oci", "inspect", "@sha256:bad"]);
    session.see(["--erofs-version", "2", "oci", "inspect", "sample"]);
    assert_snapshot!(session.text());
}
