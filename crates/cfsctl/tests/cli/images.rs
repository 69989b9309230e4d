use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn named_images() {
    let mut session = Session::with_repository();
    session.see(["images"]);
    session.see(["images", "--json"]);
    session.sandbox.write("tree.dump", "/ 0 40755 2 0 0 0 0.0 - - -\n");
    for name in ["b/second", "a", "odd name"] {
        let _ = session.run(["create-image", "--dumpfile", "tree.dump", name]).success();
    }
    session.see(["images"]);
    session.see(["list-images", "--no-trunc"]);
    session.see(["images", "--json"]);
    assert_snapshot!(session.text());
}

#[test]
fn records_of_mounts_are_no_names() {
    let session = Session::with_repository();
    session.sandbox.write("tree.dump", "/ 0 40755 2 0 0 0 0.0 - - -\n");
    let made = session.run(["create-image", "--dumpfile", "tree.dump", "a"]).success();
    let id = made.text().trim().split_once(':').unwrap().1.to_owned();
    let records = session.sandbox.repo().join("images/refs/x-mounts");
    std::fs::create_dir(&records).unwrap();
    std::os::unix::fs::symlink(format!("../../{id}"), records.join("boot-1")).unwrap();
    let listed = session.run(["images", "--json"]).success().json();
    let names: Vec<_> = listed["images"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["a"]);
}
