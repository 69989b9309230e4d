use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn good() {
    let mut session = Session::with_sample();
    session.see(["fsck"]);
    session.see(["fsck", "--metadata-only"]);
    session.see(["fsck", "--deep"]);
    session.see(["fsck", "--json"]);
    session.see(["fsck", "--deep", "--metadata-only"]);
    assert_snapshot!(session.text());
}

/// The object of usr/share/numbers, by what the image says.
fn numbers(session: &Session) -> std::path::PathBuf {
    let image = session.run(["oci", "compute-id", "sample"]).success().text().trim_end().to_owned();
    let output = session.run(["dump-files", "--backing-path-only", &image, "/usr/share/numbers"]).success();
    session.sandbox.path("repo/objects").join(output.text().trim_end().split_once(' ').unwrap().1)
}

#[test]
fn an_object_with_other_contents() {
    let mut session = Session::with_sample();
    let path = numbers(&session);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "swapped").unwrap();
    session.see(["fsck"]);
    session.see(["fsck", "--json"]);
    session.see(["fsck", "--metadata-only"]);
    session.note("what the hint says mends it");
    std::fs::remove_file(&path).unwrap();
    session.see(["-q", "oci", "pull", "oci:sample", "sample"]);
    session.see(["fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn an_object_that_is_gone() {
    let mut session = Session::with_sample();
    std::fs::remove_file(numbers(&session)).unwrap();
    session.see(["fsck"]);
    session.see(["fsck", "--json"]);
    assert_snapshot!(session.text());
}

#[test]
fn what_was_left_over_is_a_warning() {
    let mut session = Session::with_sample();
    let repo = session.sandbox.repo();
    let image = session.run(["oci", "compute-id", "sample"]).success().text().trim_end().to_owned();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(400 * 24 * 3600);
    let left = std::fs::File::create(repo.join("objects/.tmp-object-AAAAAAAAAAAA")).unwrap();
    left.set_modified(old).unwrap();
    std::fs::create_dir_all(repo.join("images/refs/x-mounts")).unwrap();
    let record = "images/refs/x-mounts/01234567-89ab-cdef-0123-456789abcdef-7";
    std::os::unix::fs::symlink(format!("../../{image}"), repo.join(record)).unwrap();
    session.see(["fsck"]);
    session.see(["fsck", "--deep"]);
    session.see(["oci", "fsck", "--deep", "--json"]);
    session.note("what the remedy says mends it");
    let _ = session.run(["gc"]).success();
    session.see(["fsck", "--deep"]);
    assert_snapshot!(session.text());
}

#[test]
fn contents_that_are_not_what_the_name_says() {
    let mut session = Session::with_sample();
    let [lower, upper] = crate::lab::sample_layers();
    let streams = session.sandbox.path("repo/streams");
    let (lower, upper) =
        (streams.join(format!("oci-layer-{lower}")), streams.join(format!("oci-layer-{upper}")));
    // A good stream under the name of another.
    std::fs::remove_file(&upper).unwrap();
    std::os::unix::fs::symlink(std::fs::read_link(&lower).unwrap(), &upper).unwrap();
    session.see(["fsck"]);
    session.see(["fsck", "--deep"]);
    session.see(["fsck", "--deep", "--json"]);
    assert_snapshot!(session.text());
}

/// Every command that a document gives can be run, and is for this repository.
#[test]
fn commands_are_for_this_repository() {
    let session = Session::with_sample();
    let strange = session.sandbox.repo().join("streams/it's none of ours");
    std::fs::write(&strange, "").unwrap();
    let found = session.run(["fsck", "--json"]).success().json();
    let command: Vec<String> =
        serde_json::from_value(found["findings"][0]["remedy"]["command"].clone()).unwrap();
    assert_eq!(std::process::Command::new(&command[0]).args(&command[1..]).status().unwrap().code(), Some(0));
    assert!(!strange.exists());
    let _ = session.run(["fsck"]).success();
}

#[test]
fn names_that_lead_nowhere_and_files_of_strangers() {
    let mut session = Session::with_sample();
    let repo = session.sandbox.repo();
    std::fs::write(repo.join("objects/00-stray"), "").unwrap();
    std::fs::write(repo.join("streams/no-link"), "").unwrap();
    std::os::unix::fs::symlink("../objects/00/11", repo.join("streams/broken")).unwrap();
    session.see(["fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn a_meta_json_that_cannot_be_read() {
    let mut session = Session::with_sample();
    session.sandbox.write("repo/meta.json", "{\"version\":");
    session.see(["fsck"]);
    session.sandbox.write("repo/meta.json", "{\"version\": 99}");
    session.see(["fsck"]);
    std::fs::remove_file(session.sandbox.path("repo/meta.json")).unwrap();
    session.see(["fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn no_repository() {
    let mut session = Session::new();
    session.see(["fsck"]);
    std::fs::create_dir(session.sandbox.repo()).unwrap();
    session.see(["fsck"]);
    session.sandbox.write("file", "");
    session.see_bare(["--repo", "file", "fsck"]);
    assert_snapshot!(session.text());
}
