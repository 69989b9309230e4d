//! Artifacts about an image: kept for as long as it is, and what is said of that.

use std::os::unix::fs::symlink;

use composefs::{
    error::Category,
    progress::Silent,
    repo::{GcOptions, GcPlan, GcReport, OpenOptions, Repository, Wait},
};
use composefs_oci::{
    digest::{Digest, ManifestDigest},
    fsck, ident,
    pull::PullOptions,
    stored::{referrers, tags},
    usage::{Holder, measure},
};
use composefs_testkit::images::{Compression, Image, Layer, MANIFEST};
use rustix::fs::CWD;
use serde_json::json;

use crate::lab::{Lab, layer, noise};

/// An artifact about a manifest, with contents of its own.
fn about(subject: &ManifestDigest, seed: u64) -> Image {
    let contents = noise(seed, 30_000);
    let blob = Layer::packed(contents.clone(), contents, "application/vnd.example.signature");
    let descriptor = json!({"mediaType": MANIFEST, "digest": subject.as_str(), "size": 1});
    Image::artifact("application/vnd.example", [blob]).manifest("subject", descriptor)
}

/// A repository with an image, a signature of it, one of that, and another image.
struct Store {
    lab: Lab,
    image: ManifestDigest,
    signature: ManifestDigest,
    signed: ManifestDigest,
}

impl Store {
    fn new() -> Self {
        let mut lab = Lab::new();
        let image = lab.pull_image("image", &Image::new([layer(1, 40_000, Compression::Gzip)])).unwrap();
        let other = lab.pull_image("other", &Image::new([layer(2, 50_000, Compression::Gzip)])).unwrap();
        let mut artifact = |name: &str, subject: &ManifestDigest, seed| {
            lab.layout.image(name, &about(subject, seed));
            let reference = lab.layout.reference(name);
            lab.pull_as(&reference, &PullOptions::default(), &Silent).unwrap().manifest
        };
        let signature = artifact("signature", &image.manifest, 3);
        let signed = artifact("signed", &signature, 4);
        artifact("of-other", &other.manifest, 5);
        Self { lab, image: image.manifest, signature, signed }
    }

    fn repository(&self) -> Repository {
        self.lab.writer.repository().clone()
    }

    fn plan(&self) -> GcPlan {
        GcPlan::new(&self.repository(), &GcOptions::default()).unwrap()
    }

    fn apply(&mut self, plan: GcPlan) -> GcReport {
        let repo = self.lab.repo();
        let other = Lab::new();
        drop(std::mem::replace(&mut self.lab.writer, other.writer.clone()));
        let repository = Repository::open(CWD, &repo, &OpenOptions::default()).unwrap();
        let report = plan.apply(&repository.sweeper(Wait::Forever).unwrap(), &Silent).unwrap();
        drop(repository);
        self.lab.reopen();
        report
    }

    fn collect(&mut self) -> GcReport {
        let plan = self.plan();
        self.apply(plan)
    }

    fn refs(&self) -> usize {
        self.lab.writer.refs(Category::Streams, ident::REFERRERS).unwrap().len()
    }

    fn has(&self, manifest: &ManifestDigest) -> bool {
        self.lab.writer.stream_entry(&ident::manifest(manifest).unwrap()).unwrap().is_some()
    }

    fn kinds(&self) -> Vec<&'static str> {
        let report = fsck::check(&self.lab.writer, None, &fsck::CheckOptions::default(), &Silent).unwrap();
        report.findings.iter().map(|finding| finding.fault.kind()).collect()
    }

    fn untag(&self, tag: &str) {
        tags::remove(&self.lab.writer, tag).unwrap();
    }
}

#[test]
fn they_go_with_what_they_are_about() {
    let mut store = Store::new();
    let report = store.collect();
    assert_eq!((report.objects_removed, report.referrers_removed, store.refs()), (0, 0, 3));
    let usage = measure(&store.lab.writer).unwrap();
    let row = |holder: &Holder| {
        usage.images().iter().find(|image| image.holder == *holder).unwrap().share.own.bytes
    };
    let freed = usage.freed_without(&["image".to_owned()]);
    // The artifacts go with the image, and with each other in one direction.
    assert_eq!(row(&Holder::Tagged(store.image.clone())), freed.bytes);
    let (signature, signed) =
        (row(&Holder::Referrer(store.signature.clone())), row(&Holder::Referrer(store.signed.clone())));
    assert!(signed > 30_000 && signature > signed + 30_000 && freed.bytes > signature + 40_000);
    assert_eq!(usage.totals().garbage.objects, 0);

    store.untag("image");
    let usage = measure(&store.lab.writer).unwrap();
    assert_eq!(usage.totals().garbage.bytes, freed.bytes);
    assert!(usage.images().iter().any(|image| image.holder == Holder::Untagged(store.signature.clone())));
    let plan = store.plan();
    assert_eq!((plan.bytes(), plan.names.referrers.len()), (freed.bytes, 2));
    assert_eq!(plan.to_string().lines().last(), Some("Referrers: 2 removed, whose subject is not kept"));
    assert!(plan.names.referrers[0].starts_with("streams/refs/oci-referrers/sha256:"));
    let report = store.apply(plan);
    assert_eq!((report.bytes, report.referrers_removed, store.refs()), (freed.bytes, 2, 1));
    assert!(![&store.image, &store.signature, &store.signed].into_iter().any(|gone| store.has(gone)));
    store.lab.clean();
    assert_eq!(store.kinds(), [""; 0]);
}

#[test]
fn a_tag_of_its_own_keeps_an_artifact_and_its_place() {
    let mut store = Store::new();
    tags::set(&store.lab.writer, "kept", &store.signature).unwrap();
    store.untag("image");
    let freed = measure(&store.lab.writer).unwrap().totals().garbage.bytes;
    let report = store.collect();
    assert_eq!((report.bytes, report.referrers_removed), (freed, 0));
    assert!(!store.has(&store.image) && store.has(&store.signature) && store.has(&store.signed));
    // The image is gone, the signature is not: nothing is wrong with that.
    assert_eq!(store.kinds(), [""; 0]);
    store.lab.pull("image").unwrap();
    assert_eq!(referrers::list(&store.lab.writer, &store.image).unwrap(), [store.signature.clone()]);
    store.untag("image");
    let freed = measure(&store.lab.writer).unwrap().freed_without(&["kept".to_owned()]);
    store.untag("kept");
    let garbage = measure(&store.lab.writer).unwrap().totals().garbage.bytes;
    let report = store.collect();
    assert!(freed.bytes < garbage, "the image itself was garbage already");
    assert_eq!((report.bytes, report.referrers_removed, store.refs()), (garbage, 2, 1));
    store.lab.clean();
}

#[test]
fn what_is_tagged_between_plan_and_sweep_stays() {
    let mut store = Store::new();
    store.untag("image");
    let plan = store.plan();
    assert_eq!(plan.names.referrers.len(), 2);
    tags::set(&store.lab.writer, "again", &store.image).unwrap();
    let report = store.apply(plan);
    assert_eq!((report.objects_removed, report.referrers_removed, store.refs()), (0, 0, 3));
    store.lab.clean();
}

#[test]
fn an_index_is_a_subject_and_other_refs_are_left_alone() {
    let mut store = Store::new();
    let streams = store.lab.repo().join("streams");
    let index = Digest::sha256(b"index");
    let entry = std::fs::read_link(streams.join(ident::manifest(&store.image).unwrap().as_str())).unwrap();
    symlink(entry, streams.join(ident::index(&index).unwrap().as_str())).unwrap();
    let of_index = ident::referrer(&ManifestDigest::new(index.clone()), &store.signed).unwrap();
    store.lab.stream_ref(of_index.as_str(), ident::manifest(&store.signed).unwrap().as_str());
    store.lab.stream_ref("x-oci-index/image", ident::index(&index).unwrap().as_str());
    // Leads to another than it says: nobody knows what it is for.
    let odd = ident::referrer(&ManifestDigest::new(Digest::sha256(b"gone")), &store.image).unwrap();
    store.lab.stream_ref(odd.as_str(), ident::manifest(&store.signature).unwrap().as_str());
    store.untag("other");
    let report = store.collect();
    assert_eq!((report.referrers_removed, store.refs()), (1, 4));
    assert!(store.has(&store.signature) && store.has(&store.signed));
}

#[test]
fn damage_keeps_them_until_it_is_mended() {
    let mut store = Store::new();
    let manifest =
        *store.lab.writer.stream_entry(&ident::manifest(&store.image).unwrap()).unwrap().as_ref().unwrap();
    let path = store.lab.object_path(&manifest);
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, "nonsense").unwrap();
    // Its tag is there, so it is, and what it needs is not known.
    let report = store.collect();
    assert_eq!((report.objects_removed, report.referrers_removed, report.unreadable.len()), (0, 0, 1));
    store.untag("image");
    std::fs::write(&path, good).unwrap();
    let report = store.collect();
    assert_eq!((report.referrers_removed, report.unreadable.len()), (2, 0));
    store.lab.clean();
}

#[test]
fn a_repair_removes_the_name_of_a_damaged_one_before_it() {
    let mut store = Store::new();
    store.untag("image");
    let signed =
        *store.lab.writer.stream_entry(&ident::manifest(&store.signed).unwrap()).unwrap().as_ref().unwrap();
    std::fs::write(store.lab.object_path(&signed), "nonsense").unwrap();
    let repo = store.lab.repo();
    let other = Lab::new();
    drop(std::mem::replace(&mut store.lab.writer, other.writer.clone()));
    let repository = Repository::open(CWD, &repo, &OpenOptions::default()).unwrap();
    let damaged = std::iter::once(signed).collect();
    let discarded = repository.sweeper(Wait::Forever).unwrap().discard(&damaged, &Silent).unwrap();
    drop(repository);
    store.lab.reopen();
    assert!(discarded.paths[0].starts_with("streams/refs/oci-referrers/"), "{:?}", discarded.paths);
    assert_eq!((discarded.paths.len(), store.refs()), (3, 2));
    assert_eq!(
        store.lab.writer.check(&composefs::repo::CheckOptions::default(), &Silent).unwrap().findings,
        []
    );
}
