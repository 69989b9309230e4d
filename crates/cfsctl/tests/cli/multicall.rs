//! The other names of the program, called by argv\[0\] or as a hidden first argument.

use composefs_testkit::project;
use insta::assert_snapshot;

use crate::lab::{CFSCTL, Session, anybody, hex, sha256};

const DUMP: &str = "/ 0 40755 3 0 0 0 0.0 - - -\n/d 0 40755 2 0 0 0 0.0 - - -\n/d/f 5 100644 1 0 0 0 0.0 - hello -\n/l 0 120777 1 0 0 0 0.0 d/f - -\n";

#[test]
fn by_name_or_as_first_argument() {
    let mut session = Session::new();
    session.sandbox.write("t.dump", DUMP);
    let arguments = ["--from-file", "--print-digest-only", "t.dump"];
    session.see_bare([&["mkcomposefs"][..], &arguments].concat());
    let named = session.sandbox.invocation().arg0("/usr/bin/mkcomposefs").args(arguments).run().success();
    let first = session.sandbox.bare([&["mkcomposefs"][..], &arguments].concat()).success();
    assert_eq!(named.text(), first.text());
    for name in ["mkcomposefs", "composefs-info", "mount.composefs"] {
        session.see_bare([name, "--help"]);
        session.see_bare([name, "--version"]);
        session.see_bare([name, "--nonsense"]);
        // A link is how distributions install it.
        std::os::unix::fs::symlink(CFSCTL, session.sandbox.path(name)).unwrap();
        let link = session.sandbox.invocation_of(session.sandbox.path(name)).arg("--version").run().success();
        assert_eq!(link.text(), session.sandbox.bare([name, "--version"]).text());
    }
    assert_snapshot!(session.text());
}

#[test]
fn mkcomposefs_vectors_in_both_versions() {
    let session = Session::new();
    let text = std::fs::read_to_string(project("tests/vectors/erofs/ids.tsv")).unwrap();
    let mut compared = 0;
    let some = ["mixed", "special-files", "whiteout-root", "hardlink-types", "xattr-many-filter"];
    for row in text.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>()) {
        if !some.contains(&row[0]) || !["0", "1"].contains(&row[1]) || row[2] == "-" || row[5] == "other" {
            continue;
        }
        let dump = project("tests/vectors/erofs").join(format!("{}.dump", row[0]));
        let run = session.sandbox.invocation().arg("mkcomposefs").args([
            "--min-version",
            row[1],
            "--max-version",
            row[1],
        ]);
        let output = run.args(["--from-file", "--print-digest"]).arg(dump).arg("made.img").run().success();
        assert_eq!(output.text().trim_end(), row[2], "{} V{}", row[0], row[1]);
        let measured = session.sandbox.bare(["composefs-info", "measure-file", "made.img"]).success();
        assert_eq!(measured.text(), output.text());
        compared += 1;
    }
    assert!(compared >= 8, "{compared}");
}

#[test]
fn mkcomposefs_from_a_directory() {
    let mut session = Session::new();
    session.tree();
    let first = session.sandbox.bare(["mkcomposefs", "--digest-store", "store", "tree", "a.img"]).success();
    assert!(first.stdout.is_empty());
    let to_stdout = session.sandbox.bare(["mkcomposefs", "tree", "-"]).success();
    assert!(to_stdout.stdout == std::fs::read(session.sandbox.path("a.img")).unwrap());
    session.add(&anybody(session.sandbox.bare(["composefs-info", "dump", "a.img"])));
    session.see_bare(["composefs-info", "ls", "a.img"]);
    session.see_bare(["composefs-info", "ls", "--filter", "etc", "a.img"]);
    session.see_bare(["composefs-info", "objects", "a.img"]);
    session.see_bare(["composefs-info", "missing-objects", "--basedir", "store", "a.img"]);
    session.see_bare(["composefs-info", "missing-objects", "--basedir", "nowhere", "a.img"]);
    session.see_bare(["composefs-info", "measure-file", "tree/usr/share/words", "tree/usr/share/small"]);
    session.see_bare(["mkcomposefs", "--use-epoch", "--skip-xattrs", "tree", "b.img"]);
    session.add(&anybody(session.sandbox.bare(["composefs-info", "dump", "--filter", "usr", "b.img"])));
    assert_snapshot!(session.text());
}

#[test]
fn failures() {
    let mut session = Session::new();
    session.sandbox.write("t.dump", DUMP);
    session.sandbox.write("bad.dump", "/ nonsense\n");
    session.sandbox.write("no.img", "not an image");
    for arguments in [
        &["mkcomposefs", "t.dump"][..],
        &["mkcomposefs", "--from-file", "missing", "x.img"],
        &["mkcomposefs", "--from-file", "bad.dump", "x.img"],
        &["mkcomposefs", "--min-version", "2", "--from-file", "t.dump", "x.img"],
        &["mkcomposefs", "--from-file", "t.dump", "no/such/x.img"],
        &["composefs-info", "dump", "no.img"],
        &["composefs-info", "dump", "missing"],
        &["mount.composefs", "no.img", "mnt"],
        &["mount.composefs", "-o", "basedir=x,unheard-of", "no.img", "mnt"],
        &["mount.composefs", "-t", "ext4", "-o", "basedir=x", "no.img", "mnt"],
    ] {
        session.see_bare(arguments);
    }
    assert!(!session.sandbox.path("x.img").exists());
    // The temporary file's name is random, and the system's word on it has it.
    let (before, after) = session.text().split_once(".mkcomposefs-").unwrap();
    assert_snapshot!(format!("{before}.mkcomposefs-[RANDOM]{}", &after[6..]));
}

/// An image of the repository is what the C names understand.
#[test]
fn an_image_of_the_repository() {
    let session = Session::with_sample();
    let dump = session.run(["oci", "dump", "sample"]).success();
    let id = session.run(["oci", "compute-id", "sample"]).success();
    session.sandbox.write("sample.dump", &dump.stdout);
    let made = session.sandbox.bare([
        "mkcomposefs",
        "--from-file",
        "--min-version=1",
        "--print-digest",
        "sample.dump",
        "s.img",
    ]);
    assert_eq!(made.success().text(), id.text());
    let id = id.text().trim_end();
    let stored = std::fs::read(session.sandbox.path("repo/objects").join(&id[..2]).join(&id[2..])).unwrap();
    assert_eq!(hex(&sha256(&stored)), hex(&sha256(&std::fs::read(session.sandbox.path("s.img")).unwrap())));
}
