//! What an image's own manifest, and the artifacts beside it, say the digests are.
//!
//! # Format
//! `docs/formats/sealing.md`, sections 2, 4 and 5.

use std::collections::HashMap;

use composefs::digest::{Algorithm, ObjectId};
use oci_spec::image::Descriptor;

use super::annotation::{Annotation, AnnotationError, Key, Role, SIGNATURE_MAX};
use crate::{digest::ManifestDigest, model::Manifest};

pub use crate::transport::artifacts::ARTIFACT_TYPE;

/// The type of a signature in such an artifact.
pub const SIGNATURE_TYPE: &str = "application/vnd.composefs.signature.v1+pkcs7";
/// The type of an entry without a signature.
pub(crate) const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// Who says it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ClaimSource {
    /// The image's own manifest.
    Inline,
    /// An artifact.
    Artifact(ManifestDigest),
}

impl std::fmt::Display for ClaimSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline => f.write_str("the manifest"),
            Self::Artifact(digest) => write!(f, "artifact {digest}"),
        }
    }
}

/// One digest that is claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What it is of.
    pub key: Key,
    /// The digest.
    pub digest: ObjectId,
    /// The signature that comes with it, a CMS in DER.
    pub signature: Option<Vec<u8>>,
}

/// All that one source claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Which source.
    pub source: ClaimSource,
    /// Its claims, in its order; of each key at most one.
    pub all: Vec<Claim>,
}

/// Why a source claims nothing that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// An annotation.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// A digest for what cannot have one there.
    #[error("a digest of the {0} does not belong there")]
    Role(Role),
    /// Two entries for the same.
    #[error("two entries for the {0}")]
    Twice(Role),
    /// A signature without the digest it is of.
    #[error("a signature of the {0} without its digest")]
    Alone(Role),
    /// An entry of an artifact without a digest, or with several.
    #[error("entry {0} must have exactly one digest")]
    Entry(usize),
    /// An entry of an artifact that is neither a signature nor empty.
    #[error("entry {0} has the media type {1}")]
    MediaType(usize, String),
    /// A signature larger than the kernel takes.
    #[error("the signature of the {0} has {1} bytes, more than {SIGNATURE_MAX}")]
    TooLarge(Role, u64),
    /// Entries of several algorithms in one artifact.
    #[error("entries of several algorithms")]
    Algorithms,
    /// An artifact without a digest of the merged image.
    #[error("no digest of the merged image")]
    NoMerged,
    /// Some entries are signed and others are not.
    #[error("the {0} is not signed, though others are")]
    Unsigned(Role),
    /// It is no artifact of digests, or one of another image.
    #[error("it is not about this image")]
    OtherSubject,
    /// A signature that could not be read.
    #[error("read the signature of the {0}")]
    Read(Role, #[source] Box<crate::Error>),
}

impl Claims {
    /// Reads what a manifest says of its own image: digests of the config and of merged images. Those of single layers
    /// are not used, and those of other algorithms stand beside each other.
    ///
    /// # Errors
    /// [`ClaimError`] for annotations of ours that cannot be used.
    pub fn inline(manifest: &Manifest) -> Result<Self, ClaimError> {
        let mut claims = Self { source: ClaimSource::Inline, all: Vec::new() };
        let config = manifest.parsed().config().annotations();
        claims.add(config.as_ref(), |role| role == Role::Config)?;
        claims.add(manifest.parsed().annotations().as_ref(), |role| {
            matches!(role, Role::Merged | Role::Boot)
        })?;
        Ok(claims)
    }

    fn add(
        &mut self,
        annotations: Option<&HashMap<String, String>>,
        belongs: impl Fn(Role) -> bool,
    ) -> Result<(), ClaimError> {
        let mut signatures = Vec::new();
        let mut sorted: Vec<_> = annotations.into_iter().flatten().collect();
        sorted.sort();
        for (key, value) in sorted {
            match Annotation::parse(key, value)? {
                Some(Annotation::Digest(key, digest)) if belongs(key.role) => {
                    self.all.push(Claim { key, digest, signature: None });
                }
                Some(Annotation::Digest(key, _)) => return Err(ClaimError::Role(key.role)),
                Some(Annotation::Signature(key, bytes)) => signatures.push((key, bytes)),
                None => {}
            }
        }
        for (key, bytes) in signatures {
            let claim = self.all.iter_mut().find(|claim| claim.key == key);
            claim.ok_or(ClaimError::Alone(key.role))?.signature = Some(bytes);
        }
        Ok(())
    }

    /// Reads an artifact about `subject`; `read` gives the bytes of an entry, checked against its descriptor.
    ///
    /// # Errors
    /// [`ClaimError`]; [`ClaimError::OtherSubject`] also for what is no artifact of digests.
    pub fn artifact(
        artifact: &Manifest,
        subject: &Manifest,
        read: &dyn Fn(&Descriptor) -> Result<Vec<u8>, crate::Error>,
    ) -> Result<Self, ClaimError> {
        let named = artifact.parsed().subject().as_ref().filter(|named| {
            named.digest().as_ref() == subject.digest().as_str()
                && named.size() == subject.bytes().len() as u64
        });
        if !is_artifact(artifact) || named.is_none() {
            return Err(ClaimError::OtherSubject);
        }
        let mut all: Vec<Claim> = Vec::new();
        for (at, entry) in artifact.layers().iter().enumerate() {
            let mut digests = Vec::new();
            for (key, value) in entry.annotations().iter().flatten() {
                if let Some(Annotation::Digest(key, digest)) = Annotation::parse(key, value)? {
                    digests.push((key, digest));
                }
            }
            let [(key, digest)] = digests[..] else { return Err(ClaimError::Entry(at)) };
            if key.role == Role::Layer {
                return Err(ClaimError::Role(key.role));
            }
            if all.iter().any(|claim| claim.key.role == key.role) {
                return Err(ClaimError::Twice(key.role));
            }
            if all.first().is_some_and(|first| first.key.algorithm != key.algorithm) {
                return Err(ClaimError::Algorithms);
            }
            let signature = signature(at, entry, key.role, read)?;
            all.push(Claim { key, digest, signature });
        }
        if !all.iter().any(|claim| claim.key.role == Role::Merged) {
            return Err(ClaimError::NoMerged);
        }
        let claims = Self { source: ClaimSource::Artifact(artifact.digest().clone()), all };
        // Whoever signs one signs all: else digests of different images could be put together.
        if claims.is_signed() {
            for role in [Role::Manifest, Role::Config] {
                if claims.find(role, None).is_none_or(|claim| claim.signature.is_none()) {
                    return Err(ClaimError::Unsigned(role));
                }
            }
            if let Some(claim) = claims.all.iter().find(|claim| claim.signature.is_none()) {
                return Err(ClaimError::Unsigned(claim.key.role));
            }
        }
        Ok(claims)
    }

    /// Tells whether anything is signed.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.all.iter().any(|claim| claim.signature.is_some())
    }

    /// Returns the claim for a role, of one algorithm if that is given.
    #[must_use]
    pub fn find(&self, role: Role, algorithm: Option<Algorithm>) -> Option<&Claim> {
        let fits = |claim: &&Claim| {
            claim.key.role == role && algorithm.is_none_or(|algorithm| claim.key.algorithm == algorithm)
        };
        self.all.iter().find(fits)
    }
}

/// Tells whether a manifest is an artifact with digests.
#[must_use]
pub fn is_artifact(manifest: &Manifest) -> bool {
    let kind = manifest.parsed().artifact_type();
    kind.as_ref().is_some_and(|kind| kind.as_ref() == ARTIFACT_TYPE)
}

/// Reads the signature of an entry; none of one that is empty.
fn signature(
    at: usize,
    entry: &Descriptor,
    role: Role,
    read: &dyn Fn(&Descriptor) -> Result<Vec<u8>, crate::Error>,
) -> Result<Option<Vec<u8>>, ClaimError> {
    let kind = entry.media_type().to_string();
    if kind != SIGNATURE_TYPE {
        let empty = kind == EMPTY_TYPE;
        return if empty { Ok(None) } else { Err(ClaimError::MediaType(at, kind)) };
    }
    match entry.size() {
        0 => Ok(None),
        size if size > SIGNATURE_MAX as u64 => Err(ClaimError::TooLarge(role, size)),
        _ => read(entry).map(Some).map_err(|error| ClaimError::Read(role, Box::new(error))),
    }
}

#[cfg(test)]
mod tests;
