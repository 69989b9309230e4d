//! Options of every verb, and what they do to exit codes and to the talk on stderr.

use std::path::Path;

use composefs_testkit::{Output, sample};
use insta::assert_snapshot;

use crate::lab::Session;

/// A repository made by the way: whether it has fs-verity is the file system's business.
fn made(output: Output) -> Output {
    output.redact(|list| {
        list.pattern(r"with fs-verity|without fs-verity: integrity rests on user space", "[VERITY]");
    })
}

#[test]
fn a_writing_verb_makes_the_repository_and_says_so() {
    let mut session = Session::new();
    sample::write(&session.sandbox.path("sample"));
    let pull = ["--progress=none", "oci", "pull", "oci:sample", "sample"];
    session.add(&session.run([&["--no-create"][..], &pull].concat()));
    assert!(!session.sandbox.repo().exists());
    session.add(&made(session.run(pull)));
    session.see(["oci", "compute-id", "sample"]);
    // An empty directory is as good as none.
    std::fs::create_dir(session.sandbox.path("empty")).unwrap();
    let run = session.sandbox.bare([&["--repo", "empty", "--hash", "sha256"][..], &pull].concat());
    session.add(&made(run));
    let quiet = session.sandbox.bare([&["-q", "--repo", "deep/quiet"][..], &pull].concat()).success();
    assert!(quiet.stderr.is_empty(), "{quiet}");
    // A directory with something in it is not.
    session.sandbox.write("full/file", "");
    session.see_bare([&["--repo", "full"][..], &pull].concat());
    assert_snapshot!(session.text());
}

#[test]
fn reading_verbs_make_nothing() {
    let mut session = Session::new();
    for verb in [&["images"][..], &["oci", "images"], &["gc"], &["oci", "untag", "x"], &["cat", "x"]] {
        session.see(verb);
    }
    assert!(!session.sandbox.repo().exists());
    assert_snapshot!(session.text());
}

/// Layers are done in any order: the lines are sorted.
fn talk(output: &Output) -> String {
    let mut lines: Vec<String> = output.to_string().lines().map(str::to_owned).collect();
    let start = lines.iter().position(|line| line == "--- stderr").map_or(lines.len(), |at| at + 1);
    lines[start..].sort();
    lines.join("\n") + "\n\n"
}

#[test]
fn progress_as_lines_documents_or_not_at_all() {
    let session = Session::with_repository();
    sample::write(&session.sandbox.path("sample"));
    let mut text = String::new();
    for mode in ["plain", "auto", "json", "none"] {
        // Each in a repository of its own, so that there is something to do.
        let repo = format!("repo-{mode}");
        let _ = session
            .sandbox
            .bare(["init", "--insecure", "--algorithm", "fsverity-sha256-12", &repo])
            .success();
        let pull = ["--repo", &repo, "--progress", mode, "oci", "pull", "oci:sample", "sample"];
        text.push_str(&talk(&session.sandbox.bare(pull).success()));
        text.push_str(&talk(&session.sandbox.bare(pull).success()));
    }
    assert_snapshot!(text);
    let json = session.sandbox.bare(["--repo", "repo-j", "init", "--insecure"]).success();
    assert!(json.stderr.is_empty());
    let json = session
        .sandbox
        .bare(["--repo", "repo-j", "--progress=json", "oci", "pull", "oci:sample", "sample"])
        .success();
    for line in json.talk().lines() {
        assert!(line.starts_with("{\"event\":") && line.ends_with('}'), "{line}");
    }
    let quiet = session.sandbox.bare(["--repo", "repo-q", "init", "--insecure"]).success();
    assert!(quiet.stderr.is_empty());
    let quiet =
        session.sandbox.bare(["--repo", "repo-q", "-q", "oci", "pull", "oci:sample", "sample"]).success();
    assert!(quiet.stderr.is_empty(), "{quiet}");
}

#[test]
fn usage_errors_are_two() {
    let mut session = Session::new();
    for arguments in [
        &[][..],
        &["no-such-verb"],
        &["oci"],
        &["--repo", "a", "--user", "fsck"],
        &["--user", "--system", "fsck"],
        &["--quiet", "--verbose", "fsck"],
        &["--jobs", "0", "fsck"],
        &["--progress", "loud", "fsck"],
        &["--erofs-version", "9", "fsck"],
        &["oci", "inspect", "@nonsense"],
        &["oci", "tag", "nonsense", "x"],
        &["oci", "layer", "sha256:short"],
        &["oci", "pull"],
    ] {
        let output = session.sandbox.bare(arguments);
        assert_eq!(output.code(), 2, "{output}");
        session.add(&output);
    }
    assert_snapshot!(session.text());
}

#[test]
fn version_and_help_are_no_errors() {
    let mut session = Session::new();
    session.see_bare(["--version"]);
    session.see_bare(["-h"]);
    session.see_bare(["oci", "-h"]);
    assert_snapshot!(session.text());
}

#[test]
fn a_hash_that_is_not_the_repositorys() {
    let mut session = Session::with_repository();
    session.see(["--hash", "sha512", "fsck"]);
    session.see(["--hash", "sha256", "fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn verity_required_where_there_is_none() {
    let mut session = Session::with_repository();
    session.see(["--require-verity", "oci", "images"]);
    session.see(["--require-verity", "--insecure", "oci", "images"]);
    assert_snapshot!(session.text());
}

#[test]
fn the_users_repository_is_in_the_home_directory() {
    let mut session = Session::new();
    session.see_bare(["--user", "init", "--insecure"]);
    assert!(session.sandbox.path("home/.var/lib/composefs/meta.json").exists());
    session.see_bare(["--user", "fsck"]);
    session.add(&session.sandbox.invocation().env("HOME", "").args(["--user", "fsck"]).run());
    assert_snapshot!(session.text());
}

#[test]
fn options_stand_before_or_behind_the_verb() {
    let session = Session::with_repository();
    let behind =
        session.sandbox.invocation().args(["fsck", "--repo"]).arg(session.sandbox.repo()).run().success();
    assert_eq!(behind.text(), session.run(["fsck"]).text());
    assert!(Path::new(&session.sandbox.repo()).exists());
}
