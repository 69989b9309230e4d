//! Blobs that a pull has kept go out as they came.

use composefs::{progress::Silent, repo::CheckOptions};
use composefs_oci::{
    export::{ExportOptions, Form, Packing},
    fsck,
    pull::{Blobs, PullOptions},
    stored::check,
};
use composefs_testkit::{
    docker_registry::{DockerRegistry, Wants},
    images::{Compression, Image},
    registry::{Registry, RegistryOptions},
};

use crate::lab::{Lab, all_platforms, chain, image, layer, pulling};

fn keeping(tag: &str) -> PullOptions {
    pulling(tag).blobs(Blobs::Keep)
}

/// Everything that is named is right, and stays when garbage goes.
fn clean(lab: &mut Lab) {
    lab.collect();
    let report = lab.writer.check(&CheckOptions::default().deep(true), &Silent).unwrap();
    assert!(report.is_ok(), "{:?}", report.findings);
    assert_eq!(check::check(&lab.writer, None).unwrap().findings, []);
    let report = fsck::check(&lab.writer, None, &fsck::CheckOptions::default().deep(true), &Silent).unwrap();
    assert!(report.is_ok(), "{:?}", report.findings);
}

#[test]
fn a_push_gives_the_manifest_that_was_pulled() {
    for image in [image(), image().docker()] {
        let mut lab = Lab::new();
        let registry = Registry::start(RegistryOptions::default());
        lab.layout.image("x", &image);
        let pulled = lab.pull_as(&lab.layout.reference("x"), &keeping("x"));
        clean(&mut lab);
        let to = registry.reference("app:v1");
        let pushed =
            lab.push("x", &to, Packing::AsPulled).unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(pushed.copied.manifest, pulled.manifest);
        assert!(pushed.images[0].layers.iter().all(|layer| layer.form == Form::Original));
        for layer in &image.layers {
            assert!(registry.find_blob("app", &layer.digest).unwrap() == layer.blob);
        }
        // What is packed as it is asked for goes out as it is, too, unless a level is asked for.
        let forms = |packing| -> Vec<Form> {
            let pushed = lab.push("x", &lab.at("oci", "l:x"), packing).unwrap();
            pushed.images[0].layers.iter().map(|layer| layer.form).collect()
        };
        assert_eq!(forms(Packing::Gzip(None)), [Form::Original, Form::Packed, Form::Packed]);
        assert_eq!(forms(Packing::Zstd(None)), [Form::Packed, Form::Packed, Form::Original]);
        assert_eq!(forms(Packing::Gzip(Some(6)))[0], Form::Packed);
        assert_eq!(forms(Packing::Plain), [Form::Tar, Form::Original, Form::Tar]);
    }
}

#[test]
fn only_the_blobs_come_of_what_is_here() {
    let mut lab = Lab::new();
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image("app", "v1", &image());
    let from = registry.reference("app:v1");
    let first = lab.pull(&from, "x");
    registry.forget_requests();
    let kept = lab.pull_as(&from, &keeping("x"));
    assert_eq!((kept.objects.new, kept.images.clone()), (0, first.images.clone()));
    let asked = || -> Vec<String> {
        let paths = registry.requests().into_iter().map(|request| request.path);
        paths.filter(|path| image().layers.iter().any(|layer| path.ends_with(&layer.digest))).collect()
    };
    assert_eq!(asked().len(), 2, "the two that are packed: {:?}", asked());
    // Both ways of pulling it again leave it as it is.
    for options in [pulling("x"), keeping("y")] {
        let again = lab.pull_as(&from, &options);
        assert_eq!((again.manifest_stream, again.images), (kept.manifest_stream, first.images.clone()));
    }
    assert_eq!(asked().len(), 2);
    clean(&mut lab);
    // Made anew since the image is gone, it has its blobs still.
    let id = first.images[0].1;
    std::fs::remove_file(lab.path("repo/images").join(id.to_hex())).unwrap();
    lab.pull(&from, "x");
    let pushed = lab.push("x", &lab.at("oci", "l:x"), Packing::AsPulled).unwrap();
    assert_eq!(pushed.copied.manifest, first.manifest);
    clean(&mut lab);
}

#[test]
fn where_there_is_no_blob_none_is_kept() {
    let mut lab = Lab::new();
    lab.layout.image("x", &Image::new([layer(1, 700, Compression::Plain)]));
    let pulled = lab.pull_as(&lab.layout.reference("x"), &keeping("x"));
    let stream = lab.writer.open_stream(&pulled.manifest_stream).unwrap();
    assert_eq!(stream.named_refs().count(), 2, "the config and the layer");
    lab.layout.image("y", &Image::artifact("text/x", [layer(1, 700, Compression::Gzip)]));
    lab.pull_as(&lab.layout.reference("y"), &keeping("y"));
    clean(&mut lab);
}

#[test]
fn an_index_goes_out_as_it_came() {
    let mut lab = Lab::new();
    let images = [("amd64", 1), ("arm64", 2)].map(|(name, seed)| {
        let layers = [layer(seed, 5_000, Compression::Gzip), layer(9, 700, Compression::Zstd)];
        lab.layout.write(&Image::new(layers).platform(name, None))
    });
    let index = lab.layout.index("all", &images);
    lab.pull_as(&lab.layout.reference("all"), &all_platforms("all").blobs(Blobs::Keep));
    clean(&mut lab);
    let options = ExportOptions::default().all(true);
    let pushed = lab.push_as("all", &lab.at("oci", "l:all"), &options).unwrap();
    assert_eq!(pushed.copied.manifest.as_str(), index.digest);
}

#[test]
fn through_debians_registry() {
    let mut lab = Lab::new();
    let Some(registry) = DockerRegistry::start_or_skip(&lab.path(""), Wants::Nothing) else { return };
    lab.have("x", &image());
    let (first, second) = (registry.reference("one/app:v1"), registry.reference("two/app:v1"));
    let there =
        lab.push("x", &first, Packing::Gzip(Some(9))).unwrap_or_else(|error| panic!("{}", chain(&error)));
    let pulled = lab.pull_as(&first, &keeping("kept"));
    assert_eq!(pulled.manifest, there.copied.manifest);
    let pushed = lab.push("kept", &second, Packing::AsPulled).unwrap();
    assert_eq!(pushed.copied.manifest, there.copied.manifest);
    assert_eq!(lab.pull(&second, "back").manifest, there.copied.manifest);
}
