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

#[test]
fn a_store_is_made_to_fit() {
    let mut session = Session::with_sample();
    for below in ["streams", "images", ".cfs/used"] {
        age(&session.sandbox.path(format!("repo/{below}")));
    }
    session.see(["gc", "--dry-run", "--max-size", "1T"]);
    session.see(["gc", "--dry-run", "--json", "--max-size", "1K", "--untag", "--keep-newer", "1000w"]);
    session.see(["gc", "--max-size", "1K"]);
    session.see(["gc", "--dry-run", "--max-size", "1K", "--untag"]);
    session.see(["gc", "--max-size", "1K", "--untag"]);
    session.see(["oci", "images"]);
    session.see(["gc", "--untag"]);
    session.see(["gc", "--keep-newer", "7"]);
    session.see(["gc", "--max-size", "1X"]);
    assert_snapshot!(session.text());
}

/// Sets the times of everything in a directory.
fn age(directory: &std::path::Path) {
    let set = std::process::Command::new("find")
        .arg(directory)
        .args(["-exec", "touch", "-h", "-d", "2026-01-02T12:00:00Z", "{}", "+"])
        .status();
    assert!(set.unwrap().success());
}
