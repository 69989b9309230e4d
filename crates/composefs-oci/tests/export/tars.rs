//! Layers as they were, to every medium.

use composefs::progress::Cancel;
use composefs_oci::{
    Error,
    export::{ExportOptions, Form, Packing},
};
use composefs_testkit::images::{Compression, Image, Layer, sha256};

use crate::lab::{Lab, blob, chain, image, json, layer, tars};

#[test]
fn to_every_medium_and_back() {
    let mut lab = Lab::new();
    let pulled = lab.have("x", &image());
    for to in [lab.at("oci", "l:y"), lab.at("oci-archive", "deep/er/a.tar:y"), lab.at("dir", "d")] {
        let pushed =
            lab.push("x", &to, Packing::Plain).unwrap_or_else(|error| panic!("{to}: {}", chain(&error)));
        assert_eq!((pushed.copied.blobs, pushed.copied.present), (4, 0), "{to}");
        let [out] = &pushed.images[..] else { panic!("{to}") };
        assert_eq!(out.original, pulled.manifest);
        assert_ne!(out.manifest, pulled.manifest);
        assert_eq!(out.manifest, pushed.copied.manifest);
        assert_eq!(out.config, pulled.config);
        let forms: Vec<Form> = out.layers.iter().map(|layer| layer.form).collect();
        assert_eq!(forms, [Form::Tar, Form::Original, Form::Tar]);
        let back = lab.pull(&to, "back");
        assert_eq!(back.manifest, pushed.copied.manifest);
        assert_eq!((back.config, back.images), (pulled.config.clone(), pulled.images.clone()));
        assert_eq!(back.objects.new, 0, "{to}");
    }
    let layout = lab.path("l");
    for (tar, layer) in tars(&image()).into_iter().zip(&image().layers) {
        assert!(blob(&layout, &layer.diff_id) == tar);
    }
}

#[test]
fn what_never_was_compressed_keeps_its_manifest() {
    let mut lab = Lab::new();
    let pulled = lab
        .have("x", &Image::new([layer(1, 5000, Compression::Plain), layer(2, 70_000, Compression::Plain)]));
    for packing in [Packing::AsPulled, Packing::Plain] {
        let pushed = lab.push("x", &lab.at("oci", "l:x"), packing).unwrap();
        assert_eq!(pushed.copied.manifest, pulled.manifest);
        assert_eq!(pushed.images[0].layers[0].form, Form::Original);
    }
    let again = lab.push("x", &lab.at("oci", "l:z"), Packing::Plain).unwrap();
    assert_eq!((again.copied.blobs, again.copied.present), (0, 3));
}

#[test]
fn by_digest_and_not_at_all() {
    let mut lab = Lab::new();
    let pulled = lab.have("x", &image());
    let pushed = lab.push(&format!("@{}", pulled.manifest), &lab.at("oci", "l:y"), Packing::Plain).unwrap();
    assert_eq!(pushed.images[0].original, pulled.manifest);
    let error = lab.push("y", &lab.at("oci", "m:y"), Packing::Plain).unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    let error = lab.push_as("x", &lab.at("oci", "m:y"), &ExportOptions::default().all(true)).unwrap_err();
    assert!(chain(&error).contains("no index is kept with it"), "{}", chain(&error));
}

#[test]
fn artifacts_go_out_as_they_are() {
    let mut lab = Lab::new();
    let layers = [
        Layer::packed(vec![1; 9], vec![1; 9], "text/plain"),
        layer(1, 5000, Compression::Gzip),
        layer(2, 5000, Compression::Plain),
    ];
    let pulled = lab.have("x", &Image::artifact("text/x", layers));
    for packing in [Packing::AsPulled, Packing::Zstd(None), Packing::Plain] {
        let to = lab.at("oci", &format!("{packing:?}:y"));
        let pushed = lab.push("x", &to, packing).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(pushed.copied.manifest, pulled.manifest);
    }
}

#[test]
fn one_layer_twice_is_one_blob() {
    let mut lab = Lab::new();
    let twice = || layer(1, 5000, Compression::Gzip);
    lab.have("x", &Image::new([twice(), layer(2, 10, Compression::Gzip), twice()]));
    let pushed = lab.push("x", &lab.at("oci", "l:y"), Packing::Gzip(Some(9))).unwrap();
    assert_eq!(pushed.copied.blobs, 3);
    let manifest = json(&lab.path("l"), pushed.copied.manifest.as_str());
    assert_eq!(manifest["layers"][0], manifest["layers"][2]);
}

#[test]
fn damage_is_found_and_leaves_no_name() {
    let mut lab = Lab::new();
    let pulled = lab.have("x", &Image::new([layer(1, 50_000, Compression::Gzip)]));
    // Each file of the layer is noise, and so is each of its objects.
    let stream = lab.writer.open_stream(&pulled.manifest_stream).unwrap();
    let layer = stream.named_refs().find(|(name, _)| name.starts_with("sha256:")).unwrap().1;
    let object = lab.writer.open_stream(&layer).unwrap().object_refs().iter().next().unwrap();
    let path = lab.path("repo").join("objects").join(object.object_path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    for packing in [Packing::Plain, Packing::Gzip(None), Packing::Zstd(None)] {
        let error = lab.push("x", &lab.at("oci", "l:y"), packing).unwrap_err();
        assert!(matches!(error, Error::BlobMismatch { .. }), "{error:?}");
    }
    assert!(!lab.path("l/index.json").exists());
    std::fs::remove_file(&path).unwrap();
    let error = lab.push("x", &lab.at("oci", "l:y"), Packing::Gzip(None)).unwrap_err();
    assert!(chain(&error).contains(&object.to_hex()), "{}", chain(&error));
}

#[test]
fn stops_when_it_is_asked_to() {
    let mut lab = Lab::new();
    lab.have("x", &image());
    let cancel = Cancel::default();
    cancel.cancel();
    for packing in [Packing::Plain, Packing::Gzip(None)] {
        let options = ExportOptions::default().packing(packing).cancel(cancel.clone());
        let error = lab.push_as("x", &lab.at("oci", "l:y"), &options).unwrap_err();
        assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    }
}

#[test]
fn the_same_image_gives_the_same_archive() {
    let mut lab = Lab::new();
    lab.have("x", &image());
    let archive = |name: &str, jobs| {
        let options = ExportOptions::default().packing(Packing::Gzip(None)).jobs(jobs);
        lab.push_as("x", &lab.at("oci-archive", name), &options).unwrap();
        sha256(&std::fs::read(lab.path(name)).unwrap())
    };
    assert_eq!(archive("a.tar", 1), archive("b.tar", 5));
}
