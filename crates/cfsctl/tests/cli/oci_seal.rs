use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn the_label_of_the_config_and_the_same_every_time() {
    let mut session = Session::with_sample();
    session.see(["oci", "seal", "sample", "--name", "sealed/sample"]);
    session.see(["oci", "seal", "sample"]);
    session.see(["cat", "refs/sealed/sample"]);
    session.see(["oci", "dump", "refs/sealed/sample"]);
    session.see(["oci", "seal", "none"]);
    session.see(["oci", "seal", "--mode", "wax", "sample"]);
    session.see(["oci", "seal", "sample", "--name", "../escape"]);
    session.see(["gc"]);
    session.see(["oci", "fsck"]);
    assert_snapshot!(session.text());
}
