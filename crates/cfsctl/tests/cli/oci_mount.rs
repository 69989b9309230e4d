//! Without privileges only the refusals; the mounts themselves are in the `vm_*` tests.

use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn refusals() {
    let mut session = Session::with_sample();
    std::fs::create_dir(session.sandbox.path("mnt")).unwrap();
    session.see(["oci", "mount", "none", "mnt"]);
    session.see(["oci", "mount", "@nonsense", "mnt"]);
    session.see(["oci", "mount", &format!("sha256:{}", "0".repeat(64)), "mnt"]);
    session.see(["oci", "mount", &"0".repeat(64), "mnt"]);
    assert_snapshot!(session.text());
}

#[test]
fn an_image_that_was_never_built() {
    let mut session = Session::with_repository();
    composefs_testkit::sample::write(&session.sandbox.path("sample"));
    session.see(["-q", "oci", "pull", "--no-image", "oci:sample", "bare"]);
    session.see(["oci", "mount", "bare", "mnt"]);
    session.see(["oci", "inspect", "bare"]);
    assert_snapshot!(session.text());
}
