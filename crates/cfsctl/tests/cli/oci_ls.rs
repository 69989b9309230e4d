use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn names_long_lines_and_all_below() {
    let mut session = Session::with_sample();
    session.see(["oci", "ls", "sample"]);
    session.see(["oci", "ls", "-l", "sample", "usr/bin"]);
    session.see(["oci", "ls", "-R", "sample", "/usr"]);
    session.see(["oci", "ls", "-lR", "sample", "/usr/bin/hi"]);
    session.see(["oci", "ls", "--json", "sample", "/usr/bin/hello"]);
    session.see(["oci", "ls", "sample", "/usr/bin/hi/"]);
    session.see(["oci", "ls", "sample", "/none"]);
    session.see(["oci", "ls", "none"]);
    assert_snapshot!(session.text());
}

#[test]
fn an_image_pulled_without_its_composefs_image_is_read_from_its_layers() {
    let session = Session::with_sample();
    let _ = session.run(["-q", "oci", "pull", "--no-image", "oci:sample", "layers"]).success();
    let list = |name: &str| session.run(["oci", "ls", "-lR", name]).success().text().to_owned();
    assert_eq!(list("layers"), list("sample"));
    let id = session.run(["oci", "compute-id", "sample"]).success().text().to_owned();
    assert_eq!(list(id.trim()), list("sample"));
}
