//! Where contents come from: another reference, another repository, a copy of a blob, a registry.

use composefs::digest::Algorithm;
use composefs_oci::{
    pull::{Platforms, PullOptions},
    repair::{RepairOptions, Sources},
};
use composefs_testkit::{
    images::{Compression, Image},
    registry::{Registry, RegistryOptions},
};

use crate::lab::{CONFIG, FILE, Harm, LAYER, Lab, MANIFEST, harm, layer, nothing, open, three_layers};

#[test]
fn another_image_that_shares_the_layer() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let pulled = lab.pull("x", &Image::new(layers.clone()));
    lab.layout.image("other", &Image::new([layers[0].clone(), layer(9, 900, Compression::Gzip)]));
    let from = lab.layout.reference("other").parse().unwrap();
    let sources = Sources::new(&open).from(Some(from)).noted(false);
    let parts = lab.parts(&pulled, "x", &layers[0]);
    lab.comes_back(parts.into_iter().filter(|(what, _)| [FILE, LAYER].contains(what)), &sources);
}

#[test]
fn where_another_image_with_the_layer_was_pulled_from() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let reference = |text: &str| Some(text.parse().unwrap());
    let pulled = lab.pull("x", &Image::new(layers.clone()));
    let own = lab.layout.reference("x");
    lab.layout.image("gone", &Image::new([layers[0].clone(), layer(9, 900, Compression::Gzip)]));
    for (name, origin) in [("gone", "oci:/nowhere:gone"), ("x", own.as_str())] {
        let options = PullOptions::default().tag(name).origin(reference(origin));
        let from = open(&lab.layout.reference(name).parse().unwrap()).unwrap();
        composefs_oci::pull::pull(&lab.writer(), from.as_ref(), &options, &composefs::progress::Silent)
            .unwrap();
    }
    let parts = lab.parts(&pulled, "x", &layers[0]);
    let parts = parts.into_iter().filter(|(what, _)| [FILE, LAYER].contains(what));
    lab.comes_back(parts, &Sources::new(&open));
}

#[test]
fn a_repository_of_another_algorithm() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let pulled = lab.pull("x", &Image::new(layers.clone()));
    lab.make("other", Algorithm::Sha512);
    lab.pull_into("other", "x", PullOptions::default());
    let other = lab.open("other");
    let sources = Sources::new(&nothing).repository(Some(other)).noted(false);
    lab.comes_back(lab.parts(&pulled, "x", &layers[0]), &sources);
}

#[test]
fn the_copy_of_a_blob() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let image = Image::new(layers.clone());
    let here = lab.layout.image("x", &image);
    // An index, one of whose images for elsewhere has the same layers.
    let there = Image::new(layers.clone()).platform("s390x", None);
    let there = lab.layout.image("there", &there);
    lab.layout.index("both", &[here, there]);
    let pulled = lab.pull_into("repo", "both", PullOptions::default().platforms(Platforms::All));
    let sources = Sources::new(&nothing);
    let parts = lab.parts(&pulled, "both", &layers[0]);
    lab.comes_back(parts.into_iter().filter(|(what, _)| [FILE, LAYER].contains(what)), &sources);
}

#[test]
fn a_registry_whose_tag_has_moved() {
    let registry = Registry::start(RegistryOptions::default());
    let layers = three_layers();
    registry.add_image("team/app", "v1", &Image::new(layers.clone()));
    let lab = Lab::new();
    let reference: composefs_oci::reference::Reference = registry.reference("team/app:v1").parse().unwrap();
    let options = PullOptions::default().tag("x").origin(Some(reference.clone()));
    let pulled = composefs_oci::pull::pull(
        &lab.writer(),
        open(&reference).unwrap().as_ref(),
        &options,
        &composefs::progress::Silent,
    )
    .unwrap();
    let whole = lab.state();
    registry.add_image("team/app", "v1", &Image::new([layer(7, 700, Compression::Gzip)]));
    for (what, path) in lab.parts(&pulled, "x", &layers[1]) {
        if ![FILE, LAYER, CONFIG, MANIFEST].contains(&what) {
            continue;
        }
        harm(&path, Harm::Flip);
        registry.forget_requests();
        let report = lab.repair(&Sources::new(&open), &RepairOptions::default());
        assert!(report.is_ok(), "{what}: {report:?}");
        assert!(lab.state() == whole, "{what}");
        // Only the layer that is needed comes.
        for other in [&layers[0], &layers[2]] {
            assert_eq!(registry.sent_bytes(&other.digest), 0, "{what}");
        }
    }
    lab.clean();
}

#[test]
fn a_source_that_is_damaged_itself_changes_nothing() {
    let mut lab = Lab::new();
    let layers = three_layers();
    let pulled = lab.pull("x", &Image::new(layers.clone()));
    let (_, file) = lab.parts(&pulled, "x", &layers[0]).remove(0);
    harm(&file, Harm::Flip);
    let harmed = lab.state();
    let blob = std::fs::read(lab.layout.blob_path(&layers[0].digest)).unwrap();
    lab.layout.damage(&layers[0].digest, |bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    });
    let report = lab.repair(&Sources::new(&open), &RepairOptions::default());
    assert!(!report.is_ok());
    assert!(format!("{report:?}").contains(&layers[0].digest), "{report:?}");
    let now = lab.state();
    assert!(harmed.iter().all(|(path, bytes)| now.get(path) == Some(bytes)), "{report:?}");
    std::fs::write(lab.layout.blob_path(&layers[0].digest), blob).unwrap();
    assert!(lab.repair(&Sources::new(&open), &RepairOptions::default()).is_ok());
    lab.clean();
}
