//! Layouts, archives and directories as destinations.

use composefs::progress::Cancel;
use composefs_oci::{Error, copy::CopyOptions};
use composefs_testkit::images::{Compression, Image};
use serde_json::{Value, json};

use crate::lab::{Lab, amd64, blobs, chain, files, image, layer};

fn names(lab: &Lab, layout: &str) -> Vec<(String, String)> {
    let index: Value =
        serde_json::from_slice(&std::fs::read(lab.path(layout).join("index.json")).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (text(&entry["annotations"]["org.opencontainers.image.ref.name"]), text(&entry["digest"]))
        })
        .collect()
}

#[test]
fn through_every_medium_and_back() {
    let mut lab = Lab::new();
    let written = lab.layout.image("x", &image());
    let mut from = lab.layout.reference("x");
    for to in [lab.at("oci-archive", "deep/er/a.tar:y"), lab.at("dir", "d"), lab.at("oci", "deep/l:z")] {
        let copied = lab.copy(&from, &to).unwrap_or_else(|error| panic!("{to}: {}", chain(&error)));
        assert_eq!(copied.manifest.as_str(), written.manifest.digest);
        assert_eq!((copied.blobs, copied.present), (4, 0));
        from = to;
    }
    assert_eq!(blobs(&lab.path("deep/l")), blobs(lab.layout.path()));
    assert_eq!(names(&lab, "deep/l"), [("z".to_owned(), written.manifest.digest)]);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&lab.path("deep/er/a.tar").metadata().unwrap().permissions());
    assert_eq!(mode & 0o600, 0o600);
}

#[test]
fn an_index_with_all_that_is_in_it() {
    let mut lab = Lab::new();
    let index = lab.index();
    lab.layout.image("other", &image());
    let mut from = lab.layout.reference("all");
    for to in [lab.at("oci-archive", "a.tar"), lab.at("dir", "d"), lab.at("oci", "l:all")] {
        assert_eq!(lab.copy_all(&from, &to).unwrap().manifest.as_str(), index.digest);
        from = to;
    }
    let (all, copied) = (blobs(lab.layout.path()), blobs(&lab.path("l")));
    assert!(copied.iter().all(|(name, bytes)| all[name] == *bytes));
    // The index, two manifests, two configs, three layers.
    assert_eq!(copied.len(), 8);
    // Of one platform there is a manifest, a config and two layers.
    lab.copy(&lab.layout.reference("all"), &lab.at("oci", "one")).unwrap();
    assert_eq!(blobs(&lab.path("one")).len(), 4);
}

#[test]
fn what_is_there_is_not_sent() {
    let mut lab = Lab::new();
    lab.layout.image("x", &image());
    for to in [lab.at("oci", "l:x"), lab.at("dir", "d")] {
        assert_eq!(lab.copy(&lab.layout.reference("x"), &to).unwrap().blobs, 4);
        let before = files(&lab.path(if to.starts_with("oci") { "l" } else { "d" }));
        let again = lab.copy(&lab.layout.reference("x"), &to).unwrap();
        assert_eq!((again.blobs, again.bytes, again.present), (0, 0, 4));
        assert_eq!(files(&lab.path(if to.starts_with("oci") { "l" } else { "d" })), before);
    }
    assert_eq!(lab.heard.starting("skipped layer").len(), 6);
}

#[test]
fn names_of_a_layout_are_kept_and_moved() {
    let mut lab = Lab::new();
    let one = lab.layout.image("one", &Image::new([layer(1, 100, Compression::Gzip)])).manifest.digest;
    let two = lab.layout.image("two", &Image::new([layer(2, 100, Compression::Gzip)])).manifest.digest;
    for (from, tag) in [("one", "a"), ("one", "b"), ("two", "a")] {
        lab.copy(&lab.layout.reference(from), &lab.at("oci", &format!("l:{tag}"))).unwrap();
    }
    assert_eq!(names(&lab, "l"), [("b".to_owned(), one), ("a".to_owned(), two)]);
}

#[test]
fn the_same_image_gives_the_same_archive() {
    let mut lab = Lab::new();
    lab.layout.image("x", &image());
    for name in ["a.tar", "b.tar"] {
        std::fs::write(lab.path(name), "what was there before").unwrap();
        lab.copy_as(
            &lab.layout.reference("x"),
            &lab.at("oci-archive", &format!("{name}:x")),
            &amd64().jobs(3),
        )
        .unwrap();
    }
    let archive = std::fs::read(lab.path("a.tar")).unwrap();
    assert_eq!(archive, std::fs::read(lab.path("b.tar")).unwrap());
    assert_eq!(archive.len() % 512, 0);
    let mut read = tar::Archive::new(&archive[..]);
    let names: Vec<_> =
        read.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert!(names.starts_with(&["blobs/".to_owned(), "blobs/sha256/".to_owned()]), "{names:?}");
    assert!(names.ends_with(&["index.json".to_owned(), "oci-layout".to_owned()]), "{names:?}");
}

#[test]
fn a_directory_is_replaced_and_no_other_one() {
    let mut lab = Lab::new();
    lab.layout.image("one", &Image::new([layer(1, 100, Compression::Gzip)]));
    let two = lab.layout.image("two", &Image::new([layer(2, 100, Compression::Gzip)]));
    let to = lab.at("dir", "d");
    lab.copy(&lab.layout.reference("one"), &to).unwrap();
    std::fs::write(lab.path("d").join("signature-1"), "of the first").unwrap();
    lab.copy(&lab.layout.reference("two"), &to).unwrap();
    let files = files(&lab.path("d"));
    assert_eq!(files.len(), 4, "{:?}", files.keys());
    assert_eq!(composefs_testkit::images::sha256(&files["manifest.json"]), two.manifest.digest);

    for (path, file) in [("mine", "notes.txt"), ("mine2", "index.html")] {
        std::fs::create_dir(lab.path(path)).unwrap();
        std::fs::write(lab.path(path).join(file), "mine").unwrap();
        let error = lab.copy(&lab.layout.reference("one"), &lab.at("dir", path)).unwrap_err();
        assert!(matches!(&error, Error::WrongForm { .. }) && chain(&error).contains(file), "{error}");
        let error = lab.copy(&lab.layout.reference("one"), &lab.at("oci", path)).unwrap_err();
        assert!(matches!(&error, Error::NotALayout { .. }) && chain(&error).contains(file), "{error}");
        assert_eq!(std::fs::read_dir(lab.path(path)).unwrap().count(), 1);
    }
}

#[test]
fn nothing_half_done_is_seen() {
    let mut lab = Lab::new();
    let good = lab.layout.image("good", &Image::new([layer(7, 100, Compression::Gzip)]));
    let image = image();
    let image_digest = lab.layout.image("bad", &image).manifest.digest;
    for damage in 0..3 {
        match damage {
            0 => lab.layout.damage(&image.layers[1].digest, |blob| blob[2_000_000] ^= 1),
            1 => lab.layout.damage(&image.layers[1].digest, |blob| blob.truncate(1_000_000)),
            _ => lab.layout.remove(&image.layers[1].digest),
        }
        for (transport, name) in [("oci", "l"), ("dir", "d"), ("oci-archive", "a.tar")] {
            // First where nothing is, then where an image is.
            for before in [false, true] {
                let path = lab.path(name);
                let _ = std::fs::remove_dir_all(&path);
                let _ = std::fs::remove_file(&path);
                let tag = if transport == "dir" { "" } else { ":x" };
                let to = format!("{}{tag}", lab.at(transport, name));
                if before {
                    lab.copy(&lab.layout.reference("good"), &to).unwrap();
                }
                let error = lab.copy(&lab.layout.reference("bad"), &to).unwrap_err();
                assert!(chain(&error).contains(&image.layers[1].digest), "{}", chain(&error));
                let found = lab.copy(&to, &lab.at("oci", "check"));
                match before {
                    true => assert_eq!(found.unwrap().manifest.as_str(), good.manifest.digest),
                    false => assert!(found.is_err(), "{to}"),
                }
                let hex = image.layers[1].digest.replace("sha256:", "");
                let left = files(&path);
                assert!(
                    !left.keys().any(|name| name.contains(&hex) || name.contains("tmp")),
                    "{:?}",
                    left.keys()
                );
                // Nor beside it.
                assert!(!files(&lab.path("")).keys().any(|name| name.contains("tmp-composefs")));
            }
        }
    }
    // What was mended goes on from there.
    let path = lab.layout.blob_path(&image.layers[1].digest);
    std::fs::write(path, &image.layers[1].blob).unwrap();
    let copied = lab.copy(&lab.layout.reference("bad"), &lab.at("oci", "l:x")).unwrap();
    assert_eq!(copied.manifest.as_str(), image_digest);
    // What had arrived whole before the others failed is not sent again.
    assert!((1..=4).contains(&copied.blobs), "{}", copied.blobs);
}

#[test]
fn a_copy_that_was_asked_to_stop() {
    let mut lab = Lab::new();
    lab.layout.image("x", &image());
    let cancel = Cancel::default();
    cancel.cancel();
    let options: CopyOptions = amd64().cancel(cancel);
    let error = lab.copy_as(&lab.layout.reference("x"), &lab.at("oci", "l:x"), &options).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    assert_eq!(files(&lab.path("l")).len(), 0);
}

#[test]
fn places_that_take_no_image() {
    let mut lab = Lab::new();
    let written = lab.layout.image("x", &Image::new([layer(1, 100, Compression::Gzip)]));
    std::fs::create_dir(lab.path("directory")).unwrap();
    for to in [
        lab.at("docker-archive", "a.tar"),
        "docker-daemon:x:y".to_owned(),
        "containers-storage:x".to_owned(),
        "debian:12".to_owned(),
        lab.at("oci", "l:@0"),
        lab.at("oci", &format!("l@{}", written.manifest.digest)),
        lab.at("oci-archive", "directory"),
    ] {
        let error = lab.copy(&lab.layout.reference("x"), &to).unwrap_err();
        assert!(matches!(error, Error::NotADestination { .. }), "{to}: {error:?}");
    }
    // An artifact of an index is copied as well, whatever its blobs are.
    let text = composefs_testkit::images::Layer::packed(vec![1; 9], vec![1; 9], "text/plain");
    lab.layout
        .image("artifact", &Image::artifact("text/plain", [text]).manifest("annotations", json!({"a": "b"})));
    lab.copy_all(&lab.layout.reference("artifact"), &lab.at("oci", "l:artifact")).unwrap();
}
