//! Blobs and documents that are not what they should be: each is refused, and nothing is registered for it.

use composefs_oci::{Error, digest::BlobFault, model::ModelError};
use composefs_testkit::{
    images::{Compression, Image, Layer, sha256},
    tars::TarBuilder,
};

use crate::lab::{Lab, chain, layer, noise};

const COMPRESSIONS: [Compression; 3] = [Compression::Plain, Compression::Gzip, Compression::Zstd];
/// Small blobs are read by the importing thread, large ones by a pipeline of several.
const SIZES: [usize; 2] = [2_000, 900_000];

/// A sound layer that is imported first, being larger, and the one that `wrong` makes.
fn with_sound_layer(wrong: Layer) -> (Lab, Layer, Layer) {
    let mut lab = Lab::new();
    let sound = layer(99, 1_200_000, Compression::Gzip);
    lab.layout.image("x", &Image::new([sound.clone(), wrong.clone()]));
    (lab, sound, wrong)
}

fn all(check: impl Fn(Layer)) {
    for compression in COMPRESSIONS {
        for size in SIZES {
            check(layer(1, size, compression));
        }
    }
}

#[test]
fn a_bit_is_flipped() {
    all(|wrong| {
        let (lab, sound, wrong) = with_sound_layer(wrong);
        // In the file's bytes of a plain tar, not in a header: nothing but the digest can tell.
        lab.layout.damage(&wrong.digest, |blob| {
            let middle = blob.len() * 2 / 3;
            blob[middle] ^= 4;
        });
        let error = lab.refused("x", &wrong.digest, &[&sound]);
        assert!(matches!(error, Error::BlobMismatch { fault: BlobFault::Digest { .. }, .. }), "{error:?}");
    });
}

#[test]
fn a_blob_is_cut_or_goes_on() {
    all(|wrong| {
        let (lab, sound, wrong) = with_sound_layer(wrong);
        let whole = wrong.blob.len();
        for length in [0, 1, 3, 600, whole / 2, whole - 1, whole + 1, whole + 5000] {
            std::fs::write(lab.layout.blob_path(&wrong.digest), {
                let mut blob = wrong.blob.clone();
                blob.resize(length, 0);
                blob
            })
            .unwrap();
            let error = lab.refused("x", &wrong.digest, &[&sound]);
            let Error::BlobMismatch { fault: BlobFault::Size { expected, actual, at_least }, .. } = error
            else {
                panic!("{length}: {error:?}")
            };
            assert_eq!(expected, whole as u64);
            assert_eq!(at_least, length > whole);
            assert!(if at_least { actual > expected } else { actual == length as u64 });
        }
    });
}

#[test]
fn a_descriptor_lies_about_the_size() {
    all(|wrong| {
        let size = wrong.size;
        for claimed in [0, 1, size - 1, size + 1, size * 1000, u64::MAX >> 1] {
            let (lab, sound, wrong) = with_sound_layer(wrong.clone().claim_size(claimed));
            let error = if claimed > sound.size {
                // The largest by its claim comes first, and no other is begun after a fault.
                lab.refused("x", &wrong.digest, &[])
            } else {
                lab.refused("x", &wrong.digest, &[&sound])
            };
            assert!(
                matches!(error, Error::BlobMismatch { fault: BlobFault::Size { .. }, .. }),
                "{claimed}: {error:?}"
            );
        }
    });
}

#[test]
fn a_diff_id_is_wrong() {
    all(|wrong| {
        let claimed = sha256(b"something else");
        let (lab, sound, wrong) = with_sound_layer(wrong.claim_diff_id(&claimed));
        let error = lab.refused("x", &claimed, &[&sound]);
        let Error::LayerMismatch { diff_id, actual } = &error else { panic!("{error:?}") };
        assert_eq!((diff_id.as_str(), actual.as_str()), (claimed.as_str(), sha256(&wrong.tar).as_str()));
    });
}

#[test]
fn a_cut_layer_with_digests_that_agree() {
    for size in SIZES {
        let whole = layer(1, size, Compression::Plain);
        for compression in COMPRESSIONS {
            // The tar is cut before it is packed: digest, size and diff_id are all those of the cut one.
            for cut in [1, 511, 513, 1024 + 100, whole.tar.len() - 1024 - 1] {
                let tar = whole.tar[..cut].to_vec();
                let (lab, sound, wrong) = with_sound_layer(Layer::new(tar, compression));
                let error = lab.refused("x", &wrong.diff_id, &[&sound]);
                assert!(matches!(error, Error::LayerTar { .. }), "{cut}: {error:?}");
            }
        }
        // The blob is cut: only the decompressor can tell.
        for compression in [Compression::Gzip, Compression::Zstd] {
            let packed = compression.pack(&whole.tar);
            for cut in [5, packed.len() / 2, packed.len() - 1] {
                let wrong =
                    Layer::packed(whole.tar.clone(), packed[..cut].to_vec(), compression.media_type());
                let (lab, sound, wrong) = with_sound_layer(wrong);
                let error = lab.refused("x", &wrong.digest, &[&sound]);
                assert!(matches!(error, Error::BlobRead { .. }), "{cut}: {error:?}");
            }
            let mut blob = packed.clone();
            blob.extend(b"what is this?");
            let wrong = Layer::packed(whole.tar.clone(), blob, compression.media_type());
            let (lab, sound, wrong) = with_sound_layer(wrong);
            let error = lab.refused("x", &wrong.digest, &[&sound]);
            assert!(matches!(error, Error::BlobRead { .. }), "{error:?}");
        }
    }
}

#[test]
fn no_tar_at_all() {
    for compression in COMPRESSIONS {
        for size in SIZES {
            let (lab, sound, wrong) = with_sound_layer(Layer::new(noise(3, size), compression));
            let error = lab.refused("x", &wrong.diff_id, &[&sound]);
            assert!(matches!(error, Error::LayerTar { .. }), "{error:?}");
        }
    }
}

#[test]
fn a_blob_is_missing_or_no_file() {
    let (lab, sound, wrong) = with_sound_layer(layer(1, 2_000, Compression::Gzip));
    lab.layout.remove(&wrong.digest);
    let error = lab.refused("x", &wrong.digest, &[&sound]);
    assert!(matches!(error, Error::BlobMissing { .. }), "{error:?}");

    let path = lab.layout.blob_path(&wrong.digest);
    std::fs::create_dir(&path).unwrap();
    lab.refused("x", path.to_str().unwrap(), &[&sound]);
    std::fs::remove_dir(&path).unwrap();
    // A FIFO that nobody writes to must not hang us.
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    lab.refused("x", path.to_str().unwrap(), &[&sound]);
}

#[test]
fn documents_are_missing_damaged_or_no_files() {
    let mut lab = Lab::new();
    let written = lab.layout.image("x", &Image::new([layer(1, 2_000, Compression::Gzip)]));
    for digest in [&written.manifest.digest, &written.config.digest] {
        let path = lab.layout.blob_path(digest);
        let sound = std::fs::read(&path).unwrap();

        lab.layout.damage(digest, |bytes| *bytes.last_mut().unwrap() = b' ');
        let error = lab.refused("x", digest, &[]);
        assert!(matches!(error, Error::BlobMismatch { .. }), "{error:?}");
        for length in [0, sound.len() / 2, sound.len() + 1] {
            lab.layout.damage(digest, |bytes| bytes.resize(length, b' '));
            let error = lab.refused("x", digest, &[]);
            assert!(matches!(error, Error::BlobMismatch { fault: BlobFault::Size { .. }, .. }), "{error:?}");
        }
        lab.layout.remove(digest);
        let error = lab.refused("x", digest, &[]);
        assert!(matches!(error, Error::BlobMissing { .. }), "{error:?}");
        std::fs::create_dir(&path).unwrap();
        lab.refused("x", path.to_str().unwrap(), &[]);
        std::fs::remove_dir(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        lab.refused("x", path.to_str().unwrap(), &[]);
        std::fs::remove_file(&path).unwrap();

        std::fs::write(&path, sound).unwrap();
    }
    lab.pull("x").unwrap();
}

#[test]
fn documents_of_another_shape() {
    let mut lab = Lab::new();
    for (tag, bytes) in [
        ("garbage", "no JSON".to_owned()),
        ("null", "null".to_owned()),
        ("array", "[]".to_owned()),
        ("empty", "{}".to_owned()),
        ("deep", "[".repeat(100_000)),
        ("nesting", format!("{{\"annotations\":{}", "{\"a\":".repeat(100_000))),
        ("schema-1", r#"{"schemaVersion":1,"name":"x","tag":"y","fsLayers":[],"history":[]}"#.to_owned()),
    ] {
        let manifest = lab.layout.blob(composefs_testkit::images::MANIFEST, bytes.as_bytes());
        lab.layout.tag(tag, &manifest);
        let error = lab.refused(tag, &manifest.digest, &[]);
        assert!(matches!(error, Error::Model { .. }), "{error:?}");

        // The same as a config.
        let config = lab.layout.blob(composefs_testkit::images::CONFIG, bytes.as_bytes());
        let manifest = serde_json::json!({"schemaVersion": 2, "config": config.json(), "layers": []});
        let manifest = lab.layout.blob(composefs_testkit::images::MANIFEST, manifest.to_string().as_bytes());
        lab.layout.tag(&format!("{tag}-config"), &manifest);
        let error = lab.refused(&format!("{tag}-config"), &config.digest, &[]);
        assert!(matches!(error, Error::Model { .. }), "{error:?}");
    }
}

#[test]
fn huge_documents() {
    let mut lab = Lab::new();
    let written = lab.layout.image("x", &Image::new([layer(1, 2_000, Compression::Gzip)]));
    // By their descriptors' words, which cost nothing to refuse.
    let mut entry = written.manifest.json();
    entry["size"] = serde_json::json!(5 << 20);
    entry["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "large"});
    lab.layout.entry(entry);
    let error = lab.refused("large", &written.manifest.digest, &[]);
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");

    let mut config = written.config.json();
    config["size"] = serde_json::json!(1_u64 << 40);
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": []});
    let manifest = lab.layout.blob(composefs_testkit::images::MANIFEST, manifest.to_string().as_bytes());
    lab.layout.tag("config", &manifest);
    let error = lab.refused("config", &written.config.digest, &[]);
    assert!(matches!(error, Error::TooLarge { .. }), "{error:?}");

    // And by their bytes.
    let index = lab.layout.path().join("index.json");
    std::fs::write(&index, vec![b' '; (4 << 20) + 1]).unwrap();
    let error = lab.refused("x", index.to_str().unwrap(), &[]);
    assert!(matches!(error, Error::Source { .. }), "{error:?}");
    let marker = lab.layout.path().join("oci-layout");
    std::fs::write(&marker, vec![b' '; 5000]).unwrap();
    lab.refused("x", marker.to_str().unwrap(), &[]);
}

#[test]
fn layers_and_diff_ids_must_be_as_many() {
    let mut lab = Lab::new();
    let layers = [layer(1, 2_000, Compression::Gzip), layer(2, 2_000, Compression::Gzip)];
    let written = lab.layout.write(&Image::new(layers.clone()));
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(lab.layout.blob_path(&written.manifest.digest)).unwrap())
            .unwrap();
    for (tag, count) in [("none", 0), ("one", 1), ("three", 3)] {
        let mut manifest = manifest.clone();
        let all = manifest["layers"].as_array_mut().unwrap();
        all.push(all[0].clone());
        all.truncate(count);
        let manifest = lab.layout.blob(composefs_testkit::images::MANIFEST, manifest.to_string().as_bytes());
        lab.layout.tag(tag, &manifest);
        let error = lab.refused(tag, &manifest.digest, &[]);
        assert!(
            matches!(error, Error::Model { source: ModelError::LayerCount { diff_ids: 2, .. }, .. }),
            "{error:?}"
        );
        assert!(chain(&error).contains(&format!("{count} layers, the config 2 diff_ids")), "{error:?}");
    }
}

#[test]
fn too_many_layers() {
    let mut lab = Lab::new();
    let layer = Layer::new(TarBuilder::new().dir("usr").finish(), Compression::Plain);
    let written = lab.layout.image("x", &Image::new(vec![layer; 4097]));
    let error = lab.refused("x", &written.manifest.digest, &[]);
    assert!(matches!(error, Error::Model { source: ModelError::TooManyLayers(4097), .. }), "{error:?}");
}

#[test]
fn layouts_that_are_none() {
    let lab = Lab::new();
    let marker = lab.layout.path().join("oci-layout");
    for (contents, reason) in [
        ("{}", "is no OCI layout"),
        ("garbage", "is no OCI layout"),
        (r#"{"imageLayoutVersion":"2.0.0"}"#, "2.0.0"),
    ] {
        std::fs::write(&marker, contents).unwrap();
        let error = lab.refused("x", reason, &[]);
        assert!(chain(&error).contains(lab.layout.path().to_str().unwrap()), "{error:?}");
    }
    std::fs::remove_file(&marker).unwrap();
    lab.refused("x", marker.to_str().unwrap(), &[]);
    std::fs::write(&marker, r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    for contents in ["", "[]", "{}", r#"{"schemaVersion":2,"manifests":{}}"#] {
        std::fs::write(lab.layout.path().join("index.json"), contents).unwrap();
        lab.refused("x", "index.json", &[]);
    }
    std::fs::remove_file(lab.layout.path().join("index.json")).unwrap();
    lab.refused("x", "index.json", &[]);
}
