use composefs_testkit::peers;
use insta::assert_snapshot;

use crate::lab::Session;

/// A session with the sample, and the path of its repository as the snapshots show it.
fn session() -> (Session, String) {
    let session = Session::with_sample();
    std::fs::rename(session.sandbox.repo(), session.sandbox.path("theirs")).unwrap();
    let _ = session.run(["init", "--insecure"]).success();
    (session, "theirs".to_owned())
}

#[test]
fn from_another_repository() {
    let (mut session, theirs) = session();
    let copy = ["--progress=none", "--jobs=1", "oci", "copy"];
    session.see([&copy[..], &["sample", "--from", &theirs, "--name", "ours"]].concat());
    session.see([&copy[..], &["--json", "--from", &theirs, "--name=again", "sample"]].concat());
    session.see([&copy[..], &["none", "--from", &theirs]].concat());
    session.see([&copy[..], &["sample", "--from", "missing"]].concat());
    session.see([&copy[..], &["sample", "oci:x", "--from", &theirs]].concat());
    session.see([&copy[..], &["sample", "--name", "x"]].concat());
    session.see(["oci", "fsck", "--deep"]);
    assert_snapshot!(session.text());
    // The other repository has another algorithm; the tree is the same.
    let dump = |repo: &str, name: &str| {
        let output = session.sandbox.invocation().args(["--repo", repo, "oci", "dump", name]).run();
        output
            .success()
            .text()
            .lines()
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let ours = session.sandbox.repo().to_str().unwrap().to_owned();
    assert_eq!(dump(&ours, "ours"), dump(&theirs, "sample"));
}

/// What is damaged there does not come here.
#[test]
fn a_damaged_repository_is_found_out() {
    let (session, theirs) = session();
    let objects = session.sandbox.path(&theirs).join("objects");
    let list = || {
        let folders = std::fs::read_dir(&objects).unwrap().map(|folder| folder.unwrap().path());
        folders
            .flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()))
            .collect::<Vec<_>>()
    };
    let mut refused = 0;
    for object in list() {
        let good = std::fs::read(&object).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&object, bad).unwrap();
        let output = session.run(["-q", "oci", "copy", "sample", "--from", &theirs, "--name", "ours"]);
        if output.code() != 0 {
            refused += 1;
            assert_eq!(session.run(["oci", "inspect", "ours"]).code(), 1, "no tag of what is damaged");
        } else {
            // The image is built anew here; the one there is not looked at.
            let _ = session.run(["oci", "fsck", "--deep"]).success();
            let _ = session.run(["oci", "untag", "ours"]).success();
        }
        let _ = session.run(["gc"]).success();
        std::fs::write(&object, good).unwrap();
    }
    assert!(refused >= 4, "{refused}");
}

/// The same words as 0.9 has.
#[test]
fn as_cfsctl_0_9_has_it() {
    let Some(program) = peers::cfsctl_or_skip() else { return };
    let (session, theirs) = session();
    let said = |output: composefs_testkit::Output| -> Vec<String> {
        let output = output.success();
        let lines = output.text().lines().filter(|line| !line.contains("verity"));
        lines.map(str::to_owned).collect()
    };
    let arguments = ["oci", "copy", "sample", "--from", &theirs, "--name", "ours"];
    let ours = said(session.run([&["-q"][..], &arguments].concat()));
    let repo = session.sandbox.path("second").to_str().unwrap().to_owned();
    let _ = session.sandbox.invocation().args(["--repo", &repo, "init", "--insecure"]).run().success();
    let run =
        session.sandbox.invocation_of(program).args([&["--repo", &repo][..], &arguments].concat()).run();
    assert_eq!(ours, said(run));
}
