//! Without privileges only the refusals; the mounts themselves are in the `vm_*` tests.

use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn refusals() {
    let mut session = Session::with_sample();
    let image = session.run(["oci", "compute-id", "sample"]).success().text().trim_end().to_owned();
    std::fs::create_dir(session.sandbox.path("mnt")).unwrap();
    session.see(["mount", "none", "mnt"]);
    session.see(["mount", &image, "mnt", "--fuse"]);
    session.see(["mount", &image, "mnt", "--upperdir", "up"]);
    session.see(["mount", &image, "mnt", "--workdir", "work"]);
    session.see(["mount", &image, "mnt", "--verity", "require"]);
    session.see(["mount", &image]);
    session.see(["umount", "mnt"]);
    assert_snapshot!(session.text());
}
