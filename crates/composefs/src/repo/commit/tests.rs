use rustix::fs::CWD;

use crate::{
    digest::Algorithm,
    disk::trace,
    name::{RefName, StreamName},
    repo::{InitOptions, OpenOptions, Repository, Writer, init},
};

fn writer(directory: &tempfile::TempDir) -> Writer {
    init(CWD, directory.path(), &InitOptions::new(Algorithm::Sha256).insecure(true).ensure(true)).unwrap();
    Repository::open(CWD, directory.path(), &OpenOptions::default()).unwrap().into_writer().unwrap()
}

/// Takes what reached the disk, with paths below the repository.
fn steps(directory: &tempfile::TempDir) -> Vec<String> {
    let root = directory.path().display().to_string();
    trace::take().into_iter().map(|step| step.replace(&root, "REPO")).collect()
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn reference(text: &str) -> RefName {
    RefName::new(text).unwrap()
}

#[test]
fn the_order_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory);
    trace::take();
    let one = writer.store_bytes(&[1; 100]).unwrap().id;
    let image = writer.store_bytes(&[2; 100]).unwrap().id;
    let mut commit = writer.begin();
    commit.stream_ref(reference("oci/tag"), &name("one"));
    commit.image(image).stream(name("one"), one);
    commit.finish().unwrap();
    assert_eq!(
        steps(&directory),
        [
            format!("publish {}", one.object_path()).as_str(),
            &format!("publish {}", image.object_path()),
            "barrier",
            &format!("symlink {image}"),
            "symlink one",
            "sync REPO/streams",
            "sync REPO/images",
            "sync REPO",
            "sync REPO/streams",
            "symlink tag",
            "sync REPO/streams/refs/oci",
            "sync REPO/streams/refs",
            "sync REPO/streams",
        ]
    );
}

#[test]
fn a_checkpoint_makes_entries_and_waits_with_refs() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory);
    let one = writer.store_bytes(&[1; 100]).unwrap().id;
    let two = writer.store_bytes(&[2; 100]).unwrap().id;
    let mut commit = writer.begin();
    commit.stream(name("one"), one).stream_ref(reference("tag"), &name("two"));
    trace::take();
    commit.checkpoint().unwrap();
    assert_eq!(steps(&directory), ["barrier", "symlink one", "sync REPO/streams", "sync REPO"]);
    commit.checkpoint().unwrap();
    assert_eq!(steps(&directory), [""; 0]);
    commit.stream(name("two"), two);
    commit.finish().unwrap();
    assert_eq!(
        steps(&directory),
        [
            "barrier",
            "symlink two",
            "sync REPO/streams",
            "sync REPO/streams",
            "symlink tag",
            "sync REPO/streams/refs",
            "sync REPO/streams",
        ]
    );
}

#[test]
fn what_is_there_needs_no_barrier() {
    let directory = tempfile::tempdir().unwrap();
    let writer = writer(&directory);
    let one = writer.store_bytes(&[1; 100]).unwrap().id;
    let two = writer.store_bytes(&[2; 100]).unwrap().id;
    let run = |id, tag: &str| {
        let mut commit = writer.begin();
        commit.stream(name("one"), id).stream_ref(reference(tag), &name("one"));
        commit.finish().unwrap();
        steps(&directory)
    };
    trace::take();
    run(one, "tag");
    // No barrier: who made the directories may have been killed before it synced them.
    assert_eq!(
        run(one, "tag"),
        ["sync REPO/streams", "sync REPO/streams/refs", "sync REPO/streams", "sync REPO"]
    );
    // Another object under the same name: the temporary symlink was in the root.
    assert_eq!(
        run(two, "tag"),
        [
            "barrier",
            "replace symlink one",
            "sync REPO/streams",
            "sync REPO",
            "sync REPO/streams",
            "sync REPO/streams/refs",
        ]
    );
    assert_eq!(writer.stream_entry(&name("one")).unwrap(), Some(two));
    assert!(
        !std::fs::read_dir(directory.path())
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_string_lossy().starts_with(".symlink-") })
    );
}

#[test]
fn mended_objects_are_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let first = writer(&directory);
    let one = first.store_bytes(&[1; 100]).unwrap().id;
    let run = |writer: &Writer| {
        let mut commit = writer.begin();
        commit.stream(name("one"), one).stream_ref(reference("tag"), &name("one"));
        commit.finish().unwrap();
    };
    run(&first);
    drop(first);
    std::fs::write(directory.path().join("objects").join(one.object_path()), b"damaged").unwrap();
    let second = writer(&directory);
    second.store_bytes(&[1; 100]).unwrap();
    trace::take();
    run(&second);
    assert_eq!(steps(&directory), ["barrier", "sync REPO/streams", "sync REPO/streams/refs"]);
}
