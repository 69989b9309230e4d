use insta::assert_snapshot;

use crate::lab::{Session, unpack};

#[test]
fn in_the_repositorys_format_or_another() {
    let mut session = Session::with_sample();
    session.see(["oci", "compute-id", "sample"]);
    for version in ["0", "1", "2"] {
        session.see(["--erofs-version", version, "oci", "compute-id", "sample"]);
    }
    session.see(["oci", "compute-id", "--xattrs", "keep-user-xattrs", "sample"]);
    session.see(["oci", "compute-id", "none"]);
    assert_snapshot!(session.text());
    let inspected = session.run(["oci", "inspect", "sample"]).success().json();
    let id = session.run(["oci", "compute-id", "sample"]).success();
    assert_eq!(inspected["composefs_erofs"].as_str(), Some(id.text().trim_end()));
}

/// The id of the dumpfile is the id of the image, whichever way it is asked for.
#[test]
fn the_dumpfile_has_the_same_id() {
    let session = Session::new();
    unpack("r09-sha512-v2.tar.gz", &session.sandbox.repo());
    let id = session.run(["oci", "compute-id", "shared"]).success();
    let dump = session.run(["oci", "dump", "shared"]).success();
    let run = session.sandbox.invocation().args(["--no-repo", "--hash", "sha512", "--erofs-version", "2"]);
    let again = run.args(["compute-id", "--dumpfile", "-"]).stdin(dump.stdout).run().success();
    assert_eq!(again.text(), id.text());
}
