//! Pulling again: nothing to do, something gone, moved tags, shared layers.

use std::{collections::BTreeMap, os::unix::fs::MetadataExt, path::Path, time::SystemTime};

use composefs::{progress::Silent, repo::IngestStats};
use composefs_oci::{ident, pull::PullOptions, stored::StoredImage};
use composefs_testkit::images::{Compression, Image, Layer};

use crate::lab::{Heard, Lab, layer};

/// Every file of the repository with its inode and times.
fn snapshot(directory: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let mut files = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(at) = pending.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.path().symlink_metadata().unwrap();
            // When an image was last used is noted beside the repository, and is meant to change.
            if entry.path().ends_with(".cfs") {
                continue;
            }
            files.insert(entry.path().display().to_string(), (metadata.ino(), metadata.modified().unwrap()));
            if metadata.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    files
}

fn three_layers() -> Vec<Layer> {
    vec![
        layer(1, 300_000, Compression::Gzip),
        layer(2, 5_000, Compression::Zstd),
        layer(3, 50, Compression::Plain),
    ]
}

#[test]
fn again_is_nothing_to_do() {
    let mut lab = Lab::new();
    let first = lab.pull_image("x", &Image::new(three_layers())).unwrap();
    assert!(first.objects.new > 0);
    lab.reopen();
    let before = snapshot(&lab.repo());
    // Not even the layers are looked at on the medium.
    for layer in three_layers() {
        lab.layout.remove(&layer.digest);
    }
    let heard = Heard::default();
    let options = PullOptions::default().tag("x");
    let again = lab.pull_as(&lab.layout.reference("x"), &options, &heard).unwrap();
    assert_eq!(snapshot(&lab.repo()), before);
    assert_eq!(again.objects, IngestStats::default());
    assert_eq!((again.images, again.config_stream), (first.images, first.config_stream));
    assert_eq!(heard.starting("begin"), [""; 0]);
    assert_eq!(heard.starting("skipped layer").len(), 3);
    lab.clean();
}

#[test]
fn what_is_lost_comes_again() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let pulled = lab.pull_image("x", &Image::new(layers.clone())).unwrap();
    let whole = lab.streams();
    let image = StoredImage::open_tag(&lab.writer, "x").unwrap();
    let layer_stream = *image.config().named(&layers[0].diff_id).unwrap();
    let object_of = |stream| lab.writer.open_stream(stream).unwrap().object_refs().iter().next().unwrap();
    let streams = lab.repo().join("streams");
    let (_, image_id) = pulled.images[0];
    let lost = [
        ("a file of a layer", lab.object_path(&object_of(&layer_stream))),
        ("a layer's stream", lab.object_path(&layer_stream)),
        ("a layer's entry", streams.join(format!("oci-layer-{}", layers[0].diff_id))),
        ("an image", lab.object_path(&image_id)),
        ("an image's entry", lab.repo().join("images").join(image_id.to_hex())),
        ("the config's stream", lab.object_path(&pulled.config_stream)),
        ("the config", lab.object_path(&object_of(&pulled.config_stream))),
        ("the config's entry", streams.join(format!("oci-config-{}", pulled.config))),
        ("the manifest's stream", lab.object_path(image.manifest_stream())),
        ("the manifest", lab.object_path(&object_of(image.manifest_stream()))),
        ("the manifest's entry", streams.join(format!("oci-manifest-{}", pulled.manifest))),
        ("the tag", streams.join("refs/oci/x")),
    ];
    for (what, path) in &lost {
        std::fs::remove_file(path).unwrap_or_else(|error| panic!("{what}: {error}"));
        lab.reopen();
        let heard = Heard::default();
        let options = PullOptions::default().tag("x");
        let again = lab.pull_as(&lab.layout.reference("x"), &options, &heard).unwrap();
        assert_eq!(again.images, pulled.images, "{what}");
        assert_eq!(lab.streams(), whole, "{what}");
        assert_eq!(lab.tags(), ["x"], "{what}");
        let fetched = heard.starting("begin layer").len();
        let expected =
            usize::from(["a file of a layer", "a layer's stream", "a layer's entry"].contains(what));
        assert_eq!(fetched, expected, "{what}");
        assert!(path.symlink_metadata().is_ok(), "{what}");
        lab.clean();
    }
    // Everything at once, two by two.
    for (what, path) in &lost {
        for (other, second) in &lost {
            let _ = std::fs::remove_file(path);
            let _ = std::fs::remove_file(second);
            lab.reopen();
            let again = lab.pull("x").unwrap_or_else(|error| panic!("{what}, {other}: {error}"));
            assert_eq!(again.images, pulled.images, "{what}, {other}");
            assert_eq!(lab.streams(), whole, "{what}, {other}");
        }
    }
    lab.clean();
}

#[test]
fn what_is_damaged_comes_again() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let pulled = lab.pull_image("x", &Image::new(layers.clone())).unwrap();
    let image = StoredImage::open_tag(&lab.writer, "x").unwrap();
    let layer_stream = *image.config().named(&layers[0].diff_id).unwrap();
    let object_of = |stream| lab.writer.open_stream(stream).unwrap().object_refs().iter().next().unwrap();
    let config = object_of(&pulled.config_stream);
    for id in [layer_stream, pulled.config_stream, config, *image.manifest_stream()] {
        for contents in [&b""[..], b"garbage"] {
            std::fs::remove_file(lab.object_path(&id)).unwrap();
            std::fs::write(lab.object_path(&id), contents).unwrap();
            lab.reopen();
            let again = lab.pull("x").unwrap_or_else(|error| panic!("{id}: {error:?}"));
            assert_eq!(again.images, pulled.images);
            lab.clean();
        }
    }
}

#[test]
fn a_lost_layer_that_cannot_be_had_again_is_an_error() {
    let mut lab = Lab::new();
    let layers = three_layers();
    lab.pull_image("x", &Image::new(layers.clone())).unwrap();
    std::fs::remove_file(lab.repo().join(format!("streams/oci-layer-{}", layers[0].diff_id))).unwrap();
    lab.layout.remove(&layers[0].digest);
    lab.reopen();
    lab.pull("x").unwrap_err();
}

#[test]
fn a_tag_moves() {
    let mut lab = Lab::new();
    let old = lab.pull_image("one", &Image::new([layer(1, 2_000, Compression::Gzip)])).unwrap();
    let options = PullOptions::default().tag("tag");
    let pull = |lab: &Lab, from: &str| lab.pull_as(&lab.layout.reference(from), &options, &Silent);
    pull(&lab, "one").unwrap();
    let shared = [layer(1, 2_000, Compression::Gzip), layer(2, 2_000, Compression::Gzip)];
    lab.layout.image("two", &Image::new(shared));
    let new = pull(&lab, "two").unwrap();
    assert_ne!(new.manifest, old.manifest);
    assert_eq!(*StoredImage::open_tag(&lab.writer, "tag").unwrap().manifest().digest(), new.manifest);
    assert_eq!(*StoredImage::open_tag(&lab.writer, "one").unwrap().manifest().digest(), old.manifest);
    // A pull that fails does not move it.
    let written = lab.layout.image("three", &Image::new([layer(3, 2_000, Compression::Gzip)]));
    lab.layout.remove(&written.config.digest);
    pull(&lab, "three").unwrap_err();
    assert_eq!(*StoredImage::open_tag(&lab.writer, "tag").unwrap().manifest().digest(), new.manifest);
    lab.clean();
}

#[test]
fn images_share_layers() {
    let mut lab = Lab::new();
    let base = layer(1, 300_000, Compression::Gzip);
    lab.pull_image("one", &Image::new([base.clone(), layer(2, 2_000, Compression::Gzip)])).unwrap();
    let heard = Heard::default();
    lab.layout.image("two", &Image::new([base.clone(), layer(3, 2_000, Compression::Gzip)]));
    lab.layout.remove(&base.digest);
    lab.pull_as(&lab.layout.reference("two"), &PullOptions::default().tag("two"), &heard).unwrap();
    assert_eq!(heard.starting("begin layer").len(), 1);
    assert_eq!(heard.starting("skipped layer"), [format!("skipped layer {}", base.digest)]);
    lab.clean();
}

#[test]
fn two_pulls_at_once() {
    let mut lab = Lab::new();
    let base = layer(1, 900_000, Compression::Gzip);
    lab.layout.image("one", &Image::new([base.clone(), layer(2, 400_000, Compression::Gzip)]));
    lab.layout.image("two", &Image::new([base, layer(3, 400_000, Compression::Zstd)]));
    std::thread::scope(|scope| {
        for tag in ["one", "two", "one", "two"] {
            let lab = &lab;
            scope.spawn(move || {
                let options = PullOptions::default().tag(tag).jobs(3);
                lab.pull_as(&lab.layout.reference(tag), &options, &Silent).unwrap();
            });
        }
    });
    assert_eq!(lab.tags(), ["one", "two"]);
    lab.clean();
}

#[test]
fn a_failed_pull_is_continued() {
    let mut lab = Lab::new();
    let layers = three_layers();
    lab.layout.image("x", &Image::new(layers.clone()));
    let blob = std::fs::read(lab.layout.blob_path(&layers[2].digest)).unwrap();
    lab.layout.remove(&layers[2].digest);
    lab.refused("x", &layers[2].digest, &[&layers[0], &layers[1]]);
    std::fs::write(lab.layout.blob_path(&layers[2].digest), blob).unwrap();
    lab.reopen();
    let heard = Heard::default();
    lab.pull_as(&lab.layout.reference("x"), &PullOptions::default().tag("x"), &heard).unwrap();
    assert_eq!(heard.starting("begin layer"), [format!("begin layer {}", layers[2].digest)]);
    lab.clean();
}

#[test]
fn boot_images_that_are_gone_are_forgotten() {
    let mut lab = Lab::new();
    let layers = [layer(1, 2_000, Compression::Gzip)];
    let pulled = lab.pull_image("x", &Image::new(layers.clone())).unwrap();
    let stored = StoredImage::open_tag(&lab.writer, "x").unwrap();
    // Another key in the config's stream, as the boot variant has it.
    let boot = |lab: &Lab, id| {
        let mut refs = stored.config().refs().to_vec();
        refs.push(("composefs.image.boot.v1".to_owned(), id));
        let config = composefs_oci::import::streams::DocumentStream {
            content_type: composefs::splitstream::ContentType::OCI_CONFIG,
            object: lab
                .writer
                .open_stream(&pulled.config_stream)
                .unwrap()
                .object_refs()
                .iter()
                .next()
                .unwrap(),
            size: stored.config().bytes().len() as u64,
            named_refs: &refs,
        };
        let stream = lab.writer.store_bytes(&config.build(lab.writer.algorithm()).unwrap()).unwrap().id;
        let mut commit = lab.writer.begin();
        commit.stream(ident::config(&pulled.config).unwrap(), stream);
        commit.finish().unwrap();
    };
    // One that is there is kept, one that isn't goes.
    boot(&lab, pulled.images[0].1);
    lab.pull("x").unwrap();
    let refs = StoredImage::open_tag(&lab.writer, "x").unwrap().config().refs().to_vec();
    assert!(refs.iter().any(|(key, _)| key == "composefs.image.boot.v1"), "{refs:?}");
    boot(&lab, composefs::digest::object_id_of(lab.writer.algorithm(), b"never stored"));
    lab.pull("x").unwrap();
    let refs = StoredImage::open_tag(&lab.writer, "x").unwrap().config().refs().to_vec();
    assert!(refs.iter().all(|(key, _)| key != "composefs.image.boot.v1"), "{refs:?}");
    lab.clean();
}
