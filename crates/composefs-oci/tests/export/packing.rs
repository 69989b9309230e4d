//! Layers packed anew.

use composefs_oci::export::{ExportOptions, Form, Packing, known};
use composefs_testkit::images::{Compression, Image};

use crate::lab::{Lab, all_platforms, blob, chain, image, json, layer, tars};

fn types(manifest: &serde_json::Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().unwrap().iter();
    layers.map(|layer| layer["mediaType"].as_str().unwrap().rsplit('.').next().unwrap().to_owned()).collect()
}

#[test]
fn every_compression_gives_the_same_layers() {
    let mut lab = Lab::new();
    let pulled = lab.have("x", &image());
    for (packing, expected) in [
        (Packing::AsPulled, ["tar+gzip", "tar", "tar+zstd"]),
        (Packing::Gzip(None), ["tar+gzip"; 3]),
        (Packing::Gzip(Some(1)), ["tar+gzip"; 3]),
        (Packing::Zstd(Some(1)), ["tar+zstd"; 3]),
        (Packing::Plain, ["tar"; 3]),
    ] {
        let name = format!("{packing:?}").replace(['(', ')'], "");
        let to = lab.at("oci", &format!("{name}:y"));
        let pushed = lab.push("x", &to, packing).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        let layout = lab.path(&name);
        let manifest = json(&layout, pushed.copied.manifest.as_str());
        assert_eq!(types(&manifest), expected, "{name}");
        for ((tar, layer), out) in tars(&image())
            .into_iter()
            .zip(manifest["layers"].as_array().unwrap())
            .zip(&pushed.images[0].layers)
        {
            let bytes = blob(&layout, layer["digest"].as_str().unwrap());
            assert_eq!(layer["size"], bytes.len());
            assert_eq!(
                (out.digest.as_str(), out.size),
                (layer["digest"].as_str().unwrap(), bytes.len() as u64)
            );
            let mut back = Vec::new();
            let mut reader = composefs_oci::decompress::Decompressor::new(&bytes[..]).unwrap();
            std::io::Read::read_to_end(&mut reader, &mut back).unwrap();
            assert!(back == tar, "{name}");
        }
        let back = lab.pull(&to, "back");
        assert_eq!((back.config, back.images), (pulled.config.clone(), pulled.images.clone()), "{name}");
    }
}

#[test]
fn dockers_manifest_stays_dockers_where_it_can() {
    let mut lab = Lab::new();
    let pulled = lab.have("x", &image().docker());
    for (packing, expected) in
        [(Packing::Gzip(None), "docker.distribution"), (Packing::Zstd(None), "oci.image.manifest")]
    {
        let pushed = lab.push("x", &lab.at("oci", "l:y"), packing).unwrap();
        assert!(pushed.copied.media_type.contains(expected), "{}", pushed.copied.media_type);
        let back = lab.pull(&lab.at("oci", "l:y"), "back");
        assert_eq!((back.config, back.images), (pulled.config.clone(), pulled.images.clone()));
    }
}

#[test]
fn an_index_goes_out_with_all_its_images() {
    let mut lab = Lab::new();
    let images = [("amd64", 1), ("arm64", 2)].map(|(name, seed)| {
        let layers = [layer(seed, 5_000, Compression::Gzip), layer(9, 700, Compression::Zstd)];
        lab.layout.write(&Image::new(layers).platform(name, None))
    });
    let index = lab.layout.index("all", &images);
    lab.pull_as(&lab.layout.reference("all"), &all_platforms("all"));
    // Of the image for this platform the very blob of the one layer is not here; it packs to another one.
    for packing in [Packing::AsPulled, Packing::Zstd(Some(2)), Packing::Plain] {
        let options = ExportOptions::default().packing(packing).all(true).jobs(2);
        let pushed = lab
            .push_as("all", &lab.at("oci", "l:all"), &options)
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(pushed.images.len(), 2);
        let there = json(&lab.path("l"), pushed.copied.manifest.as_str());
        for (entry, image) in there["manifests"].as_array().unwrap().iter().zip(&pushed.images) {
            assert_eq!(entry["digest"], image.manifest.as_str());
        }
        for platform in ["linux/amd64", "linux/arm64"] {
            let options = crate::lab::pulling("back").platform(platform.parse().unwrap());
            lab.pull_as(&lab.at("oci", "l:all"), &options);
        }
        if packing == Packing::AsPulled {
            assert_eq!(pushed.images[1].manifest, pushed.images[1].original, "kept as it was shipped");
            assert_eq!(pushed.images[1].original.as_str(), images[1].manifest.digest);
        }
        assert_ne!(pushed.copied.manifest.as_str(), index.digest);
    }
}

#[test]
fn what_a_layer_packs_to_is_remembered() {
    let mut lab = Lab::new();
    lab.have("x", &image());
    let forms = |to: &str, packing| -> Vec<Form> {
        let pushed =
            lab.push("x", &lab.at("oci", to), packing).unwrap_or_else(|error| panic!("{}", chain(&error)));
        pushed.images[0].layers.iter().map(|layer| layer.form).collect()
    };
    assert_eq!(forms("l:a", Packing::Gzip(None)), [Form::Packed; 3]);
    assert_eq!(forms("l:b", Packing::Gzip(Some(6))), [Form::Noted; 3], "there already");
    assert_eq!(forms("m:a", Packing::Gzip(None)), [Form::Noted; 3], "packed since it is not there");
    assert_eq!(forms("m:a", Packing::Gzip(Some(5))), [Form::Packed; 3]);
    // A note that is wrong costs time and nothing else.
    let notes = lab.path("repo/.cfs/packed");
    let wrong = "0".repeat(64);
    for layer in &image().layers {
        std::fs::write(notes.join(&layer.diff_id), format!("gzip-6-1 sha256:{wrong} 7\n")).unwrap();
    }
    assert_eq!(forms("n:a", Packing::Gzip(None)), [Form::Packed; 3]);
    assert_eq!(forms("o:a", Packing::Gzip(None)), [Form::Noted; 3]);
    assert_eq!(known::prune(&lab.writer).unwrap(), 0);
    std::fs::write(notes.join(format!("sha256:{wrong}")), "").unwrap();
    std::fs::write(notes.join("x"), "").unwrap();
    assert_eq!(known::prune(&lab.writer).unwrap(), 2);
}
