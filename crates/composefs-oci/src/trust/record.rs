//! What was established about an image, noted beside it.
//!
//! A note is as good as the disk it is on: who may write there may write one.
//!
//! # Format
//! `docs/formats/sealing.md`, section 6, step 7: `.cfs/verified/MANIFEST`, a JSON document.

use composefs::{
    digest::{ObjectId, VerityAlgorithm},
    repo::{Repository, Writer},
};
use serde::{Deserialize, Serialize};

use super::verify::{Trust, Verification};
use crate::{
    digest::ManifestDigest,
    error::Error,
    find::ImageKind,
    ident,
    seal::{SealError, claim::ClaimSource},
};

/// The directory of these notes below `.cfs/`.
const NOTES: &str = "verified";
/// The most bytes of a note.
const NOTE_MAX: u64 = 64 << 10;
/// The version that is written.
const VERSION: u32 = 1;

/// What was established about an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// The version of the document.
    pub version: u32,
    /// The image.
    pub manifest: String,
    /// The algorithm of the seal.
    pub algorithm: String,
    /// Why the digests are believed: `none`, `manifest`, `artifact` or `signed`.
    pub trust: String,
    /// Where they stand: `inline`, or an artifact's digest; for `none`, the first source.
    pub source: String,
    /// Who signed.
    pub signers: Vec<String>,
    /// The digests, by role.
    pub digests: Vec<Digest>,
    /// The images that may be mounted for it.
    pub images: Vec<String>,
    /// Those of the variant that boots.
    pub boot_images: Vec<String>,
}

/// A digest that was right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Digest {
    /// Of what.
    pub role: String,
    /// In hex.
    pub digest: String,
    /// Who said so: `inline`, or an artifact's digest.
    pub source: String,
}

fn place(source: &ClaimSource) -> String {
    match source {
        ClaimSource::Inline => "inline".to_owned(),
        ClaimSource::Artifact(digest) => digest.to_string(),
    }
}

impl Record {
    /// Makes the record of a verification; `None` of one that failed.
    #[must_use]
    pub fn of(verification: &Verification) -> Option<Self> {
        let algorithm = verification.algorithm.filter(|_| verification.failure.is_none())?;
        let first = verification.verified.first().map(|first| place(&first.source)).unwrap_or_default();
        let (source, signers) = match &verification.trust {
            Trust::Signed { by, signers } => (place(by), signers.clone()),
            Trust::Artifact(digest) => (digest.to_string(), Vec::new()),
            Trust::Manifest => (place(&ClaimSource::Inline), Vec::new()),
            Trust::None => (first, Vec::new()),
        };
        let hex = |ids: &[ObjectId]| ids.iter().map(ObjectId::to_hex).collect();
        Some(Self {
            version: VERSION,
            manifest: verification.manifest.to_string(),
            algorithm: VerityAlgorithm(algorithm).to_string(),
            trust: verification.trust.name().to_owned(),
            source,
            signers,
            digests: verification
                .verified
                .iter()
                .map(|one| Digest {
                    role: one.role.to_string(),
                    digest: one.digest.to_hex(),
                    source: place(&one.source),
                })
                .collect(),
            images: hex(&verification.images),
            boot_images: hex(&verification.boot_images),
        })
    }

    /// Notes it beside the image, in the place of what was noted before.
    ///
    /// # Errors
    /// What writing gives.
    pub fn store(&self, writer: &Writer) -> Result<(), Error> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        writer.put_note(NOTES, &self.manifest, &bytes)?;
        Ok(writer.begin().finish()?)
    }

    /// Reads what was noted of an image, if anything was.
    ///
    /// # Errors
    /// [`SealError::Record`]; what reading gives.
    pub fn read(repo: &Repository, manifest: &ManifestDigest) -> Result<Option<Self>, Error> {
        let Some(bytes) = repo.note(NOTES, manifest.as_str(), NOTE_MAX)? else { return Ok(None) };
        let record: Option<Self> = serde_json::from_slice(&bytes).ok();
        record
            .filter(|record| record.version == VERSION && record.manifest == manifest.as_str())
            .map(Some)
            .ok_or_else(|| SealError::Record(manifest.clone()).into())
    }

    /// Forgets what was noted of an image.
    ///
    /// # Errors
    /// What removing gives.
    pub fn forget(repo: &Repository, manifest: &ManifestDigest) -> Result<bool, Error> {
        Ok(repo.remove_note(NOTES, manifest.as_str())?)
    }
}

/// Makes sure that an image that is to be mounted was verified, and that the digests were believed for a reason.
///
/// # Errors
/// [`SealError::NotVerified`], [`SealError::NotTrusted`], [`SealError::OtherImage`], [`SealError::Record`].
pub fn demand(
    repo: &Repository,
    manifest: &ManifestDigest,
    name: &str,
    kind: ImageKind,
    image: &ObjectId,
) -> Result<Record, Error> {
    let record = Record::read(repo, manifest)?.ok_or_else(|| SealError::NotVerified(name.to_owned()))?;
    if record.trust == Trust::None.name() {
        return Err(SealError::NotTrusted(name.to_owned()).into());
    }
    let good = match kind {
        ImageKind::Root => &record.images,
        ImageKind::Boot => &record.boot_images,
    };
    if !good.contains(&image.to_hex()) {
        return Err(SealError::OtherImage { name: name.to_owned(), actual: *image }.into());
    }
    Ok(record)
}

/// Removes the notes of manifests that are not here any more; returns how many.
///
/// # Errors
/// What listing and removing give.
pub fn prune(repo: &Repository) -> Result<usize, Error> {
    let mut pruned = 0;
    for name in repo.notes(NOTES)? {
        let here = match name.parse::<ManifestDigest>() {
            Ok(digest) => repo.stream_entry(&ident::manifest(&digest)?)?.is_some(),
            Err(_) => false,
        };
        if !here {
            pruned += usize::from(repo.remove_note(NOTES, &name)?);
        }
    }
    Ok(pruned)
}
