//! The seal in the image's own manifest, which becomes another one.
//!
//! # Format
//! `docs/formats/sealing.md`, section 5. What the manifest had stays, in its order; what is new stands behind it.

use serde_json::{Map, Value};

use super::{
    annotation::{Annotation, Role},
    claim::Claim,
    error::SealError,
};
use crate::{
    error::Error,
    model::{MANIFEST_MAX, Manifest, ModelError, media_type},
};

/// Returns the bytes of a manifest with these digests and signatures in it, and without what it had of the same
/// algorithm. The manifest's own digest has no place in it and is left out.
///
/// # Errors
/// [`SealError::NoAnnotations`] for a manifest of Docker's; [`Error::Model`].
pub fn sealed(manifest: &Manifest, claims: &[Claim]) -> Result<Vec<u8>, Error> {
    let model = |source| Error::model(manifest.digest(), source);
    let json = |source| model(ModelError::Json { what: "manifest", source });
    let kind = media_type::of_document(None, manifest.bytes()).map_err(model)?;
    if kind != media_type::OCI_MANIFEST {
        return Err(SealError::NoAnnotations(manifest.digest().clone()).into());
    }
    let mut whole: Map<String, Value> = serde_json::from_slice(manifest.bytes()).map_err(json)?;
    let of = |roles: &'static [Role]| claims.iter().filter(|claim| roles.contains(&claim.key.role));
    if let Some(Value::Object(config)) = whole.get_mut("config") {
        annotate(config, claims, of(&[Role::Config]));
    }
    annotate(&mut whole, claims, of(&[Role::Merged, Role::Boot]));
    let bytes = Value::Object(whole).to_string().into_bytes();
    match bytes.len() as u64 {
        size if size > MANIFEST_MAX => {
            Err(model(ModelError::TooLarge { what: "manifest", size, max: MANIFEST_MAX }))
        }
        _ => Ok(bytes),
    }
}

/// Puts the digests of some roles in the place of those that are there.
fn annotate<'c>(to: &mut Map<String, Value>, all: &[Claim], claims: impl Iterator<Item = &'c Claim>) {
    let algorithm = all.first().map(|claim| claim.key.algorithm);
    let entry = to.entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    let Some(annotations) = entry.as_object_mut() else { return };
    annotations.retain(|key, _| {
        let digest = key.strip_suffix(super::annotation::SIGNATURE).unwrap_or(key);
        super::annotation::Key::parse(digest).is_none_or(|key| Some(key.algorithm) != algorithm)
    });
    for claim in claims {
        let signature = claim.signature.clone().map(|bytes| Annotation::Signature(claim.key, bytes));
        for annotation in [Some(Annotation::Digest(claim.key, claim.digest)), signature].into_iter().flatten()
        {
            let (key, value) = annotation.text();
            annotations.insert(key, Value::String(value));
        }
    }
}
