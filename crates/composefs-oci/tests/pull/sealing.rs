//! Seals: the same every time, and those that 0.3 made.

use std::path::Path;

use composefs::{digest::Algorithm, erofs::FormatVersion, progress::Silent};
use composefs_oci::{
    Error,
    pull::PullOptions,
    rootfs::Rules,
    seal::{LABEL, seal, sealed_image},
    stored::{StoredConfig, StoredImage},
};
use composefs_testkit::images::{Compression, Image};
use serde_json::json;

use crate::lab::{Lab, layer};

#[test]
fn a_seal_is_the_same_every_time() {
    let mut sealed = Vec::new();
    for _ in 0..2 {
        let mut lab = Lab::new();
        let image = Image::new([layer(1, 2_000, Compression::Gzip)])
            .config("Labels", json!({"z": "1", "a": "2"}))
            .config("Cmd", json!(["x"]));
        let pulled = lab.pull_image("x", &image).unwrap();
        let config = StoredImage::open_tag(&lab.writer, "x").unwrap().config().clone();
        assert!(matches!(sealed_image(&config), Err(Error::NotSealed)));
        let first = seal(&lab.writer, &config, Rules::Current, &Silent).unwrap();
        let second = seal(&lab.writer, &config, Rules::Current, &Silent).unwrap();
        assert_eq!((&first.config, first.stream, first.image), (&second.config, second.stream, second.image));
        // The image is the one the pull made, and it is committed.
        assert_eq!(first.image, pulled.images[0].1);
        assert!(lab.writer.image_entry(&first.image).unwrap().is_some());
        let stored = StoredConfig::open(&lab.writer, &first.config).unwrap();
        assert_eq!(sealed_image(&stored).unwrap(), first.image);
        let parsed = stored.parse().unwrap();
        assert_eq!(parsed.label(LABEL), Some(first.image.to_hex().as_str()));
        assert_eq!((parsed.label("a"), parsed.label("z")), (Some("2"), Some("1")));
        assert_eq!(stored.layers().unwrap(), config.layers().unwrap());
        lab.clean();
        sealed.push((first.config, first.stream, first.image));
    }
    assert_eq!(sealed[0], sealed[1]);
}

#[test]
fn artifacts_cannot_be_sealed() {
    let mut lab = Lab::new();
    let blob = layer(1, 200, Compression::Plain);
    lab.pull_image("x", &Image::artifact("application/vnd.example", [blob])).unwrap();
    let config = StoredImage::open_tag(&lab.writer, "x").unwrap().config().clone();
    seal(&lab.writer, &config, Rules::Current, &Silent).unwrap_err();
}

#[test]
fn by_the_rules_of_0_3() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/repo");
    let lab = Lab::with(Algorithm::Sha256, FormatVersion::V2);
    let layouts = lab.path().join("layouts");
    let file = std::fs::File::open(vectors.join("layouts.tar.gz")).unwrap();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    archive.set_preserve_permissions(false);
    archive.unpack(&layouts).unwrap();
    let facts = std::fs::read_to_string(vectors.join("expected03.tsv")).unwrap();
    let rows: Vec<Vec<&str>> = facts.lines().map(|line| line.split('\t').collect()).collect();
    let row = |kind: &str, subject: &str| {
        rows.iter().find(|row| row[0] == kind && row[1] == subject).map(|row| *row.last().unwrap()).unwrap()
    };
    // Not "basic": 0.3 kept the NUL behind GNU long names as a part of them, in images that nobody can mount.
    for name in ["single", "shared"] {
        let reference = format!("oci:{}", layouts.join(name).display());
        let pulled = lab.pull_as(&reference, &PullOptions::default().tag(name), &Silent).unwrap();
        let config = StoredConfig::open(&lab.writer, &pulled.config).unwrap();
        let digest = pulled.config.digest().encoded();
        let sealed = seal(&lab.writer, &config, Rules::V03, &Silent).unwrap();
        assert_eq!(sealed.image.to_hex(), row("oci compute-id", digest), "{name}");
        let printed = row("oci seal", digest);
        let expected = printed.strip_prefix("sha256 ").unwrap().split(';').next().unwrap();
        assert_eq!(sealed.config.digest().encoded(), expected, "{name}: the sealed config");
        let label = row("sealed label", expected);
        assert!(label.contains(&sealed.image.to_hex()), "{name}: {label}");
    }
    lab.clean();
}
