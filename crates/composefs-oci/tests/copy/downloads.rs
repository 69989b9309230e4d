//! Out of a registry that pauses, or that is wrong once.

use std::time::Duration;

use composefs_oci::Error;
use composefs_testkit::registry::{Fault, Registry, RegistryOptions, Rule};

use crate::lab::{Lab, blobs, chain, files, image};

/// A registry with an image, which is in the lab's layout, too.
fn filled(lab: &mut Lab) -> Registry {
    let registry = Registry::start(RegistryOptions::default());
    let written = lab.layout.image("x", &image());
    registry.add_image("app", "v1", &image());
    assert_eq!(
        registry.find_manifest("app", "v1").map(|(_, bytes)| bytes.len() as u64),
        Some(written.manifest.size)
    );
    registry
}

#[test]
fn a_pause_is_no_end() {
    let mut lab = Lab::new();
    let registry = filled(&mut lab);
    let digest = &image().layers[1].digest;
    let to = Registry::start(RegistryOptions::default());
    let into: [&dyn Fn(&str) -> String; 3] =
        [&|name| lab.at("oci", name), &|name| lab.at("oci-archive", name), &|name| to.reference(name)];
    for (at, into) in into.iter().enumerate() {
        // Longer than a read waits before it looks whether it shall stop, shorter than what ends a connection.
        let pause = Fault::Stall(100_000, Some(Duration::from_millis(700)));
        registry.inject(Rule::new(digest, pause).times(1));
        lab.copy(&registry.reference("app:v1"), &into(&format!("to{at}:x")))
            .unwrap_or_else(|error| panic!("{at}: {}", chain(&error)));
    }
    assert_eq!(blobs(&lab.path("to0")), blobs(lab.layout.path()));
    assert!(to.find_blob("to2", digest).is_some());
}

#[test]
fn a_wrong_blob_is_fetched_again() {
    let mut lab = Lab::new();
    let registry = filled(&mut lab);
    let to = Registry::start(RegistryOptions::default());
    for (at, layer) in image().layers.iter().enumerate() {
        let wrong = || Rule::new(&layer.digest, Fault::FlipByte(1000)).method("GET");
        for into in [lab.at("oci", &format!("to{at}:x")), to.reference(&format!("to{at}:x"))] {
            registry.inject(wrong().times(1));
            lab.copy(&registry.reference("app:v1"), &into)
                .unwrap_or_else(|error| panic!("{into}: {}", chain(&error)));
        }
        assert_eq!(blobs(&lab.path(&format!("to{at}"))), blobs(lab.layout.path()));
        assert_eq!(to.find_manifest(&format!("to{at}"), "x"), registry.find_manifest("app", "v1"));
        // What is wrong twice is wrong there.
        registry.inject(wrong());
        let error =
            lab.copy(&registry.reference("app:v1"), &lab.at("dir", &format!("never{at}"))).unwrap_err();
        assert!(matches!(error, Error::BlobMismatch { .. }), "{error:?}");
        registry.heal();
        assert!(!files(&lab.path(&format!("never{at}"))).contains_key("manifest.json"));
    }
}
