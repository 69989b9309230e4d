//! Pulls the golden layouts and compares with what cfsctl 0.9.4 made of them (tests/vectors/repo/expected.tsv).
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use composefs::{
    digest::{Algorithm, ObjectId},
    erofs::FormatVersion,
    progress::Silent,
    repo::{ErofsFormats, InitOptions, OpenOptions, Repository, Writer, init},
};
use composefs_oci::{
    ident,
    pull::{PullOptions, Pulled, pull},
    reference::Reference,
    stored::{StoredImage, check, tags},
    transport,
};
use rustix::fs::CWD;
use tempfile::TempDir;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/repo")
}

fn unpack(archive: &str, to: &Path) {
    let file = std::fs::File::open(vectors().join(archive)).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    archive.set_preserve_permissions(false);
    archive.unpack(to).unwrap();
}

/// The facts about one repository: kind to rows of columns.
fn expected(repo: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let text = std::fs::read_to_string(vectors().join("expected.tsv")).unwrap();
    let mut facts: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for line in text.lines() {
        let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
        if columns[0] == repo {
            facts.entry(columns[1].clone()).or_default().push(columns[2..].to_vec());
        }
    }
    assert!(!facts.is_empty(), "{repo}");
    facts
}

fn writer(path: &Path, algorithm: Algorithm, formats: ErofsFormats) -> Writer {
    init(CWD, path, &InitOptions::new(algorithm).erofs(formats).insecure(true)).unwrap();
    Repository::open(CWD, path, &OpenOptions::default()).unwrap().into_writer().unwrap()
}

fn pull_from(writer: &Writer, layouts: &Path, source: &str, tag: &str) -> Pulled {
    let (layout, name) = source.split_once(':').unwrap();
    let reference: Reference = format!("oci:{}:{name}", layouts.join(layout).display()).parse().unwrap();
    let source = transport::open(&reference, &transport::SourceOptions::default()).unwrap();
    pull(writer, source.as_ref(), &PullOptions::default().tag(tag), &Silent).unwrap()
}

/// Every object of a repository.
fn objects(path: &Path) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for directory in std::fs::read_dir(path.join("objects")).unwrap() {
        let directory = directory.unwrap();
        for object in std::fs::read_dir(directory.path()).unwrap() {
            let name = object.unwrap().file_name().into_string().unwrap();
            ids.insert(format!("{}{name}", directory.file_name().to_str().unwrap()));
        }
    }
    ids
}

fn check_repository(name: &str, algorithm: Algorithm, formats: &ErofsFormats) {
    let facts = expected(name);
    let dir = TempDir::new().unwrap();
    let layouts = dir.path().join("layouts");
    unpack("layouts.tar.gz", &layouts);
    let path = dir.path().join("repo");
    let writer = writer(&path, algorithm, formats.clone());

    for row in &facts["pull"] {
        let [tag, source, manifest, config, verity] = &row[..] else { panic!("{row:?}") };
        let pulled = pull_from(&writer, &layouts, source, tag);
        assert_eq!(pulled.manifest.as_str(), manifest, "{tag}");
        assert_eq!(pulled.config.as_str(), config, "{tag}");
        // Printed before the image is recorded; random upstream for images of two layers only afterwards.
        assert_eq!(pulled.verity.to_hex(), *verity, "{tag}: printed verity");
        // Again: nothing to do.
        let again = pull_from(&writer, &layouts, source, tag);
        assert_eq!(again.objects, composefs::repo::IngestStats::default(), "{tag}");
        assert_eq!(again.images, pulled.images);
    }
    for row in facts.get("oci-image").into_iter().flatten() {
        let [tag, manifest, ..] = &row[..] else { panic!("{row:?}") };
        if tag == "also/single" {
            tags::set(&writer, tag, &manifest.parse().unwrap()).unwrap();
        }
    }

    // The same streams, by contents and names; those of manifests with two layers have a random id upstream.
    let mut by_stream: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for row in &facts["named-ref"] {
        by_stream.entry(&row[0]).or_default().push((&row[1], &row[2]));
    }
    let mut compared = 0;
    for row in &facts["stream"] {
        let [identifier, _, id, size, ..] = &row[..] else { panic!("{row:?}") };
        let entry = writer
            .stream_entry(&composefs::name::StreamName::new(identifier.as_str()).unwrap())
            .unwrap()
            .unwrap();
        let stream = writer.open_stream(&entry).unwrap();
        assert_eq!(stream.stream_size(), Some(size.parse().unwrap()), "{identifier}");
        let refs: BTreeMap<&str, String> =
            stream.named_refs().map(|(name, id)| (name, id.to_hex())).collect();
        for (name, target) in by_stream.get(identifier.as_str()).into_iter().flatten() {
            assert_eq!(refs.get(name).map(String::as_str), Some(*target), "{identifier}: {name}");
        }
        let layers = refs.keys().filter(|key| ident::layer_key(key).is_some()).count();
        if !identifier.starts_with("oci-manifest") || layers < 2 {
            assert_eq!(entry.to_hex(), *id, "{identifier}");
            compared += 1;
        }
    }
    assert!(compared > 2);

    let ours: BTreeSet<String> = writer.image_entries().unwrap().iter().map(ObjectId::to_hex).collect();
    let theirs: BTreeSet<String> = facts["image"].iter().map(|row| row[0].clone()).collect();
    assert_eq!(ours, theirs, "images");

    // Of upstream's objects we lack only the two garbage streams of each image pull, and random manifests.
    let dir = TempDir::new().unwrap();
    unpack(&format!("{name}.tar.gz"), dir.path());
    let mine = objects(&path);
    let reference = objects(dir.path());
    let extra: Vec<_> = mine.difference(&reference).collect();
    let manifests_of_two = facts["stream"].iter().filter(|row| row[0].starts_with("oci-manifest")).count();
    assert!(extra.len() <= manifests_of_two, "objects upstream has not: {extra:?}");

    let report = check::check(&writer, None).unwrap();
    assert!(report.is_ok(), "{:?}", report.findings);
    let tagged = tags::list(&writer).unwrap();
    for tag in &tagged {
        StoredImage::open_tag(&writer, &tag.name).unwrap();
    }
}

#[test]
fn sha256_v1() {
    check_repository("r09-sha256-v1", Algorithm::Sha256, &ErofsFormats::only(FormatVersion::V1));
}

#[test]
fn sha256_v2() {
    check_repository("r09-sha256-v2", Algorithm::Sha256, &ErofsFormats::only(FormatVersion::V2));
}

#[test]
fn sha512_v1() {
    check_repository("r09-sha512-v1", Algorithm::Sha512, &ErofsFormats::only(FormatVersion::V1));
}

#[test]
fn sha512_v2() {
    check_repository("r09-sha512-v2", Algorithm::Sha512, &ErofsFormats::only(FormatVersion::V2));
}

#[test]
fn two_formats() {
    let formats = ErofsFormats::only(FormatVersion::V1).with_extra(FormatVersion::V2);
    check_repository("r09-sha256-dual", Algorithm::Sha256, &formats);
}
