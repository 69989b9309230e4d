//! Each part of an image, harmed in each way: with the reference that the pull noted, and with nothing.

use composefs_oci::repair::{RepairOptions, Sources};
use composefs_testkit::images::Image;

use crate::lab::{CONFIG, FILE, HARMS, Harm, LAYER, Lab, MANIFEST, harm, layer, nothing, open, three_layers};

/// What cannot be made from the rest.
const LOST: [&str; 4] = [FILE, LAYER, CONFIG, MANIFEST];

#[test]
fn everything_is_mended_from_where_it_was_pulled() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let pulled = lab.pull("x", &Image::new(layers.clone()));
    let whole = lab.state();
    let sources = Sources::new(&open);
    for (what, path) in lab.parts(&pulled, "x", &layers[0]) {
        for how in HARMS {
            if !harm(&path, how) {
                continue;
            }
            let (steps, bytes) = lab.plan(&sources, &RepairOptions::default(), |plan| {
                assert_eq!(plan.left, [], "{what} {how:?}");
                (plan.steps.len(), plan.bytes_to_fetch())
            });
            assert!(steps > 0, "{what} {how:?}");
            let fetched = if [FILE, LAYER].contains(&what) { layers[0].size } else { 0 };
            if ![CONFIG, MANIFEST].contains(&what) {
                assert_eq!(bytes, fetched, "{what} {how:?}");
            }
            let report = lab.repair(&sources, &RepairOptions::default());
            assert!(report.is_ok(), "{what} {how:?}: {report:?}");
            lab.clean();
            assert!(lab.state() == whole, "{what} {how:?} is not as it was: {report:?}");
        }
    }
    assert!(lab.plan(&sources, &RepairOptions::default(), |plan| plan.is_empty()));
}

#[test]
fn what_can_be_made_from_the_rest_is_mended_with_nothing() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let pulled = lab.pull("x", &Image::new(layers.clone()));
    let whole = lab.state();
    let sources = Sources::new(&nothing);
    for (what, path) in lab.parts(&pulled, "x", &layers[0]) {
        for how in HARMS {
            let kept = std::fs::read(&path);
            if !harm(&path, how) {
                continue;
            }
            let harmed = lab.state();
            let report = lab.repair(&sources, &RepairOptions::default());
            if LOST.contains(&what) {
                assert!(!report.is_ok(), "{what} {how:?}");
                let text = format!("{report:?}");
                assert!(
                    text.contains("the cable is cut") && text.contains("--from"),
                    "{what} {how:?}: {text}"
                );
                // What is lost stays as it is, for whoever has a source.
                assert!(lab.state() == harmed, "{what} {how:?}: {report:?}");
                std::fs::write(&path, kept.unwrap()).unwrap();
            } else {
                assert!(report.is_ok(), "{what} {how:?}: {report:?}");
                assert!(lab.state() == whole, "{what} {how:?} is not as it was: {report:?}");
            }
            lab.clean();
        }
    }
}

#[test]
fn two_parts_at_once() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let pulled = lab.pull("x", &Image::new(layers.clone()));
    let whole = lab.state();
    let sources = Sources::new(&open);
    let parts = lab.parts(&pulled, "x", &layers[0]);
    for (at, (what, path)) in parts.iter().enumerate() {
        for (other, second) in &parts[at + 1..] {
            harm(path, Harm::Delete);
            harm(second, Harm::Delete);
            let report = lab.repair(&sources, &RepairOptions::default());
            assert!(report.is_ok(), "{what}, {other}: {report:?}");
            assert!(lab.state() == whole, "{what}, {other}: not as it was");
        }
    }
    lab.clean();
    for (_, path) in &parts {
        harm(path, Harm::Delete);
    }
    assert!(lab.repair(&sources, &RepairOptions::default()).is_ok());
    assert!(lab.state() == whole);
    lab.clean();
}

#[test]
fn a_tag_that_is_gone_is_nobodys_to_guess() {
    let mut lab = Lab::new();
    lab.pull("x", &Image::new([layer(1, 5_000, composefs_testkit::images::Compression::Gzip)]));
    std::fs::remove_file(lab.path("repo/streams/refs/oci/x")).unwrap();
    let sources = Sources::new(&open);
    assert!(lab.repair(&sources, &RepairOptions::default()).is_ok());
    let named = RepairOptions::default().name("x".parse().unwrap());
    let error = composefs_oci::repair::RepairPlan::new(
        &lab.open("repo"),
        &sources,
        &named,
        &composefs::progress::Silent,
    )
    .unwrap_err();
    assert!(matches!(error, composefs_oci::Error::NotFound(_)), "{error}");
}
