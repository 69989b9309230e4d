//! Repositories that other implementations wrote: everything in them is found, nothing in them is changed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use composefs::{
    digest::{Algorithm, ObjectId, hash::Hasher, object_id::push_hex},
    error::{Category, Error},
    name::{RefName, StreamName},
    progress::Silent,
    repo::{
        CheckOptions, GcOptions, GcPlan, InitOptions, InitOutcome, OpenOptions, Repository, Wait,
        check::MetaState, init,
    },
};
use rustix::fs::CWD;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/repo");

const REPOSITORIES: [&str; 8] = [
    "old-header-sha256",
    "r09-sha256-dual",
    "r09-sha256-names",
    "r09-sha256-referrer",
    "r09-sha256-v1",
    "r09-sha256-v2",
    "r09-sha512-v1",
    "r09-sha512-v2",
];

fn unpack(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let file = File::open(format!("{VECTORS}/{name}.tar.gz")).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    archive.set_preserve_mtime(true);
    archive.unpack(directory.path()).unwrap();
    directory
}

fn open(directory: &tempfile::TempDir) -> Repository {
    Repository::open(CWD, directory.path(), &OpenOptions::default()).unwrap()
}

/// Rows of one repository and kind, without these two columns.
fn rows(repository: &str, kind: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(format!("{VECTORS}/expected.tsv")).unwrap();
    text.lines()
        .map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>())
        .filter(|row| row[0] == repository && row[1] == kind)
        .map(|row| row[2..].to_vec())
        .collect()
}

/// Every path with what it holds, to see whether anything changed.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let what = if metadata.is_dir() {
                pending.push(path.clone());
                "directory".to_owned()
            } else if metadata.is_symlink() {
                std::fs::read_link(&path).unwrap().display().to_string()
            } else {
                format!("{:?}", std::fs::read(&path).unwrap())
            };
            all.insert(path, format!("{what} {:?}", metadata.modified().unwrap()));
        }
    }
    all
}

fn sha256(write: impl FnOnce(&mut dyn std::io::Write)) -> String {
    struct Sink(Hasher);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut sink = Sink(Hasher::new(Algorithm::Sha256));
    write(&mut sink);
    let (mut digest, mut text) = (Vec::new(), String::new());
    sink.0.finish_into(&mut digest);
    push_hex(&mut text, &digest);
    text
}

#[test]
fn everything_is_listed_and_every_stream_comes_out() {
    for name in REPOSITORIES {
        let directory = unpack(name);
        let before = snapshot(directory.path());
        let repository = open(&directory);
        assert!(!repository.is_verified());
        assert_eq!(repository.is_old(), name.starts_with("old"));

        let expected: Vec<(String, String)> =
            rows(name, "stream").into_iter().map(|row| (row[0].clone(), row[2].clone())).collect();
        let mut found: Vec<(String, String)> = repository
            .stream_entries()
            .unwrap()
            .into_iter()
            .map(|(name, id)| (name.as_str().to_owned(), id.to_hex()))
            .collect();
        found.sort();
        assert_eq!(found, expected, "{name}");

        for row in rows(name, "stream") {
            let id = repository.stream_entry(&StreamName::new(&row[0]).unwrap()).unwrap().unwrap();
            let stream = repository.open_stream(&id).unwrap();
            assert_eq!(stream.content_type().to_string(), row[1]);
            let contents = sha256(|output| {
                assert!(repository.replay_stream(&id, &stream, output).unwrap().agrees());
            });
            assert_eq!(contents, row[5], "{name} {}", row[0]);
            assert_eq!(repository.resolve_stream(row[0].rsplit(':').next().unwrap()).unwrap().id, id);
        }
        for row in rows(name, "named-ref") {
            let id = repository.resolve_stream(&row[0]).unwrap().id;
            let stream = repository.open_stream(&id).unwrap();
            assert_eq!(stream.named_ref(&row[1]).unwrap().to_hex(), row[2]);
        }
        for (category, kind) in [(Category::Streams, "streams-ref"), (Category::Images, "images-ref")] {
            let expected: Vec<(String, String)> = rows(name, kind)
                .into_iter()
                .map(|row| (row[0].clone(), row[1].rsplit('/').next().unwrap().to_owned()))
                .collect();
            let mut found = repository.refs(category, "").unwrap();
            found.sort();
            assert_eq!(found, expected, "{name}");
        }
        let images: Vec<String> = repository.image_entries().unwrap().iter().map(ObjectId::to_hex).collect();
        assert_eq!(images, rows(name, "image").into_iter().map(|row| row[0].clone()).collect::<Vec<_>>());
        for row in rows(name, "image") {
            let resolved = repository.resolve_image(&row[0]).unwrap();
            let objects = repository.image_objects(&resolved.id).unwrap();
            assert_eq!(objects.len().to_string(), row[1]);
            let mut lines: Vec<String> = objects.iter().map(ObjectId::prefixed).collect();
            lines.sort();
            let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let without_last = sha256(|output| output.write_all(lines.trim_end().as_bytes()).unwrap());
            let with_last = sha256(|output| output.write_all(lines.as_bytes()).unwrap());
            assert!([without_last, with_last].contains(&row[2]), "{name} {}", row[0]);
        }
        drop(repository);
        assert_eq!(snapshot(directory.path()), before, "{name} was changed by reading");
    }
}

#[test]
fn fsck_agrees() {
    for name in REPOSITORIES {
        let directory = unpack(name);
        let before = snapshot(directory.path());
        for row in rows(name, "fsck") {
            let options = CheckOptions::default().deep(true);
            let report = open(&directory).check(&options, &Silent).unwrap();
            assert_eq!(report.findings, [], "{name}");
            assert_eq!(report.objects.checked.to_string(), row[3], "{name} objects");
            assert_eq!(report.streams.checked.to_string(), row[4], "{name} streams");
            assert_eq!(report.images.checked.to_string(), row[5], "{name} images");
            let absent = name.starts_with("old");
            assert_eq!(report.meta, if absent { MetaState::Absent } else { MetaState::Good });
        }
        assert_eq!(snapshot(directory.path()), before);
    }
}

fn collect(directory: &tempfile::TempDir, options: &GcOptions) -> (String, String) {
    let repository = open(directory);
    let before = snapshot(directory.path());
    let plan = GcPlan::new(&repository, options).unwrap();
    assert!(plan.is_complete());
    let planned = plan.to_string();
    assert_eq!(snapshot(directory.path()), before, "a plan changed something");
    let sweeper = repository.sweeper(Wait::AtMost(std::time::Duration::from_secs(5))).unwrap();
    let report = plan.apply(&sweeper, &Silent).unwrap();
    (planned, report.to_string())
}

#[test]
fn gc_removes_what_upstream_removes() {
    let name = "r09-sha256-v1";
    let directory = unpack(name);
    for row in rows(name, "gc-step") {
        let expected = row[2].replace("; ", "\n");
        let command: Vec<&str> = row[1].split(' ').collect();
        match command.as_slice() {
            ["gc", "-n", rest @ ..] => {
                let mut options = GcOptions::default();
                if let ["--root", root] = rest {
                    options = options.root(*root);
                }
                let plan = GcPlan::new(&open(&directory), &options).unwrap();
                assert_eq!(format!("Dry run (no files deleted):\n{plan}"), expected, "{row:?}");
            }
            ["gc"] => {
                let (_, report) = collect(&directory, &GcOptions::default());
                assert_eq!(report, expected, "{row:?}");
                let report = open(&directory).check(&CheckOptions::default(), &Silent).unwrap();
                assert!(report.is_ok(), "{:?}", report.findings);
            }
            ["oci", "untag", tag] => {
                let writer = open(&directory).into_writer().unwrap();
                let mut commit = writer.begin();
                let tag = composefs::name::encode_component(tag);
                commit.remove_stream_ref(RefName::new(format!("oci/{tag}")).unwrap());
                commit.finish().unwrap();
            }
            ["objects", "left"] => {
                let left = snapshot(&directory.path().join("objects"));
                assert_eq!(left.values().filter(|what| !what.starts_with("directory")).count(), 0);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn gc_of_clean_repositories_keeps_all() {
    for name in
        ["r09-sha512-v1", "r09-sha512-v2", "r09-sha256-dual", "r09-sha256-names", "r09-sha256-referrer"]
    {
        let directory = unpack(name);
        let streams = open(&directory).stream_entries().unwrap();
        let images = open(&directory).image_entries().unwrap();
        collect(&directory, &GcOptions::default());
        let repository = open(&directory);
        assert_eq!(repository.stream_entries().unwrap(), streams, "{name}");
        assert_eq!(repository.image_entries().unwrap(), images, "{name}");
        assert!(repository.check(&CheckOptions::default().deep(true), &Silent).unwrap().is_ok(), "{name}");
        drop(repository);
        assert_eq!(collect(&directory, &GcOptions::default()).1, "Objects: 0 removed (0 bytes)", "{name}");
    }
}

#[test]
fn an_old_repository_is_upgraded_by_writing_only() {
    let directory = unpack("old-header-sha256");
    let repository = open(&directory);
    assert!(repository.is_old());
    let no_upgrade = OpenOptions::default().no_upgrade(true);
    let refused = Repository::open(CWD, directory.path(), &no_upgrade).unwrap().into_writer();
    assert!(matches!(refused, Err(Error::ReadOnly { .. })));
    let refused = Repository::open(CWD, directory.path(), &no_upgrade).unwrap().sweeper(Wait::Forever);
    assert!(matches!(refused, Err(Error::ReadOnly { .. })));
    let wrong = OpenOptions::default().algorithm(Some(Algorithm::Sha512));
    assert!(matches!(Repository::open(CWD, directory.path(), &wrong), Err(Error::AlgorithmMismatch { .. })));
    assert!(!directory.path().join("meta.json").exists());

    drop(repository.into_writer().unwrap());
    let text = std::fs::read_to_string(directory.path().join("meta.json")).unwrap();
    assert!(!text.contains("v1_erofs") && text.contains("\"default\": 2"), "{text}");
    let repository = open(&directory);
    assert!(!repository.is_old());
    assert_eq!(repository.erofs_formats().default, composefs::erofs::FormatVersion::V2);
}

#[test]
fn ensure_upgrades_and_preserves() {
    let directory = unpack("old-header-sha256");
    let options = InitOptions::new(Algorithm::Sha256).insecure(true).ensure(true);
    assert_eq!(init(CWD, directory.path(), &options).unwrap(), InitOutcome::Upgraded);
    assert_eq!(init(CWD, directory.path(), &options).unwrap(), InitOutcome::Preserved);
}

#[test]
fn streams_of_0_3_are_walked() {
    let directory = unpack("r03-sha256");
    let before = snapshot(directory.path());
    let repository = open(&directory);
    assert!(repository.is_old());
    let report = repository.check(&CheckOptions::default().deep(true), &Silent).unwrap();
    // 0.3 kept the NUL of GNU's long names; such an image is found, and nothing else.
    for finding in &report.findings {
        assert!(finding.to_string().contains("a bad name: `gnu-ggg"), "{finding}");
    }
    let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
    assert!(plan.is_complete(), "{:?}", plan.unreadable);
    let expected = std::fs::read_to_string(format!("{VECTORS}/expected03.tsv")).unwrap();
    let mut compared = 0;
    for line in expected.lines().filter(|line| line.starts_with("image-objects\t")) {
        let row: Vec<&str> = line.split('\t').collect();
        let image = repository.resolve_image(row[1]).unwrap().id;
        let objects = repository.image_objects(&image).unwrap();
        assert_eq!(objects.len().to_string(), row[3], "{line}");
        compared += 1;
    }
    assert_eq!(compared, 3);
    // Whatever a ref leads to is kept, with the layers a config names.
    for (_, entry) in repository.refs(Category::Streams, "").unwrap() {
        let id = repository.entry(Category::Streams, &entry).unwrap().unwrap();
        let stream = repository.open_stream(&id).unwrap();
        for layer in stream.v03_map() {
            assert!(plan.objects.iter().all(|garbage| garbage.id != layer.stream));
        }
    }
    assert_eq!(snapshot(directory.path()), before);
}
