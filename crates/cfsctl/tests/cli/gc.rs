use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn what_no_name_needs_goes() {
    let mut session = Session::with_sample();
    session.see(["gc", "-n"]);
    session.see(["oci", "untag", "sample"]);
    session.see(["gc", "--dry-run"]);
    session.see(["gc", "--dry-run", "--json"]);
    session.see(["fsck"]);
    session.see(["gc"]);
    session.see(["gc", "--json"]);
    session.see(["fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn roots_keep() {
    let mut session = Session::with_sample();
    let inspected = session.run(["oci", "inspect", "sample"]).success().json();
    let image = inspected["composefs_erofs"].as_str().unwrap().to_owned();
    let manifest = session.run(["oci", "images", "--json"]).success().json()["images"][0]["manifest_digest"]
        .as_str()
        .unwrap()
        .to_owned();
    session.see(["oci", "untag", "sample"]);
    session.see(["gc", "-n", "--root", &format!("oci-manifest-{manifest}")]);
    session.see(["gc", "-n", "-r", &image]);
    session.see(["gc", "-n", "-r", "no-such-thing"]);
    assert_snapshot!(session.text());
}

#[test]
fn broken_names_are_pruned() {
    let mut session = Session::with_repository();
    let link = session.sandbox.path("repo/images/refs/broken");
    std::fs::create_dir_all(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(format!("../{}", "0".repeat(64)), link).unwrap();
    session.see(["gc", "-n"]);
    session.see(["gc"]);
    session.see(["gc"]);
    assert_snapshot!(session.text());
}

#[test]
fn what_is_needed_and_unreadable_stops_it() {
    let mut session = Session::with_sample();
    let manifest = std::fs::canonicalize(session.sandbox.path("repo/streams/refs/oci/sample")).unwrap();
    let _ = std::fs::remove_file(&manifest);
    std::fs::write(&manifest, "not a splitstream").unwrap();
    let before = session.run(["fsck", "--json"]).success().json()["objects_checked"].clone();
    session.see(["gc"]);
    let after = session.run(["fsck", "--json"]).success().json()["objects_checked"].clone();
    assert_eq!(before, after);
    assert_snapshot!(session.text());
}

#[test]
fn no_repository() {
    let mut session = Session::new();
    session.see(["gc"]);
    assert_snapshot!(session.text());
}
