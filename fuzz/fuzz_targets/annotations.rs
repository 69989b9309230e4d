//! Annotations with digests and signatures: no input panics, and what is written reads back.
#![allow(unreachable_pub)]

use composefs_oci::{
    model::Manifest,
    seal::{annotation::Annotation, claim::Claims},
};

/// Runs one input: lines of a key, a space and a value; or a manifest.
pub fn run(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        for line in text.lines() {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            if let Ok(Some(annotation)) = Annotation::parse(key, value) {
                assert_eq!(annotation.text(), (key.to_owned(), value.to_owned()));
            }
        }
    }
    let Ok(manifest) = Manifest::parse(data.to_vec()) else { return };
    if let Ok(claims) = Claims::inline(&manifest) {
        assert!(claims.all.iter().all(|claim| claim.digest.algorithm() == claim.key.algorithm));
    }
    // About an image that cannot be its subject, since that has its digest in it.
    let read = |_: &_| Ok(Vec::new());
    assert!(Claims::artifact(&manifest, &manifest, &read).is_err());
}
