use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn tables_and_documents() {
    let mut session = Session::with_repository();
    session.see(["oci", "images"]);
    session.see(["oci", "images", "--json"]);
    let mut session = Session::with_sample();
    session.see(["oci", "images"]);
    session.see(["oci", "images", "--json"]);
    // One that cannot be read does not hide the others.
    std::os::unix::fs::symlink(
        "../../oci-manifest-sha256:0",
        session.sandbox.path("repo/streams/refs/oci/broken"),
    )
    .unwrap();
    session.see(["oci", "images"]);
    assert_snapshot!(session.text());
}
