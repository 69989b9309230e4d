use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn contents_by_way_of_symlinks() {
    let mut session = Session::with_sample();
    session.see(["oci", "cat", "sample", "/usr/bin/hi", "etc/hostname"]);
    session.see(["oci", "cat", "sample", "/usr"]);
    session.see(["oci", "cat", "sample", "/usr/bin/none"]);
    session.see(["oci", "cat", "none", "/usr/bin/hi"]);
    assert_snapshot!(session.text());
}

#[test]
fn a_damaged_object_is_an_error() {
    let session = Session::with_sample();
    let listed =
        session.run(["oci", "ls", "--json", "sample", "/usr/share/numbers"]).success().text().to_owned();
    let object = listed.lines().find_map(|line| line.trim().strip_prefix("\"object\": \"")).unwrap();
    let object = object.trim_end_matches(['"', ',']);
    let path = session.sandbox.repo().join("objects").join(&object[..2]).join(&object[2..]);
    let mut contents = std::fs::read(&path).unwrap();
    contents[5000] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, contents).unwrap();
    let refused = session.run(["oci", "cat", "sample", "/usr/share/numbers"]).exited(1);
    assert!(
        refused.talk().contains("/usr/share/numbers") && refused.talk().contains(object),
        "{}",
        refused.talk()
    );
    let refused = session.run(["oci", "extract", "sample", "/usr", "usr"]).exited(1);
    assert!(refused.talk().contains(object), "{}", refused.talk());
    assert!(!session.sandbox.path("usr").exists());
}
