use std::path::{Path, PathBuf};

use insta::assert_snapshot;

use crate::lab::Session;

/// The largest file of the sample.
fn numbers(session: &Session) -> PathBuf {
    let image = session.run(["oci", "compute-id", "sample"]).success().text().trim().to_owned();
    let line = session.run(["dump-files", "--backing-path-only", &image, "/usr/share/numbers"]).success();
    let path = line.text().trim().rsplit(' ').next().unwrap().to_owned();
    session.sandbox.path("repo/objects").join(path)
}

fn spoil(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[0] ^= 1;
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn nothing_to_mend() {
    let mut session = Session::with_sample();
    session.see(["repair", "--dry-run"]);
    session.see(["repair"]);
    session.see(["repair", "--json"]);
    session.see(["repair", "no-such-tag"]);
    assert_snapshot!(session.text());
}

#[test]
fn from_where_it_was_pulled() {
    let mut session = Session::with_sample();
    spoil(&numbers(&session));
    let image = session.sandbox.path("repo/images");
    let image = std::fs::read_dir(image).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(std::fs::canonicalize(image).unwrap()).unwrap();
    session.see(["repair", "--dry-run"]);
    session.see(["repair", "--dry-run", "--json"]);
    session.see(["repair"]);
    session.see(["fsck", "--deep"]);
    session.see(["oci", "fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn what_nobody_has_is_listed() {
    let mut session = Session::with_sample();
    spoil(&numbers(&session));
    std::fs::rename(session.sandbox.path("sample"), session.sandbox.path("elsewhere")).unwrap();
    session.see(["repair"]);
    session.see(["repair", "--no-recorded", "--json"]);
    session.see(["repair", "--from", "oci:elsewhere"]);
    session.see(["fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn from_another_repository() {
    let mut session = Session::with_sample();
    let other = session.sandbox.path("other").display().to_string();
    let make = ["--repo", &other, "init", "--insecure", "--algorithm", "fsverity-sha512-12"];
    let _ = session.sandbox.bare(make).success();
    let pull = ["--progress=none", "--repo", &other, "oci", "pull", "oci:sample", "sample"];
    let _ = session.sandbox.bare(pull).success();
    std::fs::remove_file(numbers(&session)).unwrap();
    session.see(["repair", "sample", "--no-recorded", "--from", &other]);
    session.see(["fsck"]);
    assert_snapshot!(session.text());
}
