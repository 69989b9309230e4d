//! Names that would lead out of the tree or the layout, and what no tree can hold.

use composefs::progress::Silent;
use composefs_oci::{Error, pull::PullOptions, rootfs::MergeFault};
use composefs_tar::{EntryFault, Mode, PathError};
use composefs_testkit::{
    images::{Compression, Image, Layer, MANIFEST},
    tars::{Meta, TarBuilder},
};
use serde_json::json;
use tar::EntryType;

use crate::lab::{Lab, chain, layer};

fn with_sound_layer(tar: TarBuilder) -> (Lab, Layer, Layer) {
    let mut lab = Lab::new();
    let sound = layer(99, 10_000, Compression::Gzip);
    let wrong = Layer::new(tar.finish(), Compression::Gzip);
    lab.layout.image("x", &Image::new([sound.clone(), wrong.clone()]));
    (lab, sound, wrong)
}

#[test]
fn entries_that_climb() {
    let large = [7; 1000];
    for tar in [
        TarBuilder::new().file("../up", "1"),
        TarBuilder::new().file("../up", large),
        TarBuilder::new().file("usr/../../up", large),
        TarBuilder::new().dir("usr/.."),
        TarBuilder::new().dir(".."),
        TarBuilder::new().symlink("usr/../x", "y"),
        TarBuilder::new().file("/../up", large),
        TarBuilder::new().file("usr/../.wh.x", ""),
        TarBuilder::new().pax("path", "../../etc/passwd").file("harmless", large),
        TarBuilder::new().file("usr/a", "1").hardlink("usr/b", "../usr/a"),
        TarBuilder::new().file("usr/a", "1").hardlink("usr/b", "/usr/../../etc/shadow"),
    ] {
        let (lab, sound, wrong) = with_sound_layer(tar);
        let error = lab.refused("x", &wrong.diff_id, &[&sound]);
        let Error::Entry { source, .. } = &error else { panic!("{error:?}") };
        assert_eq!(source.fault, EntryFault::Path(PathError::Parent));
        assert!(chain(&error).ends_with("path contains `..`"), "{}", chain(&error));
    }
}

#[test]
fn members_that_are_no_entries() {
    for tar in [
        TarBuilder::new().member(EntryType::new(b's'), b"usr/socket", b"", Meta::default(), b""),
        TarBuilder::new().member(EntryType::new(b'Z'), b"usr/what", b"", Meta::default(), b"contents"),
        TarBuilder::new().xattr("", "nameless").file("usr/a", "1"),
        TarBuilder::new().char_device("usr/null", 4096, 0),
        TarBuilder::new().member(EntryType::Regular, b"", b"", Meta::default(), b""),
        TarBuilder::new().file_with("usr/a", "", Meta { uid: 1 << 32, ..Meta::default() }),
    ] {
        let (lab, sound, wrong) = with_sound_layer(tar);
        let error = lab.refused("x", &wrong.diff_id, &[&sound]);
        assert!(matches!(error, Error::Entry { .. }), "{error:?}");
    }
}

#[test]
fn links_and_parents_that_lead_nowhere() {
    let loops = TarBuilder::new().symlink("usr/a", "b").symlink("usr/b", "a").file("usr/a/x", "1");
    for (tar, culprit) in [
        (TarBuilder::new().hardlink("usr/b", "usr/missing"), "usr/missing"),
        (TarBuilder::new().hardlink("usr/b", "usr"), "is a directory"),
        (TarBuilder::new().symlink("lib", "usr").hardlink("x", "lib/file99"), "lib/file99"),
        (TarBuilder::new().file("usr/file99/below", "1"), "usr/file99"),
        (TarBuilder::new().file(".", "1"), "root"),
        (TarBuilder::new().symlink("usr/empty", ""), "usr/empty"),
        (TarBuilder::new().file(&format!("usr/{}", "n".repeat(256)), "1"), "nnn"),
        (loops, "symlinks"),
    ] {
        let (lab, sound, wrong) = with_sound_layer(tar);
        let error = lab.refused("x", &wrong.diff_id, &[&sound]);
        assert!(matches!(error, Error::Merge { .. }), "{error:?}");
        assert!(chain(&error).contains(culprit), "{culprit}: {}", chain(&error));
    }
}

#[test]
fn symlinks_stay_inside() {
    let mut lab = Lab::new();
    let tar = TarBuilder::new()
        .dir("usr")
        .dir("usr/lib")
        .symlink("lib", "usr/lib")
        .symlink("abs", "/usr/lib")
        .symlink("out", "../../../usr/lib")
        .file("lib/a", "1")
        .file("abs/b", "2")
        .file("out/c", "3")
        .symlink("usr/free", "../../../../etc/shadow")
        .finish();
    let pulled = lab.pull_image("x", &Image::new([Layer::new(tar, Compression::Gzip)])).unwrap();
    let paths = lab.paths(&pulled);
    for path in ["/usr/lib/a", "/usr/lib/b", "/usr/lib/c", "/usr/free"] {
        assert!(paths.iter().any(|have| have == path), "{path}: {paths:?}");
    }
    lab.clean();
}

#[test]
fn digests_that_are_paths() {
    let mut lab = Lab::new();
    let written = lab.layout.write(&Image::new([layer(1, 2_000, Compression::Gzip)]));
    // What the digest would lead to exists: only its form can be refused.
    std::fs::write(lab.path().join("outside"), "secret").unwrap();
    for (number, digest) in [
        "sha256:../../../outside",
        "sha256:/etc/passwd",
        "../../outside:x",
        "sha256:..",
        "..:..",
        "sha256",
        "",
        ":",
        "sha256:",
        "sha256:ABCDEF",
        "sha256:0123",
        "sha512:0123",
    ]
    .into_iter()
    .enumerate()
    {
        let mut entry = written.manifest.json();
        entry["digest"] = json!(digest);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "index"});
        let mut only = Lab::new();
        only.layout.entry(entry);
        let error = only.refused("index", "index.json", &[]);
        assert!(matches!(error, Error::Model { .. }), "{digest}: {error:?}");

        for place in ["config", "layers"] {
            let mut manifest: serde_json::Value = serde_json::from_slice(
                &std::fs::read(lab.layout.blob_path(&written.manifest.digest)).unwrap(),
            )
            .unwrap();
            match place {
                "config" => manifest["config"]["digest"] = json!(digest),
                _ => manifest["layers"][0]["digest"] = json!(digest),
            }
            let tag = format!("{place}{number}");
            let manifest = lab.layout.blob(MANIFEST, manifest.to_string().as_bytes());
            lab.layout.tag(&tag, &manifest);
            let error = lab.refused(&tag, &manifest.digest, &[]);
            assert!(matches!(error, Error::Model { .. }), "{digest}: {error:?}");
        }

        let image = Image::new([layer(2, 100, Compression::Plain).claim_diff_id(digest)]);
        let tag = format!("diff_id{number}");
        let written = lab.layout.image(&tag, &image);
        let error = lab.refused(&tag, &written.config.digest, &[]);
        assert!(matches!(error, Error::Model { .. }), "{digest}: {error:?}");
    }
}

#[test]
fn digests_we_cannot_compute() {
    let mut lab = Lab::new();
    let digest = "blake3:0123456789abcdef0123456789abcdef";
    lab.layout.image("layer", &Image::new([layer(1, 2_000, Compression::Gzip).claim_digest(digest)]));
    let error = lab.refused("layer", digest, &[]);
    assert!(matches!(error, Error::BlobMismatch { .. }), "{error:?}");
    lab.layout.image("diff_id", &Image::new([layer(1, 2_000, Compression::Gzip).claim_diff_id(digest)]));
    let error = lab.refused("diff_id", digest, &[]);
    assert!(matches!(error, Error::BlobMismatch { .. }), "{error:?}");
}

#[test]
fn tags_no_file_can_have() {
    let mut lab = Lab::new();
    lab.layout.image("x", &Image::new([layer(1, 2_000, Compression::Gzip)]));
    for tag in
        ["@x".to_owned(), String::new(), "x".repeat(256), "%".repeat(100), ".".to_owned(), "..".to_owned()]
    {
        let options = PullOptions::default().tag(&tag);
        let error = lab.pull_as(&lab.layout.reference("x"), &options, &Silent).expect_err(&tag);
        assert!(matches!(error, Error::Name(_)), "{error:?}");
        // Before any work: not one object.
        assert!(!lab.repo().join("objects").exists() || lab.streams().is_empty());
        lab.nothing_but(&error, "", &[]);
    }
    for tag in ["refs", "a/b", "docker://x/y:z@sha256:1", "\u{e4} \n"] {
        let options = PullOptions::default().tag(tag);
        lab.pull_as(&lab.layout.reference("x"), &options, &Silent).unwrap_or_else(|e| panic!("{tag}: {e}"));
        assert!(lab.tags().contains(&tag.to_owned()), "{tag}: {:?}", lab.tags());
    }
    lab.clean();
}

#[test]
fn strict_refuses_what_upstream_refuses() {
    let strict = PullOptions::default().tag("x").mode(Mode::Strict).jobs(1);
    for (tar, culprit) in [
        (TarBuilder::new().dir("usr").file("usr/missing/x", "1"), "usr/missing"),
        (TarBuilder::new().dir("usr").symlink("lib", "usr").file("lib/x", "1"), "lib"),
        (TarBuilder::new().dir("usr").file("nowhere/.wh.x", ""), "nowhere"),
        (TarBuilder::new().dir("etc").file("etc/x", "1"), "usr"),
        (TarBuilder::new().file("usr", "no directory"), "usr"),
    ] {
        let mut lab = Lab::new();
        let only = Layer::new(tar.finish(), Compression::Gzip);
        lab.layout.image("x", &Image::new([only.clone()]));
        let error = lab.pull_as(&lab.layout.reference("x"), &strict, &Silent).expect_err(culprit);
        // The layer is sound where the image is what cannot be built.
        let whole: &[&Layer] = if matches!(error, Error::Tree { .. }) { &[&only] } else { &[] };
        lab.nothing_but(&error, culprit, whole);
        lab.pull("x").unwrap();
        lab.clean();
    }
    let mut lab = Lab::new();
    let sparse = std::fs::read(composefs_testkit::project("tests/vectors/tar/gnu-sparse.tar")).unwrap();
    lab.layout.image("x", &Image::new([Layer::new(sparse, Compression::Gzip)]));
    lab.pull_as(&lab.layout.reference("x"), &strict, &Silent).unwrap_err();
    lab.pull("x").unwrap();
    let error = MergeFault::RootNotADirectory.to_string();
    assert_eq!(error, "the root must be a directory");
}
