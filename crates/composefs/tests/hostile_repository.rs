//! What somebody may have put into a repository: links that lead out, deep trees, odd files.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::{fs, os::unix::fs::symlink, path::Path};

use composefs::{
    digest::Algorithm,
    error::{Category, Error, LinkFault},
    name::{RefName, StreamName},
    progress::Silent,
    repo::{GcOptions, GcPlan, InitOptions, OpenOptions, Repository, Wait, Writer, init},
    splitstream::{Builder, ContentType},
};
use rustix::fs::CWD;

fn new_repository() -> (tempfile::TempDir, Repository) {
    let directory = tempfile::tempdir().unwrap();
    init(CWD, directory.path(), &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
    let repository = open(directory.path());
    (directory, repository)
}

fn open(path: &Path) -> Repository {
    Repository::open(CWD, path, &OpenOptions::default()).unwrap()
}

fn commit(writer: &Writer, name: &str, contents: &[u8]) {
    let id = writer.store_bytes(contents).unwrap().id;
    let name = StreamName::new(name).unwrap();
    let mut commit = writer.begin();
    commit.stream_ref(RefName::new(name.as_str()).unwrap(), &name).stream(name, id);
    commit.finish().unwrap();
}

#[test]
fn what_has_an_objects_name_and_is_no_file_is_replaced() {
    let (directory, repository) = new_repository();
    let contents = [7; 100];
    let id = repository.writer().unwrap().store_bytes(&contents).unwrap().id;
    let path = directory.path().join("objects").join(id.object_path());
    let puts: [fn(&Path); 3] = [
        |path| symlink("nowhere", path).unwrap(),
        |path| symlink("/etc/passwd", path).unwrap(),
        |path| {
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
            rustix::fs::mknodat(CWD, path, kind, mode, 0).unwrap();
        },
    ];
    for put in puts {
        fs::remove_file(&path).unwrap();
        put(&path);
        assert!(!repository.has_object(&id).unwrap());
        assert!(repository.read_object(&id, 1000).is_err());
        // A writer of its own: what a writer has stored it does not look at again.
        assert!(repository.writer().unwrap().store_bytes(&contents).unwrap().new);
        assert_eq!(repository.read_object(&id, 1000).unwrap(), contents);
    }
}

#[test]
fn objects_are_not_read_through_links() {
    let (directory, repository) = new_repository();
    let id = repository.writer().unwrap().store_bytes(&[7; 100]).unwrap().id;
    let prefix = directory.path().join("objects").join(id.object_directory());
    let outside = tempfile::tempdir().unwrap();
    fs::rename(&prefix, outside.path().join("moved")).unwrap();
    symlink(outside.path().join("moved"), &prefix).unwrap();
    assert!(repository.open_object(&id).is_err());
    assert!(repository.writer().unwrap().store_bytes(&[7; 100]).is_err());
}

#[test]
fn refs_deeper_than_they_are_read_stop_a_collection() {
    let (directory, repository) = new_repository();
    commit(&repository.writer().unwrap(), "kept", b"contents");
    let mut path = directory.path().join("streams/refs");
    for _ in 0..300 {
        path.push("d");
    }
    fs::create_dir_all(&path).unwrap();
    let error = GcPlan::new(&repository, &GcOptions::default()).unwrap_err();
    assert!(matches!(error, Error::BadLink { fault: LinkFault::TooDeep, .. }), "{error}");
    assert_eq!(repository.refs(Category::Streams, "").unwrap().len(), 1);
}

#[test]
fn a_directory_with_an_objects_name_stays() {
    let (directory, repository) = new_repository();
    let name = format!("objects/ab/{}", "cd".repeat(31));
    fs::create_dir_all(directory.path().join(&name)).unwrap();
    let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
    assert_eq!(plan.foreign, [name.as_str()]);
    plan.apply(&repository.sweeper(Wait::Forever).unwrap(), &Silent).unwrap();
    assert!(directory.path().join(&name).exists());
}

#[test]
fn damaged_tables_without_verity_keep_everything() {
    let (directory, repository) = new_repository();
    let algorithm = Algorithm::Sha256;
    let writer = repository.writer().unwrap();
    let object = writer.store_bytes(&[9; 100]).unwrap();
    let mut stream = Builder::new(algorithm, ContentType::OCI_LAYER).unwrap();
    stream.external(&object.id, object.size).unwrap();
    let bytes = stream.finish().unwrap().into_bytes().unwrap();
    commit(&writer, "stream", &bytes);
    drop(writer);
    let id = repository.entry(Category::Streams, "stream").unwrap().unwrap();
    let at = bytes.windows(32).position(|window| window == object.id.as_bytes()).unwrap();
    let mut damaged = bytes;
    damaged[at] ^= 1;
    fs::write(directory.path().join("objects").join(id.object_path()), damaged).unwrap();
    let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
    assert!(!plan.is_complete() && plan.objects.is_empty());
}

#[test]
fn a_reset_takes_deep_and_wide_trees_away() {
    let (directory, repository) = new_repository();
    commit(&repository.writer().unwrap(), "kept", b"contents");
    drop(repository);
    for wide in 0..200 {
        fs::create_dir_all(directory.path().join(format!("streams/refs/{wide}/a/b"))).unwrap();
    }
    let options = InitOptions::new(Algorithm::Sha256).insecure(true).reset_metadata(true);
    init(CWD, directory.path(), &options).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["meta.json", "objects"]);
}

/// Records of pulls at work are made and reaped in `.cfs`, never where a link of that name leads.
#[test]
fn records_of_pulls_stay_in_the_repository() {
    for link in [".cfs", ".cfs/pulls"] {
        let (directory, repository) = new_repository();
        let outside = tempfile::tempdir().unwrap();
        let record = format!("{}-1-0", "0".repeat(32));
        for path in ["pulls", "."] {
            fs::create_dir_all(outside.path().join(path)).unwrap();
            fs::write(outside.path().join(path).join(&record), "").unwrap();
        }
        let link = directory.path().join(link);
        let _ = fs::remove_dir_all(&link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(outside.path(), &link).unwrap();
        let writer = repository.writer().unwrap();
        writer.session().unwrap().without_lock(|| ()).unwrap();
        drop(writer);
        if let Ok(plan) = GcPlan::new(&repository, &GcOptions::default()) {
            plan.apply(&repository.sweeper(Wait::Forever).unwrap(), &Silent).unwrap();
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2);
        assert_eq!(fs::read_dir(outside.path().join("pulls")).unwrap().count(), 1);
    }
}

/// Neither entries nor refs are looked for, made or removed behind a link.
#[test]
fn entries_and_refs_behind_links_are_nobodys() {
    for link in ["streams", "streams/refs", "images", "images/refs"] {
        let (directory, repository) = new_repository();
        commit(&repository.writer().unwrap(), "kept", b"contents");
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("refs")).unwrap();
        fs::write(outside.path().join("precious"), "").unwrap();
        symlink("../x", outside.path().join("refs/name")).unwrap();
        let link = directory.path().join(link);
        let _ = fs::remove_dir_all(&link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(outside.path(), &link).unwrap();
        if let Ok(plan) = GcPlan::new(&repository, &GcOptions::default()) {
            let _ = plan.apply(&repository.sweeper(Wait::Forever).unwrap(), &Silent);
        }
        let writer = repository.writer().unwrap();
        let mut commit = writer.begin();
        let name = StreamName::new("other").unwrap();
        let id = writer.store_bytes(b"other contents").unwrap().id;
        commit.stream_ref(RefName::new("other").unwrap(), &name).stream(name, id);
        if link.starts_with(directory.path().join("streams")) {
            commit.finish().unwrap_err();
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 2, "{}", link.display());
        assert_eq!(fs::read_dir(outside.path().join("refs")).unwrap().count(), 1);
    }
}
