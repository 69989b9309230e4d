//! What an image can be beside a container of one tag: shared layers, artifacts, indexes, boot images, streams of others.

use composefs::progress::Silent;
use composefs_oci::{
    pull::{Platforms, PullOptions},
    repair::{RepairOptions, Sources},
};
use composefs_testkit::images::{Compression, Image};

use crate::lab::{Harm, LAYER, Lab, harm, layer, nothing, open, three_layers};

/// Harms every object, one after the other.
fn each_object(lab: &Lab, how: Harm) {
    let whole = lab.state();
    let sources = Sources::new(&open);
    for path in whole.keys().filter(|path| path.starts_with("objects/")) {
        assert!(harm(&lab.path("repo").join(path), how));
        let report = lab.repair(&sources, &RepairOptions::default());
        assert!(report.is_ok(), "{path} {how:?}: {report:?}");
        assert!(lab.state() == whole, "{path} {how:?} is not as it was: {report:?}");
    }
    for path in whole.keys().filter(|path| !path.starts_with("objects/") && !path.contains("refs/")) {
        let full = lab.path("repo").join(path);
        if full.symlink_metadata().unwrap().is_symlink() {
            std::fs::remove_file(full).unwrap();
            let report = lab.repair(&sources, &RepairOptions::default());
            assert!(report.is_ok(), "{path}: {report:?}");
            assert!(lab.state() == whole, "{path} is not as it was: {report:?}");
        }
    }
    lab.clean();
}

#[test]
fn two_images_that_share_a_layer() {
    let mut lab = Lab::new();
    let layers = three_layers();
    lab.pull("one", &Image::new(layers.clone()));
    lab.pull("two", &Image::new([layers[0].clone(), layer(4, 900, Compression::Gzip)]));
    each_object(&lab, Harm::Flip);
}

#[test]
fn an_artifact() {
    let mut lab = Lab::new();
    lab.pull("x", &Image::artifact("application/x.test", [layer(5, 3_000, Compression::Gzip)]));
    each_object(&lab, Harm::Delete);
    each_object(&lab, Harm::Cut);
}

#[test]
fn an_index_with_all_its_images() {
    let mut lab = Lab::new();
    let here = lab.layout.image("here", &Image::new([layer(1, 3_000, Compression::Gzip)]));
    let there = Image::new([layer(2, 3_000, Compression::Zstd)]).platform("s390x", None);
    let there = lab.layout.image("there", &there);
    lab.layout.index("both", &[here, there]);
    lab.pull_into("repo", "both", PullOptions::default().platforms(Platforms::All));
    each_object(&lab, Harm::Delete);
    each_object(&lab, Harm::Flip);
}

#[test]
fn an_image_that_is_unpacked_and_kept_as_it_was_shipped() {
    let mut lab = Lab::new();
    let here = lab.layout.image("here", &Image::new([layer(1, 3_000, Compression::Gzip)]));
    let elsewhere = Image::new([layer(2, 3_000, Compression::Zstd), layer(3, 200, Compression::Plain)]);
    let there = lab.layout.image("there", &elsewhere.platform("s390x", None));
    lab.layout.index("both", &[here, there]);
    let all = || PullOptions::default().platforms(Platforms::All);
    lab.pull_into("repo", "both", all());
    let platform: composefs_oci::model::platform::Platform = "linux/s390x".parse().unwrap();
    lab.pull_into("repo", "both", PullOptions::default().platform(platform));
    lab.pull_into("repo", "here", PullOptions::default());
    lab.clean();
    let objects = lab.state();
    for path in objects.keys().filter(|path| path.starts_with("objects/")) {
        // Of the copy as it was shipped nothing may be needed any more: then it goes.
        if !lab.path("repo").join(path).exists() {
            continue;
        }
        harm(&lab.path("repo").join(path), Harm::Delete);
        let report = lab.repair(&Sources::new(&open), &RepairOptions::default());
        assert!(report.is_ok(), "{path}: {report:?}");
        lab.clean();
    }
}

#[test]
fn everything_lost_but_the_tag() {
    let mut lab = Lab::new();
    let layers = three_layers();
    lab.pull("one", &Image::new(layers.clone()));
    let whole = lab.state();
    for path in whole.keys() {
        if !path.contains("refs/") && !path.starts_with(".cfs") && path != "meta.json" {
            std::fs::remove_file(lab.path("repo").join(path)).unwrap();
        }
    }
    let report = lab.repair(&Sources::new(&open), &RepairOptions::default());
    assert!(report.is_ok(), "{report:?}");
    assert!(lab.state() == whole);
    lab.clean();
}

#[test]
fn what_nothing_needs_is_removed_and_what_is_good_is_not() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let pulled = lab.pull("x", &Image::new(layers.clone()));
    let (_, stream) =
        lab.parts(&pulled, "x", &layers[0]).into_iter().find(|(what, _)| *what == LAYER).unwrap();
    let writer = lab.writer();
    let garbage = writer.store_bytes(&[7; 100]).unwrap().id;
    let good = writer.store_bytes(&[8; 100]).unwrap().id;
    drop(writer);
    harm(&lab.object(&garbage), Harm::Flip);
    let inode = |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
    let before = inode(&stream);
    let report = lab.repair(&Sources::new(&nothing), &RepairOptions::default());
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(report.discarded.len(), 1);
    assert!(!lab.object(&garbage).exists() && lab.object(&good).exists());
    assert_eq!(inode(&stream), before);
    lab.clean();
}

#[test]
fn a_layer_that_is_not_what_its_name_promises() {
    let mut lab = Lab::new();
    let layers = three_layers();
    lab.pull("x", &Image::new(layers.clone()));
    let whole = lab.state();
    // As other tools let it happen: the name of one layer, the contents of another.
    let streams = lab.path("repo/streams");
    let entry = |at: usize| streams.join(format!("oci-layer-{}", layers[at].diff_id));
    let other = std::fs::read_link(entry(1)).unwrap();
    std::fs::remove_file(entry(0)).unwrap();
    std::os::unix::fs::symlink(other, entry(0)).unwrap();
    assert!(!lab.findings().is_empty());
    let report = lab.repair(&Sources::new(&nothing), &RepairOptions::default().deep(true));
    assert!(report.is_ok(), "{report:?}");
    lab.clean();
    assert!(lab.state() == whole);
}

#[test]
fn one_image_of_two() {
    let mut lab = Lab::new();
    let one = lab.pull("one", &Image::new([layer(1, 3_000, Compression::Gzip)]));
    let two = lab.pull("two", &Image::new([layer(2, 3_000, Compression::Gzip)]));
    for pulled in [&one, &two] {
        harm(&lab.object(&pulled.images[0].1), Harm::Flip);
    }
    let options = RepairOptions::default().name("one".parse().unwrap());
    assert!(lab.repair(&Sources::new(&nothing), &options).is_ok());
    let findings = lab.findings();
    assert!(!findings.is_empty());
    assert!(findings.iter().all(|finding| !finding.contains(&one.images[0].1.object_path())), "{findings:?}");
    assert!(lab.repair(&Sources::new(&nothing), &RepairOptions::default()).is_ok());
    lab.clean();
}

#[test]
fn it_stops_when_asked_and_goes_on() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let pulled = lab.pull("x", &Image::new(layers.clone()));
    let (_, file) = lab.parts(&pulled, "x", &layers[0]).remove(0);
    harm(&file, Harm::Delete);
    let options = RepairOptions::default();
    let sources = Sources::new(&open);
    let writer = lab.writer();
    let plan = composefs_oci::repair::RepairPlan::new(&writer, &sources, &options, &Silent).unwrap();
    options.cancel.cancel();
    let error = plan.apply(writer, &Silent).unwrap_err();
    assert!(matches!(error, composefs_oci::Error::Cancelled { .. }), "{error}");
    assert!(lab.repair(&sources, &RepairOptions::default()).is_ok());
    lab.clean();
}
