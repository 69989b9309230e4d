//! Artifacts kept with the image they are about.
//!
//! # Format
//! `docs/formats/oci.md`, section 10.

use composefs::{
    error::Category,
    name::{decode_component, encode_component},
    repo::Repository,
};

use crate::{digest::ManifestDigest, error::Error, ident};

/// Lists the artifacts that refer to a manifest, in byte order.
///
/// Refs whose name is not their target's digest are skipped.
///
/// # Errors
/// What listing the refs gives.
pub fn list(repo: &Repository, subject: &ManifestDigest) -> Result<Vec<ManifestDigest>, Error> {
    let directory = format!("{}/{}", ident::REFERRERS, encode_component(subject.as_str()));
    let mut artifacts: Vec<ManifestDigest> = repo
        .refs(Category::Streams, &directory)?
        .into_iter()
        .filter_map(|(name, target)| {
            let digest = ident::parse_manifest(&target)?;
            (decode_component(&name) == digest.as_str()).then_some(digest)
        })
        .collect();
    artifacts.sort();
    Ok(artifacts)
}
