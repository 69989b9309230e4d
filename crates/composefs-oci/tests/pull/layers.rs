//! Layers in every shape that is right: packed in odd ways, sparse, empty, twice, with another digest.

use composefs::{
    digest::{Algorithm, object_id_of},
    erofs::FormatVersion,
    progress::Silent,
};
use composefs_oci::{
    ident,
    pull::PullOptions,
    stored::{StoredImage, referrers},
};
use composefs_testkit::{
    images::{Compression, Image, Layer, gzip, sha256, sha512},
    tars::TarBuilder,
};
use serde_json::json;

use crate::lab::{Heard, Lab, layer, noise};

fn tar(length: usize) -> Vec<u8> {
    TarBuilder::new().dir("usr").file("usr/a", noise(1, length)).file("usr/b", "small").finish()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    Compression::Zstd.pack(bytes)
}

/// A frame that decoders skip, with another of the sixteen magics each time.
fn skippable(number: u8, length: u32) -> Vec<u8> {
    let mut frame = vec![0x50 + number, 0x2a, 0x4d, 0x18];
    frame.extend(length.to_le_bytes());
    frame.extend(vec![0x28; length as usize]);
    frame
}

/// Pulls one tar in many packings, into one repository each, and compares.
fn all_equal(tar: &[u8], blobs: Vec<Vec<u8>>, media_type: &str) {
    let mut lab = Lab::new();
    let reference =
        lab.pull_image("plain", &Image::new([Layer::new(tar.to_vec(), Compression::Plain)])).unwrap();
    for (number, blob) in blobs.into_iter().enumerate() {
        let mut lab = Lab::new();
        let layer = Layer::packed(tar.to_vec(), blob, media_type);
        let pulled =
            lab.pull_image("x", &Image::new([layer])).unwrap_or_else(|error| panic!("{number}: {error:?}"));
        assert_eq!(pulled.images, reference.images, "{number}");
        lab.clean();
    }
}

#[test]
fn gzip_members_and_padding() {
    for length in [3_000, 700_000] {
        let tar = tar(length);
        let (a, b) = tar.split_at(tar.len() / 3);
        let bytes: Vec<u8> = tar.chunks(length / 50).flat_map(gzip).collect();
        let blobs = vec![
            gzip(&tar),
            [gzip(a), gzip(b)].concat(),
            [gzip(a), gzip(b""), gzip(b)].concat(),
            [gzip(&tar), vec![0; 1]].concat(),
            [gzip(&tar), vec![0; 300_000]].concat(),
            [gzip(a), vec![0; 511], gzip(b), vec![0; 10_240]].concat(),
            bytes,
        ];
        all_equal(&tar, blobs, Compression::Gzip.media_type());
    }
}

#[test]
fn zstd_frames() {
    for length in [3_000, 700_000] {
        let tar = tar(length);
        let (a, b) = tar.split_at(tar.len() / 3);
        let blobs = vec![
            zstd(&tar),
            [zstd(a), zstd(b)].concat(),
            [zstd(a), zstd(b""), zstd(b)].concat(),
            [skippable(0, 4), zstd(&tar)].concat(),
            [skippable(15, 0), zstd(a), skippable(3, 300_000), zstd(b), skippable(7, 64)].concat(),
            [zstd(&tar), vec![0; 4096]].concat(),
        ];
        all_equal(&tar, blobs, Compression::Zstd.media_type());
    }
}

#[test]
fn media_types_lie() {
    for compression in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
        for claimed in [Compression::Plain, Compression::Gzip, Compression::Zstd] {
            let mut lab = Lab::new();
            let layer = layer(1, 2_000, compression).claim_media_type(claimed.media_type());
            lab.layout.image("x", &Image::new([layer.clone()]));
            let heard = Heard::default();
            let options = PullOptions::default().tag("x");
            lab.pull_as(&lab.layout.reference("x"), &options, &heard).unwrap();
            let warnings = heard.starting("warning");
            assert_eq!(warnings.len(), usize::from(claimed != compression), "{warnings:?}");
            assert!(warnings.iter().all(|warning| warning.contains(&layer.digest)), "{warnings:?}");
            lab.clean();
        }
    }
    // No layer's type at all.
    let mut lab = Lab::new();
    let layer = layer(1, 2_000, Compression::Gzip).claim_media_type("application/octet-stream");
    lab.layout.image("x", &Image::new([layer.clone()]));
    let heard = Heard::default();
    lab.pull_as(&lab.layout.reference("x"), &PullOptions::default().tag("x"), &heard).unwrap();
    assert!(heard.starting("warning")[0].contains(&layer.digest));
    // Every type of the specification.
    for kind in ["nondistributable.v1.tar", "nondistributable.v1.tar+gzip", "nondistributable.v1.tar+zstd"] {
        let compression = match kind.rsplit_once('+') {
            Some((_, "gzip")) => Compression::Gzip,
            Some(_) => Compression::Zstd,
            None => Compression::Plain,
        };
        let mut lab = Lab::new();
        let layer = crate::lab::layer(1, 2_000, compression)
            .claim_media_type(&format!("application/vnd.oci.image.layer.{kind}"));
        lab.layout.image("x", &Image::new([layer]));
        let heard = Heard::default();
        lab.pull_as(&lab.layout.reference("x"), &PullOptions::default().tag("x"), &heard).unwrap();
        assert_eq!(heard.starting("warning"), [""; 0], "{kind}");
    }
}

#[test]
fn the_same_layer_twice() {
    let mut lab = Lab::new();
    let twice = layer(1, 300_000, Compression::Gzip);
    // The same tar as another blob counts as the same layer, too.
    let other = Layer::packed(twice.tar.clone(), zstd(&twice.tar), Compression::Zstd.media_type());
    let layers = [twice.clone(), layer(2, 2_000, Compression::Plain), twice.clone(), other];
    lab.layout.image("x", &Image::new(layers));
    let heard = Heard::default();
    lab.pull_as(&lab.layout.reference("x"), &PullOptions::default().tag("x"), &heard).unwrap();
    assert_eq!(heard.starting("begin layer").len(), 2);
    let stored = StoredImage::open_tag(&lab.writer, "x").unwrap();
    let layers = stored.config().layers().unwrap();
    assert_eq!(layers.len(), 4);
    assert!(layers[0] == layers[2] && layers[0] == layers[3]);
    lab.clean();
    let again = lab.pull("x").unwrap();
    assert_eq!(again.objects.new + again.objects.present, 0);
}

#[test]
fn nothing_in_it() {
    let mut lab = Lab::new();
    for (tag, layers) in [
        ("no layer", vec![]),
        ("no byte", vec![Layer::new(Vec::new(), Compression::Plain)]),
        ("no byte, packed", vec![Layer::new(Vec::new(), Compression::Gzip)]),
        ("end only", vec![Layer::new(TarBuilder::new().finish(), Compression::Zstd)]),
    ] {
        let pulled =
            lab.pull_image(tag, &Image::new(layers)).unwrap_or_else(|error| panic!("{tag}: {error:?}"));
        // FROM scratch: a root of its own, since there is no /usr.
        assert_eq!(lab.dump(&pulled).lines().count(), 1, "{tag}");
        assert!(lab.dump(&pulled).starts_with("/ 0 40755 2 0 0 0 0.0 "), "{}", lab.dump(&pulled));
    }
    lab.clean();
}

#[test]
fn no_usr() {
    let mut lab = Lab::new();
    let tar = TarBuilder::new().mtime(99).file("hello", "hello, world\n").finish();
    let pulled = lab.pull_image("hello", &Image::new([Layer::new(tar, Compression::Gzip)])).unwrap();
    assert!(lab.dump(&pulled).starts_with("/ 0 40755 2 0 0 0 0.0 "), "{}", lab.dump(&pulled));
    assert_eq!(lab.paths(&pulled), ["/", "/hello"]);
    lab.clean();
}

#[test]
fn sparse_members_are_expanded() {
    let mut expected = vec![0; 20_000];
    expected[9000..9003].copy_from_slice(b"abc");
    for algorithm in Algorithm::ALL {
        let id = object_id_of(algorithm, &expected);
        for name in ["gnu-sparse", "pax-sparse-0.0", "pax-sparse-0.1", "pax-sparse-1.0"] {
            let mut lab = Lab::with(algorithm, FormatVersion::V1);
            let tar =
                std::fs::read(composefs_testkit::project(&format!("tests/vectors/tar/{name}.tar"))).unwrap();
            let pulled = lab.pull_image("x", &Image::new([Layer::new(tar, Compression::Gzip)])).unwrap();
            let dump = lab.dump(&pulled);
            let line = dump.lines().find(|line| line.starts_with("/h ")).unwrap();
            assert!(line.contains(" 20000 ") && line.contains(&id.to_hex()), "{name}: {line}");
            assert_eq!(std::fs::read(lab.object_path(&id)).unwrap(), expected, "{name}");
            lab.clean();
            // The expanded file belongs to the layer: lost, it comes again.
            std::fs::remove_file(lab.object_path(&id)).unwrap();
            lab.reopen();
            lab.pull("x").unwrap();
            assert_eq!(std::fs::read(lab.object_path(&id)).unwrap(), expected, "{name}");
        }
    }
}

#[test]
fn sha512_in_descriptors() {
    for compression in [Compression::Plain, Compression::Gzip] {
        let mut lab = Lab::new();
        let plain = layer(1, 500_000, compression);
        let blob = sha512(&plain.blob);
        let diff = sha512(&plain.tar);
        let other = plain.clone().claim_digest(&blob).claim_diff_id(&diff);
        let reference = lab.pull_image("sha256", &Image::new([plain.clone()])).unwrap();
        let pulled = lab.pull_image("sha512", &Image::new([other.clone()])).unwrap();
        assert_eq!(pulled.images, reference.images);
        assert!(lab.streams().contains(&format!("oci-layer-{diff}")));
        lab.clean();

        let wrong = sha512(b"");
        let image = Image::new([layer(2, 500_000, compression).claim_digest(&wrong)]);
        let error = lab.pull_image("blob", &image).unwrap_err();
        assert!(error.to_string().contains(&wrong), "{error}");
        let image = Image::new([layer(2, 500_000, compression).claim_diff_id(&wrong)]);
        let error = lab.pull_image("diff", &image).unwrap_err();
        assert!(error.to_string().contains(&wrong), "{error}");
        assert!(!lab.streams().contains(&format!("oci-layer-{wrong}")));
    }
}

#[test]
fn a_manifest_known_by_its_sha512() {
    let mut lab = Lab::new();
    let written = lab.layout.write(&Image::new([layer(1, 2_000, Compression::Gzip)]));
    let bytes = std::fs::read(lab.layout.blob_path(&written.manifest.digest)).unwrap();
    let digest = sha512(&bytes);
    std::fs::create_dir(lab.layout.path().join("blobs/sha512")).unwrap();
    std::fs::write(lab.layout.blob_path(&digest), &bytes).unwrap();
    let mut entry = written.manifest.json();
    entry["digest"] = json!(digest);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "x"});
    lab.layout.entry(entry);
    let pulled = lab.pull("x").unwrap();
    assert_eq!(pulled.manifest.as_str(), digest);
    lab.clean();
    lab.layout.damage(&digest, |bytes| bytes.push(b' '));
    lab.reopen();
    lab.pull("x").unwrap_err();
}

#[test]
fn dockers_media_types() {
    let mut lab = Lab::new();
    let image = Image::new([layer(1, 2_000, Compression::Gzip), layer(2, 2_000, Compression::Gzip)]);
    let reference = lab.pull_image("oci", &image).unwrap();
    let heard = Heard::default();
    lab.layout.image("docker", &image.docker());
    let pulled =
        lab.pull_as(&lab.layout.reference("docker"), &PullOptions::default().tag("docker"), &heard).unwrap();
    assert_eq!(pulled.images, reference.images);
    assert!(StoredImage::open_tag(&lab.writer, "docker").unwrap().is_container());
    assert_eq!(heard.starting("warning"), [""; 0]);
    lab.clean();
}

#[test]
fn artifacts_and_referrers() {
    let mut lab = Lab::new();
    let subject = lab.pull_image("subject", &Image::new([layer(1, 2_000, Compression::Gzip)])).unwrap();
    let payload = noise(5, 70_000);
    let blob = Layer::packed(payload.clone(), payload.clone(), "application/vnd.example.signature");
    // An archive of an artifact is not a layer of a file system: its names mean nothing.
    let archive = Layer::new(TarBuilder::new().file("../up", "x").finish(), Compression::Plain);
    let descriptor = json!({"mediaType": composefs_testkit::images::MANIFEST, "digest": subject.manifest.as_str(), "size": 1});
    let artifact = Image::artifact("application/vnd.example", [blob.clone(), archive.clone()])
        .manifest("subject", descriptor);
    let pulled = lab.pull_image("artifact", &artifact).unwrap();
    assert_eq!(pulled.images, []);
    let stored = StoredImage::open_tag(&lab.writer, "artifact").unwrap();
    assert!(!stored.is_container());
    let stream = *stored.config().named(&sha256(&payload)).unwrap();
    let object = lab.writer.open_stream(&stream).unwrap().only_object().unwrap();
    assert_eq!(std::fs::read(lab.object_path(&object)).unwrap(), payload);
    assert!(lab.streams().contains(&format!("oci-layer-{}", archive.digest)));
    assert_eq!(
        referrers::list(&lab.writer, &subject.manifest).unwrap(),
        std::slice::from_ref(&pulled.manifest)
    );
    let name = ident::referrer(&subject.manifest, &pulled.manifest).unwrap();
    assert!(lab.writer.read_ref(composefs::error::Category::Streams, &name).unwrap().is_some());
    lab.clean();
    // Nothing to do, and what is lost comes again.
    let heard = Heard::default();
    lab.pull_as(&lab.layout.reference("artifact"), &PullOptions::default().tag("artifact"), &heard).unwrap();
    assert_eq!(heard.starting("begin"), [""; 0]);
    std::fs::remove_file(lab.object_path(&object)).unwrap();
    lab.reopen();
    lab.pull("artifact").unwrap();
    lab.clean();

    // Wrong blobs of artifacts are no better than wrong layers.
    for wrong in
        [blob.clone().claim_size(1), blob.clone().claim_digest(&sha256(b"other")), blob.clone().cut(100)]
    {
        let mut lab = Lab::new();
        lab.layout.image("x", &Image::artifact("application/vnd.example", [wrong.clone()]));
        lab.refused("x", &wrong.digest, &[]);
    }
    // A subject whose digest is none.
    let mut lab = Lab::new();
    let image = Image::artifact("application/vnd.example", [blob])
        .manifest("subject", json!({"mediaType": "x", "digest": "sha256:../x", "size": 1}));
    let written = lab.layout.image("x", &image);
    lab.refused("x", &written.manifest.digest, &[]);
}

#[test]
fn an_artifact_has_a_layers_bytes() {
    // The same tar as an opaque blob and as a layer: one name, two forms, and neither pull stands in the other's way.
    for artifact_first in [true, false] {
        let mut lab = Lab::new();
        let layer = layer(1, 70_000, Compression::Plain);
        let blob = layer.clone().claim_media_type("application/octet-stream");
        lab.layout.image("image", &Image::new([layer]));
        lab.layout.image("artifact", &Image::artifact("application/vnd.example", [blob]));
        let order = if artifact_first { ["artifact", "image"] } else { ["image", "artifact"] };
        for tag in [order, order].concat() {
            lab.pull(tag).unwrap_or_else(|error| panic!("{tag}: {error:?}"));
            lab.reopen();
            lab.clean();
        }
    }
}

#[test]
fn ids_do_not_depend_on_the_number_of_threads() {
    let mut ids = Vec::new();
    for jobs in [1, 2, 7] {
        let mut lab = Lab::new();
        let layers = (0..6).map(|seed| layer(seed, 40_000 * seed as usize, Compression::Gzip));
        lab.layout.image("x", &Image::new(layers));
        let options = PullOptions::default().tag("x").jobs(jobs);
        let pulled = lab.pull_as(&lab.layout.reference("x"), &options, &Silent).unwrap();
        let stored = StoredImage::open_tag(&lab.writer, "x").unwrap();
        ids.push((pulled.images, pulled.config_stream, *stored.manifest_stream(), pulled.verity));
    }
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
}
