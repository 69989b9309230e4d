//! What skopeo writes is read natively, and is the image of the layout it came from.

use std::{
    io::Read as _,
    process::{Command, Stdio},
};

use composefs::progress::Silent;
use composefs_oci::{
    decompress::{
        Decompressor,
        toc::{FOOTER_MAX, Table, Tables},
    },
    pull::PullOptions,
    stored::StoredImage,
};
use composefs_testkit::{
    images::{Compression, Image, Layer, sha256},
    peers,
    tars::TarBuilder,
};

use crate::lab::{Lab, chain, layer, noise};

fn skopeo_copy(arguments: &[&str]) -> bool {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet"]).args(arguments);
    command.stdout(Stdio::null()).status().unwrap().success()
}

#[test]
fn archives_and_directories() {
    if peers::skopeo_or_skip().is_none() {
        return;
    }
    let mut lab = Lab::new();
    let layers = [
        layer(1, 50_000, Compression::Gzip),
        layer(2, 50, Compression::Plain),
        layer(1, 50_000, Compression::Gzip),
    ];
    let expected = lab.pull_image("x", &Image::new(layers)).unwrap();
    let at = |name: &str| lab.path().join(name).display().to_string();
    let archive = format!("docker-archive:{}:a.b/c:d", at("saved.tar"));
    let (dir, oci_archive) = (format!("dir:{}", at("dir")), format!("oci-archive:{}", at("layout.tar")));
    for to in [&archive, &dir, &oci_archive] {
        assert!(skopeo_copy(&[&lab.layout.reference("x"), to]), "{to}");
        let other = Lab::new();
        let pulled = other
            .pull_as(to, &PullOptions::default().tag("x"), &Silent)
            .unwrap_or_else(|error| panic!("{to}: {}", chain(&error)));
        assert_eq!((&pulled.config, &pulled.images), (&expected.config, &expected.images), "{to}");
        if *to == dir {
            assert_eq!(pulled.manifest, expected.manifest);
        }
        other.clean();
    }
}

#[test]
fn a_directory_of_all_platforms() {
    if peers::skopeo_or_skip().is_none() {
        return;
    }
    let mut lab = Lab::new();
    let images = [("amd64", 1), ("arm64", 2)].map(|(name, seed)| {
        lab.layout.write(&Image::new([layer(seed, 900, Compression::Gzip)]).platform(name, None))
    });
    lab.layout.index("x", &images);
    let dir = format!("dir:{}", lab.path().join("dir").display());
    assert!(skopeo_copy(&["--all", &lab.layout.reference("x"), &dir]));
    for (name, image) in ["linux/amd64", "linux/arm64"].iter().zip(&images) {
        let options = PullOptions::default().platform(name.parse().unwrap());
        assert_eq!(lab.pull_as(&dir, &options, &Silent).unwrap().manifest.as_str(), image.manifest.digest);
    }
}

#[test]
fn tables_of_zstd_chunked() {
    if peers::skopeo_or_skip().is_none() {
        return;
    }
    let mut lab = Lab::new();
    let contents = noise(7, 400_000);
    let tar = TarBuilder::new()
        .dir("usr")
        .file("usr/large", contents.clone())
        .file("usr/small", "small")
        .file("usr/empty", "")
        .symlink("usr/link", "small")
        .finish();
    let expected = lab.pull_image("x", &Image::new([Layer::new(tar, Compression::Gzip)])).unwrap();
    let out = lab.path().join("chunked");
    let to = format!("dir:{}", out.display());
    assert!(skopeo_copy(&[
        "--dest-compress",
        "--dest-compress-format",
        "zstd:chunked",
        &lab.layout.reference("x"),
        &to
    ]));
    let other = Lab::new();
    let pulled = other.pull_as(&to, &PullOptions::default().tag("x"), &Silent).unwrap();
    assert_eq!(pulled.images, expected.images);
    let stored = StoredImage::open_tag(&other.writer, "x").unwrap();
    let descriptor = &stored.manifest().layers()[0];
    let blob = std::fs::read(out.join(descriptor.digest().digest())).unwrap();
    let size = blob.len() as u64;
    let tables = Tables::from_annotations(descriptor.annotations().as_ref().unwrap(), size).unwrap().unwrap();
    assert!(tables.table.checksum.is_some());
    let by_footer = Tables::from_footer(&blob[blob.len() - FOOTER_MAX..], size).unwrap().unwrap();
    assert_eq!(by_footer.table.range(), tables.table.range());
    let part = |range: std::ops::Range<u64>| {
        &blob[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
    };
    let json = tables.table.unpack(part(tables.table.range())).unwrap();
    let table = Table::parse(&json, tables.data_end()).unwrap();
    let names: Vec<&str> = table.entries().iter().map(|entry| entry.name.trim_end_matches('/')).collect();
    assert_eq!(names, ["usr", "usr/large", "usr/small", "usr/empty", "usr/link"]);
    let large = &table.entries()[1];
    assert!(large.pieces.len() > 1);
    for (entry, contents) in [(large, &contents[..]), (&table.entries()[2], b"small")] {
        assert_eq!(entry.digest.as_ref().unwrap().as_str(), sha256(contents));
        let mut whole = Vec::new();
        for piece in &entry.pieces {
            let bytes = read(part(piece.packed.clone()));
            assert_eq!(bytes.len() as u64, piece.size);
            if let Some(digest) = &piece.digest {
                assert_eq!(digest.as_str(), sha256(&bytes));
            }
            whole.extend(bytes);
        }
        assert!(whole == contents);
    }
}

/// Unpacks the frames of a piece.
fn read(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Decompressor::new(packed).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}
