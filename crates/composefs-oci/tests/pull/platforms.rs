//! All images of an index: one unpacked, the others as they are shipped.

use std::fs;

use composefs::{
    error::Category,
    progress::Silent,
    repo::{GcOptions, GcPlan, Wait},
};
use composefs_oci::{
    Error, ident,
    model::platform::Platform,
    pull::{Platforms, PullOptions, Pulled},
    stored::{StoredImage, indexes::StoredIndex, tags},
};
use composefs_testkit::images::{Compression, Image, Layer, Written};
use serde_json::json;

use crate::lab::{Heard, Lab, layer};

/// An index of two platforms that share a layer, and an attestation.
struct Multi {
    lab: Lab,
    shared: Layer,
    foreign: Layer,
    images: Vec<Written>,
}

impl Multi {
    fn new() -> Self {
        let mut lab = Lab::new();
        let shared = layer(1, 50_000, Compression::Gzip);
        let foreign = layer(3, 3_000, Compression::Zstd);
        let statement = Layer::packed(b"{}".to_vec(), b"{\"a\":1}".to_vec(), "application/vnd.in-toto+json");
        let images = vec![
            lab.layout.write(
                &Image::new([shared.clone(), layer(2, 2_000, Compression::Gzip)]).platform("amd64", None),
            ),
            lab.layout.write(&Image::new([shared.clone(), foreign.clone()]).platform("arm64", Some("v8"))),
            lab.layout
                .write(&Image::new([statement]).platform("unknown", None).config("os", json!("unknown"))),
        ];
        lab.layout.index("multi", &images);
        Self { lab, shared, foreign, images }
    }

    fn pull(&self, tag: &str, platform: &str, platforms: Platforms, heard: &Heard) -> Result<Pulled, Error> {
        let platform: Platform = platform.parse().unwrap();
        let options = PullOptions::default().tag(tag).platform(platform).platforms(platforms);
        self.lab.pull_as(&self.lab.layout.reference("multi"), &options, heard)
    }

    fn all(&self, tag: &str) -> Pulled {
        self.pull(tag, "linux/amd64", Platforms::All, &Heard::default()).unwrap()
    }

    fn object_bytes(&self, stream: &str) -> Vec<u8> {
        let id = self.lab.writer.entry(Category::Streams, stream).unwrap().unwrap();
        let object = self.lab.writer.open_stream(&id).unwrap().only_object().unwrap();
        self.lab.writer.read_object(&object, 1 << 20).unwrap()
    }

    fn collect(&mut self) {
        self.lab.reopen();
        let plan = GcPlan::new(&self.lab.writer, &GcOptions::default()).unwrap();
        assert!(plan.is_complete(), "{:?}", plan.unreadable);
        let repo = composefs::repo::Repository::open(
            rustix::fs::CWD,
            self.lab.repo(),
            &composefs::repo::OpenOptions::default(),
        )
        .unwrap();
        // The lab's own lock would be waited for.
        let path = self.lab.path().join("away");
        let away = composefs::repo::InitOptions::new(composefs::digest::Algorithm::Sha256).insecure(true);
        let _ = composefs::repo::init(rustix::fs::CWD, &path, &away);
        self.lab.writer = composefs::repo::Repository::open(
            rustix::fs::CWD,
            &path,
            &composefs::repo::OpenOptions::default(),
        )
        .unwrap()
        .into_writer()
        .unwrap();
        plan.apply(&repo.sweeper(Wait::Forever).unwrap(), &Silent).unwrap();
        self.lab.reopen();
    }
}

#[test]
fn others_are_kept_as_they_are_shipped() {
    let mut multi = Multi::new();
    let heard = Heard::default();
    let pulled = multi.pull("m", "linux/amd64", Platforms::All, &heard).unwrap();
    assert_eq!(pulled.manifest.as_str(), multi.images[0].manifest.digest);
    assert_eq!(tags::resolve(&multi.lab.writer, "m").unwrap(), pulled.manifest);
    // The layer of both platforms came once, and was unpacked from the copy here.
    assert_eq!(heard.starting(&format!("begin layer {}", multi.shared.digest)).len(), 1);
    assert_eq!(heard.starting(&format!("begin unpack {}", multi.shared.digest)).len(), 1);

    for _ in 0..2 {
        let streams = multi.lab.streams();
        let index = StoredIndex::of_tag(&multi.lab.writer, "m").unwrap().unwrap();
        assert_eq!(Some(index.digest()), pulled.index.as_ref());
        let kept: Vec<&str> = index.manifests().iter().map(|(digest, _)| digest.as_str()).collect();
        let mut wanted: Vec<&str> =
            multi.images.iter().map(|written| written.manifest.digest.as_str()).collect();
        wanted.sort_unstable();
        assert_eq!(kept, wanted);
        for (digest, stream) in index.manifests() {
            let image = StoredImage::open(&multi.lab.writer, digest).unwrap();
            assert_eq!(image.manifest_stream(), stream);
        }
        for layer in [&multi.shared, &multi.foreign] {
            assert_eq!(multi.object_bytes(&format!("oci-blob-{}", layer.digest)), layer.blob);
        }
        assert!(!streams.contains(&format!("oci-layer-{}", multi.foreign.diff_id)));
        let config = fs::read(multi.lab.layout.blob_path(&multi.images[1].config.digest)).unwrap();
        assert_eq!(multi.object_bytes(&format!("oci-blob-{}", multi.images[1].config.digest)), config);
        // 0.9 would take the config of an image for one whose layers are unpacked.
        assert!(streams.contains(&format!("oci-config-{}", multi.images[0].config.digest)));
        assert!(!streams.contains(&format!("oci-config-{}", multi.images[1].config.digest)));
        multi.lab.clean();
        // And once more after a collection, which has nothing to take.
        multi.collect();
        assert_eq!(multi.lab.streams(), streams);
    }

    // Again: nothing comes, nothing changes.
    let again = Heard::default();
    multi.pull("m", "linux/amd64", Platforms::All, &again).unwrap();
    assert_eq!(again.starting("begin"), [""; 0]);
}

#[test]
fn a_platform_is_unpacked_from_what_is_here() {
    let mut multi = Multi::new();
    multi.all("m");
    for layer in [&multi.shared, &multi.foreign] {
        multi.lab.layout.remove(&layer.digest);
    }
    multi.lab.layout.remove(&multi.images[1].config.digest);
    let heard = Heard::default();
    let arm = multi.pull("arm", "linux/arm64", Platforms::One, &heard).unwrap();
    assert_eq!(arm.manifest.as_str(), multi.images[1].manifest.digest);
    assert_eq!(heard.starting("begin layer"), [""; 0]);
    assert_eq!(heard.starting("begin unpack").len(), 1);
    assert!(multi.lab.paths(&arm).contains(&"/usr/file3".to_owned()));
    multi.lab.clean();
    multi.collect();
    multi.lab.clean();
    assert_eq!(multi.object_bytes(&format!("oci-blob-{}", multi.foreign.digest)), multi.foreign.blob);
    // The index has nothing to say about what is unpacked since.
    let again = Heard::default();
    multi.pull("m", "linux/amd64", Platforms::All, &again).unwrap();
    assert_eq!(again.starting("begin"), [""; 0]);
    StoredImage::open_tag(&multi.lab.writer, "arm").unwrap().config().layers().unwrap();
}

#[test]
fn a_damaged_copy_is_fetched_again() {
    let multi = Multi::new();
    multi.all("m");
    let blob = format!("oci-blob-{}", multi.foreign.digest);
    let id = multi.lab.writer.entry(Category::Streams, &blob).unwrap().unwrap();
    let object = multi.lab.writer.open_stream(&id).unwrap().only_object().unwrap();
    let path = multi.lab.object_path(&object);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let heard = Heard::default();
    multi.pull("arm", "linux/arm64", Platforms::One, &heard).unwrap();
    assert_eq!(heard.starting("warning").len(), 1, "{:?}", heard.starting("warning"));
    assert_eq!(heard.starting("begin layer"), [format!("begin layer {}", multi.foreign.digest)]);
}

#[test]
fn a_tag_that_leaves_takes_the_index_along() {
    let mut multi = Multi::new();
    multi.all("m");
    let index = |lab: &Lab, tag: &str| {
        lab.writer.read_ref(Category::Streams, &ident::index_of_tag(tag).unwrap()).unwrap()
    };
    assert!(index(&multi.lab, "m").is_some());
    // Another image of the index may have the name.
    multi.pull("m", "linux/arm64", Platforms::One, &Heard::default()).unwrap();
    assert!(index(&multi.lab, "m").is_some());
    multi.lab.layout.image("x", &Image::new([layer(9, 10, Compression::Plain)]));
    let reference = multi.lab.layout.reference("x");
    multi.lab.pull_as(&reference, &PullOptions::default().tag("m"), &Silent).unwrap();
    assert!(index(&multi.lab, "m").is_none());

    multi.all("m");
    tags::remove(&multi.lab.writer, "m").unwrap();
    assert!(index(&multi.lab, "m").is_none());
    // Another program removes the tag alone.
    multi.all("m");
    fs::remove_file(multi.lab.repo().join("streams/refs/oci/m")).unwrap();
    tags::remove(&multi.lab.writer, "m").unwrap();
    assert!(matches!(tags::remove(&multi.lab.writer, "m"), Err(Error::NotFound(_))));
    multi.collect();
    let left: Vec<String> =
        multi.lab.streams().into_iter().filter(|name| name.starts_with("oci-blob")).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_single_image_has_no_index() {
    let mut lab = Lab::new();
    lab.layout.image("x", &Image::new([layer(1, 10, Compression::Plain)]));
    let heard = Heard::default();
    let options = PullOptions::default().tag("x").platforms(Platforms::All);
    let pulled = lab.pull_as(&lab.layout.reference("x"), &options, &heard).unwrap();
    assert_eq!(pulled.index, None);
    assert_eq!(heard.starting("warning").len(), 1);
}

#[test]
fn a_blob_that_lies_is_not_kept() {
    let multi = Multi::new();
    multi.lab.layout.damage(&multi.foreign.digest, |bytes| bytes[9] ^= 1);
    let error = multi.pull("m", "linux/amd64", Platforms::All, &Heard::default()).unwrap_err();
    assert!(matches!(error, Error::BlobMismatch { .. }), "{error:?}");
    assert!(multi.lab.tags().is_empty());
    let streams = multi.lab.streams();
    assert!(!streams.contains(&format!("oci-blob-{}", multi.foreign.digest)), "{streams:?}");
    assert!(streams.iter().all(|name| name.starts_with("oci-blob-")), "{streams:?}");
    multi.lab.clean();
}
