//! Damaged and hostile repositories: found, named, kept from doing harm.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

use std::{fs, io::Write as _, os::unix::fs::symlink, path::Path, time::Duration};

use composefs::{
    digest::{Algorithm, ObjectId, object_id_of},
    error::{Category, Error},
    name::{RefName, StreamName},
    progress::{Cancel, Silent},
    repo::{
        CheckOptions, GcOptions, GcPlan, InitOptions, OpenOptions, Repository, Wait, Writer,
        check::{Fault, Finding, Level, Remedy, Subject},
        init,
    },
    splitstream::{Builder, ContentType},
};
use rustix::fs::CWD;

fn new_repository() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    init(CWD, directory.path(), &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
    directory
}

fn open(directory: &tempfile::TempDir) -> Repository {
    Repository::open(CWD, directory.path(), &OpenOptions::default()).unwrap()
}

fn writer(directory: &tempfile::TempDir) -> Writer {
    open(directory).into_writer().unwrap()
}

fn object_path(directory: &tempfile::TempDir, id: &ObjectId) -> std::path::PathBuf {
    directory.path().join("objects").join(id.object_path())
}

/// Stores a stream of one object under a name, with a ref.
fn store_stream(writer: &Writer, name: &str, contents: &[u8]) -> (ObjectId, ObjectId) {
    let object = writer.store_bytes(contents).unwrap();
    let mut builder = Builder::new(Algorithm::Sha256, ContentType::from_letters(*b"oci_blob")).unwrap();
    builder.external(&object.id, object.size).unwrap();
    let stream = writer.store_bytes(&builder.finish().unwrap().into_bytes().unwrap()).unwrap();
    let mut commit = writer.begin();
    let name = StreamName::new(name).unwrap();
    commit.stream_ref(RefName::new(format!("oci/{name}")).unwrap(), &name);
    commit.stream(name, stream.id);
    commit.finish().unwrap();
    (stream.id, object.id)
}

fn lines(directory: &tempfile::TempDir, options: &CheckOptions) -> Vec<String> {
    let report = open(directory).check(options, &Silent).unwrap();
    report.findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_damaged_object_found_present_is_replaced() {
    let directory = new_repository();
    let contents = vec![7; 10_000];
    let id = writer(&directory).store_bytes(&contents).unwrap().id;
    for damage in [&contents[..500], &[8; 10_000][..], &[]] {
        fs::write(object_path(&directory, &id), damage).unwrap();
        assert!(matches!(open(&directory).read_object(&id, 1 << 20), Err(Error::ObjectMismatch { .. })));
        let stored = writer(&directory).store_bytes(&contents).unwrap();
        assert!(stored.new);
        assert_eq!(open(&directory).read_object(&id, 1 << 20).unwrap(), contents);

        fs::write(object_path(&directory, &id), damage).unwrap();
        let writer = writer(&directory);
        let mut streamed = writer.object_writer(contents.len() as u64).unwrap();
        streamed.write_all(&contents).unwrap();
        assert_eq!(streamed.finish().unwrap().id, id);
        assert_eq!(writer.read_object(&id, 1 << 20).unwrap(), contents);
        // A good one stays the very file it is.
        let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
        let before = inode(&object_path(&directory, &id));
        assert!(!writer.store_bytes(&contents).unwrap().new);
        assert_eq!(inode(&object_path(&directory, &id)), before);
    }
    let left = fs::read_dir(directory.path().join("objects")).unwrap().count();
    assert_eq!(left, 1, "temporaries were left");
}

#[test]
fn a_dropped_object_leaves_nothing() {
    let directory = new_repository();
    let writer = writer(&directory);
    let mut streamed = writer.object_writer(1 << 20).unwrap();
    streamed.write_all(&[1; 4096]).unwrap();
    drop(streamed);
    assert_eq!(fs::read_dir(directory.path().join("objects")).unwrap().count(), 0);
}

#[test]
fn findings_read_as_documented() {
    let directory = new_repository();
    let (stream, object) = store_stream(&writer(&directory), "one", &[1; 5000]);
    let root = directory.path();
    assert_eq!(lines(&directory, &CheckOptions::default().deep(true)), Vec::<String>::new());
    fs::write(object_path(&directory, &object), b"x").unwrap();
    fs::create_dir_all(root.join("objects/aa")).unwrap();
    fs::write(root.join("objects/aa/short"), b"").unwrap();
    fs::write(root.join("streams/regular"), b"").unwrap();
    fs::write(root.join("streams/refs/file"), b"").unwrap();
    symlink("../nowhere", root.join("streams/refs/dangling")).unwrap();
    fs::create_dir(root.join("images")).unwrap();
    symlink(format!("../objects/{}", object.object_path()), root.join("images").join(object.to_hex()))
        .unwrap();
    symlink("../../../etc/passwd", root.join("streams/outside")).unwrap();
    let actual = object_id_of(Algorithm::Sha256, b"x");
    let mut expected = vec![
        "fsck: object-invalid-name: objects/aa/short: sha256 ids have 64 hex digits, not 7".to_owned(),
        format!("fsck: object-digest-mismatch: objects/{}: measured {actual}", object.object_path()),
        "fsck: broken-symlink: streams/outside".to_owned(),
        "fsck: entry-not-symlink: streams/regular".to_owned(),
        "fsck: broken-symlink: streams/refs/dangling".to_owned(),
        "fsck: unexpected-file-type: streams/refs/file: RegularFile".to_owned(),
    ];
    expected[..2].sort();
    let found = lines(&directory, &CheckOptions::default());
    assert_eq!(found[..6], expected);
    assert!(found[6].starts_with(&format!("fsck: image-invalid: images/{object}: ")), "{found:?}");
    assert_eq!(found.len(), 7);

    fs::remove_file(object_path(&directory, &object)).unwrap();
    let report = open(&directory).check(&CheckOptions::default().metadata_only(true), &Silent).unwrap();
    assert!(report.findings.iter().any(|finding| {
        finding.to_string() == format!("fsck: missing-object-ref: streams/one: {object}")
    }));
    assert_eq!((report.missing_objects, report.objects.checked), (1, 0));
    assert_eq!((report.streams.checked, report.streams.corrupted), (3, 2));
    let _ = stream;
}

#[test]
fn a_torn_object_that_nothing_needs_is_a_warning() {
    let directory = new_repository();
    let (_, needed) = store_stream(&writer(&directory), "needed", &[1; 5000]);
    let loose = writer(&directory).store_bytes(&[2; 5000]).unwrap().id;
    fs::write(object_path(&directory, &loose), "").unwrap();
    let check = || open(&directory).check(&CheckOptions::default().deep(true), &Silent).unwrap();
    let report = check();
    assert!(report.is_ok(), "{report:?}");
    assert_eq!((report.findings.len(), report.objects.corrupted), (1, 1));
    assert_eq!(report.findings[0].level, Level::Warning);
    assert_eq!(report.findings[0].remedy, Remedy::CollectGarbage);
    // What nobody can read may need it.
    let stream = open(&directory).entry(Category::Streams, "needed").unwrap().unwrap();
    let good = fs::read(object_path(&directory, &stream)).unwrap();
    fs::write(object_path(&directory, &stream), "damaged").unwrap();
    assert!(check().findings.iter().all(|finding| finding.level == Level::Error));
    fs::write(object_path(&directory, &stream), good).unwrap();

    fs::write(object_path(&directory, &needed), "").unwrap();
    assert!(!check().is_ok(), "something needs that one");
    let repository = open(&directory);
    let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
    assert_eq!(plan.objects.iter().map(|garbage| garbage.id).collect::<Vec<_>>(), [loose]);
}

#[test]
fn deep_check_compares_with_the_identifier() {
    let directory = new_repository();
    let good = "oci-blob-sha256:a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3";
    store_stream(&writer(&directory), good, b"123");
    assert_eq!(lines(&directory, &CheckOptions::default().deep(true)), Vec::<String>::new());
    store_stream(&writer(&directory), good, b"124");
    assert_eq!(lines(&directory, &CheckOptions::default()), Vec::<String>::new());
    let found = lines(&directory, &CheckOptions::default().deep(true));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with(&format!("fsck: stream-content-mismatch: streams/{good}: ")), "{found:?}");
}

/// Names a stream whose file is as given, whatever that holds.
fn store_raw_stream(writer: &Writer, name: &str, file: &[u8]) -> ObjectId {
    let id = writer.store_bytes(file).unwrap().id;
    let mut commit = writer.begin();
    commit.stream(StreamName::new(name).unwrap(), id);
    commit.finish().unwrap();
    id
}

#[test]
fn deep_check_finds_sizes_and_chunks_that_are_wrong() {
    let directory = new_repository();
    let writer = writer(&directory);
    let mut builder = Builder::new(Algorithm::Sha256, ContentType::from_letters(*b"oci_blob")).unwrap();
    builder.inline(&[7; 3000]).unwrap();
    let built = builder.finish().unwrap();
    let good = [&built.head[..], &built.tail].concat();
    // The size stands in the info section, and the frame behind the head.
    let size = good.windows(8).position(|bytes| bytes == 3000_u64.to_le_bytes()).unwrap();
    let mut wrong_size = good.clone();
    wrong_size[size] ^= 1;
    let frame = good.windows(4).rposition(|bytes| bytes == [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
    let mut wrong_frame = good.clone();
    wrong_frame[frame + 6..frame + 12].fill(0xff);
    for (name, file) in [("good", &good), ("size", &wrong_size), ("frame", &wrong_frame)] {
        store_raw_stream(&writer, name, file);
    }
    drop(writer);
    assert_eq!(lines(&directory, &CheckOptions::default()), Vec::<String>::new());
    let report = open(&directory).check(&CheckOptions::default().deep(true), &Silent).unwrap();
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.subject.to_string(), finding.fault.kind(), finding.level))
        .collect();
    let expected = [
        ("streams/frame".to_owned(), "stream-read-failed", Level::Error),
        ("streams/size".to_owned(), "stream-size-mismatch", Level::Warning),
    ];
    assert_eq!(found, expected);
    assert!(matches!(report.findings[1].fault, Fault::StreamSize { stated: 3001, actual: 3000 }));
    assert!(report.findings.iter().all(|finding| finding.remedy == Remedy::Repair));
}

#[test]
fn a_damaged_object_is_said_once_and_not_of_its_streams() {
    let directory = new_repository();
    let name = "oci-blob-sha256:a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3";
    let (stream, object) = store_stream(&writer(&directory), name, b"123");
    fs::write(object_path(&directory, &object), b"124").unwrap();
    let report = open(&directory).check(&CheckOptions::default().deep(true), &Silent).unwrap();
    let actual = object_id_of(Algorithm::Sha256, b"124");
    let expected = Finding::new(Subject::Object(object), Fault::ObjectDigestMismatch(actual));
    assert_eq!(report.findings, [expected]);
    assert_eq!(report.findings[0].object(), Some(&object));
    assert_eq!((report.objects.checked, report.objects.corrupted), (2, 1));
    let _ = stream;
}

#[test]
fn a_deep_check_tells_what_was_left_over() {
    let directory = new_repository();
    let root = directory.path();
    let writer = writer(&directory);
    let image = writer.store_bytes(&[2; 100]).unwrap().id;
    drop(writer);
    let old = std::time::SystemTime::now() - Duration::from_secs(400 * 24 * 3600);
    fs::File::create(root.join("objects/.tmp-object-AAAAAAAAAAAA")).unwrap().set_modified(old).unwrap();
    fs::create_dir_all(root.join("images/refs/x-mounts")).unwrap();
    symlink(format!("../objects/{}", image.object_path()), root.join("images").join(image.to_hex())).unwrap();
    let record = "x-mounts/01234567-89ab-cdef-0123-456789abcdef-7";
    symlink(format!("../../{image}"), root.join("images/refs").join(record)).unwrap();
    let pull = "x-pulls/01234567-89ab-cdef-0123-456789abcdef-7-0-0";
    fs::create_dir_all(root.join("streams/refs/x-pulls")).unwrap();
    symlink("../../stream", root.join("streams/refs").join(pull)).unwrap();
    fs::create_dir_all(root.join(".cfs/pulls")).unwrap();
    fs::write(root.join(".cfs/pulls/01234567-89ab-cdef-0123-456789abcdef-7-0"), "").unwrap();
    let report = open(&directory).check(&CheckOptions::default().deep(true), &Silent).unwrap();
    let left: Vec<_> =
        report.findings.iter().filter(|finding| finding.level == Level::Warning).cloned().collect();
    let temporary = Subject::Temporary { path: "objects/.tmp-object-AAAAAAAAAAAA".to_owned() };
    let mount =
        Subject::Ref { category: Category::Images, name: record.to_owned(), entry: Some(image.to_hex()) };
    let session =
        Subject::Temporary { path: ".cfs/pulls/01234567-89ab-cdef-0123-456789abcdef-7-0".to_owned() };
    let pull =
        Subject::Ref { category: Category::Streams, name: pull.to_owned(), entry: Some("stream".to_owned()) };
    let expected = [
        Finding::new(temporary, Fault::LeftoverTemporary),
        Finding::new(session, Fault::LeftoverTemporary),
        Finding::new(mount, Fault::StaleRecord),
        Finding::new(pull, Fault::StaleRecord),
    ];
    assert_eq!(left, expected);
    let cfsctl = ["cfsctl".to_owned()];
    assert!(left.iter().all(|finding| finding.remedy.command(&cfsctl, root).unwrap() == ["cfsctl", "gc"]));
    assert_eq!(left[0].to_string(), "fsck: leftover-temporary: objects/.tmp-object-AAAAAAAAAAAA");
}

#[test]
fn a_check_that_was_stopped_does_not_say_that_all_is_well() {
    let directory = new_repository();
    store_stream(&writer(&directory), "one", &[1; 5000]);
    for deep in [false, true] {
        let cancel = Cancel::default();
        let options = CheckOptions::default().deep(deep).threads(1).cancel(cancel.clone());
        assert!(open(&directory).check(&options, &Silent).unwrap().is_ok());
        cancel.cancel();
        let report = open(&directory).check(&options, &Silent).unwrap();
        assert!(report.stopped && !report.is_ok());
        assert_eq!((report.findings.len(), report.objects.checked), (0, 0));
    }
}

#[test]
fn gc_keeps_what_an_unreadable_stream_may_need() {
    let directory = new_repository();
    let writer = writer(&directory);
    let (stream, object) = store_stream(&writer, "one", &[1; 5000]);
    let garbage = writer.store_bytes(b"nobody needs this").unwrap().id;
    drop(writer);
    fs::write(object_path(&directory, &stream), b"damaged").unwrap();

    let repository = open(&directory);
    let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
    assert_eq!(plan.unreadable.len(), 1);
    assert_eq!(plan.unreadable[0].id, stream);
    assert!(plan.objects.is_empty());
    let report =
        plan.apply(&repository.sweeper(Wait::AtMost(Duration::from_secs(5))).unwrap(), &Silent).unwrap();
    assert!(!report.is_complete());
    assert_eq!(report.objects_removed, 0);
    assert!(repository.has_object(&garbage).unwrap() && repository.has_object(&object).unwrap());
    assert!(repository.resolve_stream("refs/oci/one").is_ok());

    let plan = GcPlan::new(&repository, &GcOptions::default().force(true)).unwrap();
    let report =
        plan.apply(&repository.sweeper(Wait::AtMost(Duration::from_secs(5))).unwrap(), &Silent).unwrap();
    assert_eq!(report.objects_removed, 2);
    assert!(!report.is_complete());
}

#[test]
fn gc_prunes_dangling_names_and_goes_on() {
    let directory = new_repository();
    let (stream, _) = store_stream(&writer(&directory), "one", &[1; 5000]);
    let root = directory.path();
    symlink("../../oci-manifest-sha256:gone", root.join("streams/refs/oci/gone")).unwrap();
    symlink(format!("../objects/{}", "ab/".to_owned() + &"0".repeat(62)), root.join("streams/broken"))
        .unwrap();
    fs::write(root.join("streams/regular"), b"mine").unwrap();
    let repository = open(&directory);
    let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
    assert_eq!(plan.to_string(), "Objects: 0 removed (0 bytes)\nPruned symlinks: 0 images, 2 streams");
    let report =
        plan.apply(&repository.sweeper(Wait::AtMost(Duration::from_secs(5))).unwrap(), &Silent).unwrap();
    assert_eq!(report.to_string(), "Objects: 0 removed (0 bytes)\nPruned symlinks: 0 images, 2 streams");
    assert!(repository.has_object(&stream).unwrap());
    assert_eq!(fs::read(root.join("streams/regular")).unwrap(), b"mine");
    assert!(!root.join("streams/broken").is_symlink() && !root.join("streams/refs/oci/gone").is_symlink());
    assert!(matches!(
        GcPlan::new(&repository, &GcOptions::default().root("unknown")),
        Err(Error::NotFound { .. })
    ));
}

#[test]
fn gc_looks_again_before_it_sweeps() {
    let directory = new_repository();
    let first = writer(&directory);
    let late = first.store_bytes(b"stored early, named late").unwrap();
    drop(first);
    let repository = open(&directory);
    let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
    assert_eq!(plan.objects.len(), 1);
    let (_, object) = store_stream(&writer(&directory), "late", b"stored early, named late");
    assert_eq!(object, late.id);
    let report =
        plan.apply(&repository.sweeper(Wait::AtMost(Duration::from_secs(5))).unwrap(), &Silent).unwrap();
    assert_eq!(report.objects_removed, 0);
    assert!(repository.has_object(&object).unwrap());
}

#[test]
fn old_temporaries_are_swept_and_strange_files_stay() {
    let directory = new_repository();
    store_stream(&writer(&directory), "one", &[1; 5000]);
    let root = directory.path();
    let old = std::time::SystemTime::now() - Duration::from_secs(400 * 24 * 3600);
    for (name, age) in [
        ("objects/.tmp-object-AAAAAAAAAAAA", Some(old)),
        (".tmp-mine", Some(old)),
        ("objects/.tmp-object-BBBBBBBBBBBB", None),
    ] {
        let file = fs::File::create(root.join(name)).unwrap();
        if let Some(age) = age {
            file.set_modified(age).unwrap();
        }
    }
    fs::create_dir_all(root.join("objects/zz")).unwrap();
    fs::create_dir_all(root.join("objects/aa")).unwrap();
    fs::write(root.join("objects/aa/strange"), b"").unwrap();
    let repository = open(&directory);
    let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
    assert_eq!(plan.temporaries, ["objects/.tmp-object-AAAAAAAAAAAA"]);
    assert_eq!(plan.foreign, ["objects/aa/strange", "objects/zz"]);
    let report =
        plan.apply(&repository.sweeper(Wait::AtMost(Duration::from_secs(5))).unwrap(), &Silent).unwrap();
    assert_eq!(report.temporaries_removed, 1);
    assert!(
        root.join("objects/aa/strange").exists() && root.join("objects/.tmp-object-BBBBBBBBBBBB").exists()
    );
    assert!(!root.join("objects/.tmp-object-AAAAAAAAAAAA").exists());
}

#[test]
fn names_lead_nowhere_outside() {
    let directory = new_repository();
    let outside = tempfile::tempdir().unwrap();
    let root = directory.path();
    let (_, object) = store_stream(&writer(&directory), "one", &[1; 5000]);
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    symlink(outside.path(), root.join("streams/refs/out")).unwrap();
    symlink("/etc/passwd", root.join("streams/etc")).unwrap();
    let repository = open(&directory);
    assert!(matches!(repository.resolve_stream("etc"), Err(Error::BadLink { .. })));
    for name in
        ["refs/out/secret", "../meta.json", "refs/../../meta.json", "", ".", "..", "refs", "/etc/passwd"]
    {
        assert!(repository.resolve_stream(name).is_err(), "{name}");
        assert!(repository.resolve_image(name).is_err(), "{name}");
    }
    assert!(RefName::new("../../../x").is_err());
    // A directory of objects that leads outside is not written through.
    fs::remove_dir_all(root.join("objects")).unwrap();
    fs::create_dir(root.join("objects")).unwrap();
    symlink(outside.path(), root.join("objects").join(object.object_directory())).unwrap();
    assert!(writer(&directory).store_bytes(&[1; 5000]).is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    fs::remove_dir_all(root.join("objects")).unwrap();
    symlink(outside.path(), root.join("objects")).unwrap();
    assert!(writer(&directory).store_bytes(&[1; 5000]).is_err());
}

#[test]
fn a_commit_names_nothing_that_is_not_there() {
    let directory = new_repository();
    let writer = writer(&directory);
    let absent = object_id_of(Algorithm::Sha256, b"absent");
    let name = StreamName::new("x").unwrap();
    let mut commit = writer.begin();
    commit.stream(name.clone(), absent);
    assert!(matches!(commit.finish(), Err(Error::ObjectMissing { .. })));
    let mut commit = writer.begin();
    commit.stream_ref(RefName::new("oci/x").unwrap(), &name);
    assert!(matches!(commit.finish(), Err(Error::NotFound { .. })));
    let mut commit = writer.begin();
    commit.remove_stream_ref(RefName::new("oci/x").unwrap());
    assert!(matches!(commit.finish(), Err(Error::NotFound { .. })));
    assert!(!directory.path().join("streams").exists());
}

#[test]
fn locks() {
    let directory = new_repository();
    let repository = open(&directory);
    let other = open(&directory);
    let soon = Wait::AtMost(Duration::from_millis(30));
    assert!(matches!(repository.sweeper(soon), Err(Error::InUse { .. })));
    drop(other);
    let writer = repository.writer().unwrap();
    assert!(matches!(repository.sweeper(soon), Err(Error::InUseHere { .. })));
    drop(writer);
    let sweeper = repository.sweeper(soon).unwrap();
    assert!(matches!(repository.writer(), Err(Error::InUseHere { .. })));
    let options = OpenOptions::default().wait(soon);
    assert!(matches!(Repository::open(CWD, directory.path(), &options), Err(Error::InUse { .. })));
    drop(sweeper);
    assert!(Repository::open(CWD, directory.path(), &options).is_ok());
    assert!(repository.writer().is_ok());
}

#[test]
fn settings_decide_what_may_be_done() {
    let directory = tempfile::tempdir().unwrap();
    let meta = |version: u32, features: &str| {
        let text =
            format!(r#"{{"version":{version},"algorithm":"fsverity-sha256-12","features":{{{features}}}}}"#);
        fs::write(directory.path().join("meta.json"), text).unwrap();
    };
    let open = || Repository::open(CWD, directory.path(), &OpenOptions::default());
    assert!(matches!(open(), Err(Error::NotARepository { .. })));
    meta(1, r#""read-only-compatible":["new"]"#);
    assert!(matches!(open().unwrap().into_writer(), Err(Error::ReadOnly { .. })));
    meta(0, "");
    assert!(matches!(open().unwrap().into_writer(), Err(Error::ReadOnly { .. })));
    meta(1, r#""compatible":["new"]"#);
    assert!(open().unwrap().into_writer().is_ok());
    for (version, features) in [(1, r#""incompatible":["new"]"#), (2, "")] {
        meta(version, features);
        let error = open().unwrap_err();
        assert!(matches!(error, Error::Meta { .. }) && error.hint().is_some());
    }
    meta(1, "");
    let strict = OpenOptions::default().require_verity(true);
    assert!(matches!(Repository::open(CWD, directory.path(), &strict), Err(Error::VerityRequired { .. })));
}

#[test]
fn an_empty_directory_becomes_a_repository_with_the_first_write() {
    let directory = tempfile::tempdir().unwrap();
    let options = OpenOptions::default().algorithm(Some(Algorithm::Sha256)).allow_empty(true);
    let repository = Repository::open(CWD, directory.path(), &options).unwrap();
    assert!(repository.stream_entries().unwrap().is_empty());
    assert!(!repository.has_object(&object_id_of(Algorithm::Sha256, b"")).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    let writer = repository.writer().unwrap();
    writer.store_bytes(&[3; 100]).unwrap();
    let text = fs::read_to_string(directory.path().join("meta.json")).unwrap();
    assert!(text.contains("v1_erofs"));
    assert!(Repository::open(CWD, directory.path(), &OpenOptions::default()).is_ok());
}

#[test]
fn reset_keeps_objects_only() {
    let directory = new_repository();
    let (stream, _) = store_stream(&writer(&directory), "one", &[1; 5000]);
    let options = InitOptions::new(Algorithm::Sha256).insecure(true).reset_metadata(true);
    let busy = open(&directory);
    let soon = options.clone().wait(Wait::AtMost(Duration::from_millis(20)));
    assert!(matches!(init(CWD, directory.path(), &soon), Err(Error::InUse { .. })));
    drop(busy);
    init(CWD, directory.path(), &options).unwrap();
    let repository = open(&directory);
    assert!(repository.has_object(&stream).unwrap());
    assert!(repository.refs(Category::Streams, "").unwrap().is_empty());
    assert!(!directory.path().join("streams").exists());
}
