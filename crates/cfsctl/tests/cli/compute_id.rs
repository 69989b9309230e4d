use composefs_testkit::project;
use insta::assert_snapshot;

use crate::lab::{Session, unpack};

/// Every id that ids.tsv has for the small dumpfiles, by the command that names it.
#[test]
fn vectors_in_every_version_and_hash() {
    let session = Session::new();
    let text = std::fs::read_to_string(project("tests/vectors/erofs/ids.tsv")).unwrap();
    let mut compared = 0;
    // All of them is the library's test; the command is right for all if it is for a few of each kind.
    let some =
        ["mixed", "special-files", "whiteout-root", "xattr-many-filter", "ext-basic-s512", "hardlink-types"];
    for row in text.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>()) {
        if !some.contains(&row[0]) || !["agree", "single", "expected"].contains(&row[5]) {
            continue;
        }
        let dump = project("tests/vectors/erofs").join(format!("{}.dump", row[0]));
        for (hash, id) in [("sha256", row[2]), ("sha512", row[3])] {
            // An id of the other hash only exists where no object digest is in the tree.
            if id == "-" || (hash == "sha512" && row[2] != "-" && has_objects(&dump)) {
                continue;
            }
            let output =
                session.sandbox.invocation().args(["--no-repo", "--hash", hash, "--erofs-version", row[1]]);
            let output = output.args(["compute-id", "--dumpfile"]).arg(&dump).run().success();
            assert_eq!(output.text().trim_end(), id, "{} V{} {hash}", row[0], row[1]);
            compared += 1;
        }
    }
    assert!(compared >= 18, "{compared}");
}

fn has_objects(dump: &std::path::Path) -> bool {
    let text = std::fs::read_to_string(dump).unwrap();
    text.lines().filter_map(|line| line.split(' ').nth(10)).any(|word| word.len() >= 64)
}

#[test]
fn hash_and_version_without_a_repository() {
    let mut session = Session::new();
    let dump = "/ 0 40755 2 0 0 0 0.0 - - -\n/f 5 100644 1 0 0 0 0.0 - hello -\n";
    session.sandbox.write("t.dump", dump);
    session.see_bare(["--no-repo", "compute-id", "--dumpfile", "t.dump"]);
    session.see_bare(["compute-id", "--dumpfile", "t.dump"]);
    for version in ["0", "1", "2"] {
        for hash in ["sha256", "sha512"] {
            session.see_bare([
                "--no-repo",
                "--hash",
                hash,
                "--erofs-version",
                version,
                "compute-id",
                "--dumpfile",
                "t.dump",
            ]);
        }
    }
    session.see_fed(dump, ["compute-id", "--dumpfile", "-"]);
    assert!(!session.sandbox.repo().exists());
    assert_snapshot!(session.text());
}

#[test]
fn the_hash_is_the_repositorys_and_the_version_is_not() {
    let mut session = Session::new();
    unpack("r09-sha256-v2.tar.gz", &session.sandbox.repo());
    session.sandbox.write("t.dump", "/ 0 40755 2 0 0 0 0.0 - - -\n");
    session.see(["compute-id", "--dumpfile", "t.dump"]);
    session.see(["--hash", "sha512", "compute-id", "--dumpfile", "t.dump"]);
    assert_snapshot!(session.text());
}

#[test]
fn failures() {
    let mut session = Session::new();
    session.see_bare(["--no-repo", "compute-id", "nothing-here"]);
    session.see_bare(["--no-repo", "compute-id", "--dumpfile", "nothing-here"]);
    session.see_bare(["--no-repo", "--hash", "md5", "compute-id", "x"]);
    session.see_bare(["--no-repo", "--repo", "x", "compute-id", "x"]);
    session.see_bare(["--no-repo", "compute-id", "--xattrs", "none", "x"]);
    session.see_bare(["--no-repo", "fsck"]);
    assert_snapshot!(session.text());
}
