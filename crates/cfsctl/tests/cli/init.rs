use insta::assert_snapshot;

use crate::lab::Session;

fn meta(session: &Session) -> String {
    std::fs::read_to_string(session.sandbox.path("repo/meta.json")).unwrap()
}

#[test]
fn made_once_and_found_again() {
    let mut session = Session::new();
    session.see(["init", "--insecure", "--algorithm", "fsverity-sha256-12"]);
    let text = meta(&session);
    session.note(format!("meta.json: {text}"));
    session.see(["init", "--insecure", "--algorithm", "fsverity-sha256-12"]);
    session.see(["init", "--insecure", "--algorithm", "fsverity-sha256-12", "--ensure"]);
    session.see([
        "init",
        "--insecure",
        "--algorithm",
        "fsverity-sha256-12",
        "--ensure",
        "--erofs-version",
        "2",
    ]);
    session.see(["init", "--insecure", "--algorithm", "fsverity-sha256-12", "--erofs-version", "2"]);
    session.see(["init", "--insecure", "--algorithm", "fsverity-sha512-12"]);
    session.see(["init", "--insecure", "--algorithm", "fsverity-sha512-12", "--ensure"]);
    assert_eq!(meta(&session), text, "a refused init changes nothing");
    assert_snapshot!(session.text());
}

#[test]
fn path_algorithm_and_version() {
    let mut session = Session::new();
    session.see_bare(["init", "--insecure", "elsewhere/deep"]);
    session.see_bare(["--hash", "sha256", "init", "--insecure", "hash"]);
    session.see_bare(["init", "--insecure", "--erofs-version", "2", "second"]);
    session.see_bare(["init", "--insecure", "--erofs-version", "0", "zeroth"]);
    for name in ["elsewhere/deep", "second", "zeroth"] {
        let text = std::fs::read_to_string(session.sandbox.path(name).join("meta.json")).unwrap();
        session.note(format!("{name}: {text}"));
    }
    session.see_bare(["init", "--insecure", "--algorithm", "nonsense", "bad"]);
    session.see_bare(["init", "--insecure", "--erofs-version", "3", "bad"]);
    assert!(!session.sandbox.path("bad").exists());
    assert_snapshot!(session.text());
}

#[test]
fn where_the_file_system_has_no_verity() {
    let Some(mut session) = Session::without_verity() else { return };
    session.see(["init"]);
    assert!(!session.sandbox.path("repo/meta.json").exists());
    session.see(["init", "--insecure"]);
    session.see(["--require-verity", "fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn reset_keeps_objects() {
    let mut session = Session::with_sample();
    session.see(["init", "--insecure", "--algorithm", "fsverity-sha256-12", "--reset-metadata"]);
    session.see(["oci", "images"]);
    session.see(["fsck"]);
    assert_snapshot!(session.text());
}
