//! A deep check of images: every kind of finding, made by damage.

use std::os::unix::fs::symlink;

use composefs::{
    digest::ObjectId,
    erofs::FormatVersion,
    name::{RefName, StreamName, encode_component},
    progress::{Cancel, Silent},
    repo::check::Remedy as OfRepository,
    splitstream::ContentType,
};
use composefs_oci::{
    boot::create,
    digest::{Digest, ManifestDigest},
    fsck::{self, CheckOptions},
    ident,
    import::streams::DocumentStream,
    pull::Pulled,
    rootfs::RootfsOptions,
    stored::{
        StoredImage,
        check::{Fault, Finding, Level, Remedy, Report, Subject},
        tags,
    },
};
use composefs_testkit::{
    images::{Compression, Image, Layer},
    tars::TarBuilder,
};
use serde_json::json;

use crate::lab::Lab;

fn image_of(contents: u8) -> Image {
    let tar = TarBuilder::new()
        .dir("usr")
        .dir("boot")
        .dir("sysroot")
        .file("boot/vmlinuz", vec![contents; 300])
        .file("usr/file", vec![contents; 400])
        .finish();
    Image::new([Layer::new(tar, Compression::Gzip)])
}

fn report(lab: &Lab) -> Report {
    fsck::check(&lab.writer, None, &CheckOptions::default().deep(true), &Silent).unwrap()
}

/// What a deep check finds that the other does not.
#[track_caller]
fn only_deep(lab: &Lab) -> Vec<Finding> {
    let plain = fsck::check(&lab.writer, None, &CheckOptions::default(), &Silent).unwrap();
    assert_eq!(plain.findings, []);
    report(lab).findings
}

fn kinds(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.fault.kind()).collect()
}

impl Lab {
    /// Gives a document's stream other names, under the same entry.
    fn rename(
        &self,
        entry: StreamName,
        kind: ContentType,
        bytes: &[u8],
        refs: &[(String, ObjectId)],
    ) -> ObjectId {
        let object = self.writer.store_bytes(bytes).unwrap().id;
        let stream =
            DocumentStream { content_type: kind, object, size: bytes.len() as u64, named_refs: refs };
        let id = self.writer.store_bytes(&stream.build(self.writer.algorithm()).unwrap()).unwrap().id;
        let mut commit = self.writer.begin();
        commit.stream(entry, id);
        commit.finish().unwrap();
        id
    }

    /// Has the config and manifest of an image name what `edit` makes of what they name.
    fn edit(&self, pulled: &Pulled, edit: impl Fn(&mut Vec<(String, ObjectId)>)) {
        let image = StoredImage::open(&self.writer, &pulled.manifest).unwrap();
        let mut refs = image.config().refs().to_vec();
        edit(&mut refs);
        let name = ident::config(&pulled.config).unwrap();
        let config = self.rename(name, ContentType::OCI_CONFIG, image.config().bytes(), &refs);
        let mut refs = vec![(ident::config_key(&pulled.config), config)];
        refs.extend(image.config().layers().unwrap().into_iter().map(|(key, id)| (key.to_string(), id)));
        let name = ident::manifest(&pulled.manifest).unwrap();
        self.rename(name, ContentType::OCI_MANIFEST, image.manifest().bytes(), &refs);
    }

    pub(crate) fn stream_ref(&self, name: &str, entry: &str) {
        let mut commit = self.writer.begin();
        commit.stream_ref(RefName::new(name).unwrap(), &StreamName::new(entry).unwrap());
        commit.finish().unwrap();
    }
}

#[test]
fn good_images_of_all_formats_boot_variants_and_seals() {
    for (algorithm, format) in [
        (composefs::digest::Algorithm::Sha256, FormatVersion::V1),
        (composefs::digest::Algorithm::Sha512, FormatVersion::V2),
        (composefs::digest::Algorithm::Sha256, FormatVersion::V0),
    ] {
        let mut lab = Lab::with(algorithm, format);
        let pulled = lab.pull_image("x", &image_of(1)).unwrap();
        create(&lab.writer, &pulled.manifest, format, &RootfsOptions::default()).unwrap();
        lab.pull_image("y", &image_of(2)).unwrap();
        lab.clean();
        assert_eq!(report(&lab).images_checked, 2);
    }
}

#[test]
fn an_image_that_is_not_what_the_layers_give() {
    let mut lab = Lab::new();
    let (one, two) =
        (lab.pull_image("one", &image_of(1)).unwrap(), lab.pull_image("two", &image_of(2)).unwrap());
    let (good, other) = (one.images[0].1, two.images[0].1);
    lab.edit(&one, |refs| {
        for (_, id) in refs.iter_mut().filter(|(key, _)| ident::is_image_key(key)) {
            *id = other;
        }
    });
    let found = only_deep(&lab);
    let key = ident::image_key(FormatVersion::V1).to_owned();
    let fault = Fault::ImageIdMismatch { key, recorded: other, actual: good };
    assert_eq!(found, [Finding::new(Subject::Tag("one".to_owned()), Some(one.manifest), fault)]);
    assert_eq!(found[0].remedy, Remedy::Repository(OfRepository::Repair));
    assert_eq!(report(&lab).images_corrupted, 1);
}

#[test]
fn an_image_that_is_gone() {
    let mut lab = Lab::new();
    let pulled = lab.pull_image("x", &image_of(1)).unwrap();
    let id = pulled.images[0].1;
    std::fs::remove_file(lab.repo().join("images").join(id.to_hex())).unwrap();
    let found = only_deep(&lab);
    let key = ident::image_key(FormatVersion::V1).to_owned();
    assert_eq!(found[0].fault, Fault::ImageMissing { key, id });
    assert_eq!(found.len(), 1);
}

#[test]
fn a_boot_image_of_layers_that_cannot_boot() {
    let mut lab = Lab::new();
    let tar = TarBuilder::new().dir("usr").file("usr/file", vec![1; 400]).finish();
    let pulled = lab.pull_image("x", &Image::new([Layer::new(tar, Compression::Gzip)])).unwrap();
    let id = pulled.images[0].1;
    lab.edit(&pulled, |refs| refs.push((ident::boot_image_key(FormatVersion::V1).to_owned(), id)));
    let found = only_deep(&lab);
    assert_eq!(kinds(&found), ["image-check-failed"], "{found:?}");
    assert_eq!(found[0].level, Level::Error);
}

#[test]
fn two_routes_to_one_layer() {
    let mut lab = Lab::new();
    let pulled = lab.pull_image("x", &image_of(1)).unwrap();
    let other = lab.pull_image("y", &image_of(2)).unwrap();
    let stored = |digest: &ManifestDigest| StoredImage::open(&lab.writer, digest).unwrap();
    let (image, other) = (stored(&pulled.manifest), stored(&other.manifest));
    let (diff_id, good) = image.config().layers().unwrap()[0].clone();
    let bad = other.config().layers().unwrap()[0].1;
    let config = (ident::config_key(&pulled.config), *image.config().stream());
    let name = ident::manifest(&pulled.manifest).unwrap();
    let refs = [config.clone(), (diff_id.to_string(), bad)];
    lab.rename(name.clone(), ContentType::OCI_MANIFEST, image.manifest().bytes(), &refs);
    let found = only_deep(&lab);
    let fault = Fault::LayerRouteMismatch { diff_id: diff_id.clone(), manifest: Some(bad), config: good };
    assert_eq!(found.iter().map(|finding| &finding.fault).collect::<Vec<_>>(), [&fault]);
    lab.rename(name, ContentType::OCI_MANIFEST, image.manifest().bytes(), &[config]);
    let fault = Fault::LayerRouteMismatch { diff_id, manifest: None, config: good };
    assert_eq!(only_deep(&lab)[0].fault, fault);
}

#[test]
fn a_seal_of_another_image() {
    let mut lab = Lab::new();
    let other = lab.pull_image("y", &image_of(2)).unwrap().images[0].1;
    let sealed = image_of(1).config("Labels", json!({"containers.composefs.fsverity": other.to_hex()}));
    let pulled = lab.pull_image("x", &sealed).unwrap();
    let found = only_deep(&lab);
    let actual = pulled.images[0].1;
    let fault = Fault::SealImageMismatch { config: pulled.config, label: other, actual };
    assert_eq!(found.iter().map(|finding| &finding.fault).collect::<Vec<_>>(), [&fault]);
}

#[test]
fn a_seal_in_the_manifest_that_is_wrong() {
    let key = "composefs.merged.erofs.v1.fsverity-sha256-12";
    let right = Lab::new().pull_image("x", &image_of(1)).unwrap().images[0].1.to_hex();
    let wrong = "0".repeat(64);
    for (value, kind) in [
        (wrong.as_str(), "seal-digest-mismatch"),
        (&right.to_uppercase(), "seal-unusable"),
        ("", "seal-unusable"),
    ] {
        let mut lab = Lab::new();
        lab.pull_image("x", &image_of(1).manifest("annotations", json!({key: value}))).unwrap();
        let found = only_deep(&lab);
        assert_eq!(kinds(&found), [kind], "{found:?}");
        assert_eq!((found[0].level, &found[0].remedy), (Level::Error, &Remedy::OtherImage));
    }
}

#[test]
fn indexes_beside_tags() {
    let mut lab = Lab::new();
    let pulled = lab.pull_image("x", &image_of(1)).unwrap();
    let other = lab.pull_image("y", &image_of(2)).unwrap();
    let descriptor = |digest: &ManifestDigest| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1}}"#
        )
    };
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, descriptor(&pulled.manifest));
    let digest = Digest::sha256(index.as_bytes());
    let name = ident::index(&digest).unwrap();
    let key = ident::manifest_key(&pulled.manifest);
    let store = |bytes: &str, refs: &[(String, ObjectId)]| {
        lab.rename(name.clone(), ContentType::OCI_INDEX, bytes.as_bytes(), refs);
        lab.stream_ref("x-oci-index/x", name.as_str());
    };
    store(&index, &[(key.clone(), pulled.manifest_stream)]);
    assert_eq!(report(&lab).findings, []);

    let absent = composefs::digest::object_id_of(lab.writer.algorithm(), b"absent");
    store(&index, &[(key.clone(), absent)]);
    assert_eq!(kinds(&only_deep(&lab)), ["index-manifest-missing"]);
    store(&index, &[(key.clone(), other.manifest_stream)]);
    assert_eq!(kinds(&only_deep(&lab)), ["index-manifest-mismatch"]);
    let strange = (ident::manifest_key(&other.manifest), other.manifest_stream);
    store(&index, &[(key.clone(), pulled.manifest_stream), strange]);
    assert_eq!(kinds(&only_deep(&lab)), ["index-manifest-mismatch"]);
    store("other bytes", &[]);
    assert_eq!(kinds(&only_deep(&lab)), ["index-digest-mismatch"]);

    let nonsense = Digest::sha256(b"[");
    lab.rename(ident::index(&nonsense).unwrap(), ContentType::OCI_INDEX, b"[", &[]);
    lab.stream_ref("x-oci-index/x", ident::index(&nonsense).unwrap().as_str());
    assert_eq!(kinds(&only_deep(&lab)), ["index-parse-failed"]);
    // One that does not list the tag's image, and one that leads nowhere.
    let bytes = index.replace(pulled.manifest.as_str(), other.manifest.as_str());
    let moved = ident::index(&Digest::sha256(bytes.as_bytes())).unwrap();
    lab.rename(moved.clone(), ContentType::OCI_INDEX, bytes.as_bytes(), &[]);
    lab.stream_ref("x-oci-index/x", moved.as_str());
    assert_eq!(kinds(&only_deep(&lab)), ["index-read-failed"]);
    std::fs::remove_file(lab.repo().join("streams").join(moved.as_str())).unwrap();
    assert_eq!(kinds(&only_deep(&lab)), ["index-read-failed"]);
}

#[test]
fn what_is_kept_for_images_that_are_gone() {
    let mut lab = Lab::new();
    let pulled = lab.pull_image("x", &image_of(1)).unwrap();
    let other = lab.pull_image("y", &image_of(2)).unwrap().manifest;
    let entry = ident::manifest(&pulled.manifest).unwrap();
    let here = pulled.manifest.clone();
    let gone = ManifestDigest::new(Digest::sha256(b"gone"));
    let referrer = |subject: &ManifestDigest, artifact: &ManifestDigest| {
        lab.stream_ref(ident::referrer(subject, artifact).unwrap().as_str(), entry.as_str());
    };
    referrer(&here, &here);
    assert_eq!(report(&lab).findings, []);
    // What has a tag needs no subject.
    referrer(&gone, &here);
    assert_eq!(report(&lab).findings, []);
    lab.stream_ref(
        ident::referrer(&gone, &other).unwrap().as_str(),
        ident::manifest(&other).unwrap().as_str(),
    );
    tags::remove(&lab.writer, "y").unwrap();
    referrer(&here, &gone);
    let index = ident::index(&Digest::sha256(b"index")).unwrap();
    std::fs::create_dir_all(lab.repo().join("streams/refs/x-oci-index")).unwrap();
    symlink(
        format!("../../{index}"),
        lab.repo().join("streams/refs/x-oci-index").join(encode_component("a/b")),
    )
    .unwrap();
    let found = report(&lab);
    assert!(found.is_ok(), "these are warnings");
    let mut kinds = kinds(&found.findings);
    kinds.sort_unstable();
    assert_eq!(kinds, ["orphan-index", "orphan-referrer", "referrer-mismatch"]);
    for finding in &found.findings {
        let command = finding.remedy.command(&["cfsctl".to_owned()], &lab.repo()).unwrap();
        match &finding.subject {
            Subject::Tag(tag) => assert_eq!(command, ["cfsctl", "oci", "untag", "--", tag.as_str()]),
            _ if finding.fault.kind() == "orphan-referrer" => assert_eq!(command.last().unwrap(), "gc"),
            _ => {
                let path = std::path::Path::new(command.last().unwrap());
                assert!(path.is_symlink() && command[0] == "rm", "{command:?}");
            }
        }
    }
    // Of one image, what belongs to others is not looked at.
    let options = CheckOptions::default().deep(true);
    assert_eq!(fsck::check(&lab.writer, Some("x"), &options, &Silent).unwrap().findings, []);
}

#[test]
fn stopped_is_not_well() {
    let mut lab = Lab::new();
    lab.pull_image("x", &image_of(1)).unwrap();
    let cancel = Cancel::default();
    cancel.cancel();
    let options = CheckOptions::default().deep(true).cancel(cancel);
    let report = fsck::check(&lab.writer, None, &options, &Silent).unwrap();
    assert!(report.stopped && !report.is_ok());
    assert_eq!(report.images_checked, 0);
}
