use insta::assert_snapshot;

use crate::lab::{Session, anybody};

/// The id of the small tree varies with its owner only: it is computed twice, by two ways.
#[test]
fn from_a_directory() {
    let session = Session::with_repository();
    session.tree();
    let id = session.run(["create-image", "tree", "web/v1"]).success();
    assert_eq!(
        id.text(),
        format!(
            "sha256:{}",
            session.sandbox.bare(["--no-repo", "--hash", "sha256", "compute-id", "tree"]).text()
        )
    );
    let again = session.run(["create-image", "tree"]).success();
    assert_eq!(again.text(), id.text());
    let listed = anybody(session.run(["dump-files", "refs/web/v1", "/", "/usr/bin", "/usr/share"]).success());
    assert_snapshot!(listed);
    let _ = session.run(["fsck"]).success();
}

#[test]
fn from_a_dumpfile() {
    let mut session = Session::with_repository();
    let dump = "/ 0 40755 2 0 0 0 0.0 - - -\n/f 5 100644 1 0 0 0 0.0 - hello -\n";
    session.see_fed(dump, ["create-image", "--dumpfile", "-", "fed"]);
    session.see_fed(dump, ["--erofs-version", "2", "create-image", "--dumpfile", "-"]);
    session.see_fed(dump, ["--erofs-version", "0", "create-image", "--dumpfile", "-"]);
    session.see(["dump-files", "fed", "/", "/f"]);
    session.see_fed("/ nonsense\n", ["create-image", "--dumpfile", "-", "bad"]);
    session.see_fed(dump, ["create-image", "--dumpfile", "-", "--bootable"]);
    session.see(["images"]);
    assert_snapshot!(session.text());
}

#[test]
fn failures_name_the_path_and_leave_no_name() {
    let mut session = Session::with_repository();
    session.tree();
    session.see(["create-image", "no-such-directory", "x"]);
    session.see(["create-image", "tree/usr/share/words", "x"]);
    session.see(["create-image", "tree", "../escape"]);
    session.see(["create-image"]);
    session.see(["images"]);
    assert_snapshot!(session.text());
}
