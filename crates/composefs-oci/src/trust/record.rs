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

/// What became of the note of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// The new result is noted.
    Noted,
    /// The earlier note, which says more, stays.
    Kept(Record),
    /// There is none any more.
    Forgotten,
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
        Self::of_digests(verification).filter(|_| verification.failure.is_none())
    }

    /// Makes the record of the digests that were right, whether anything failed after them or not.
    fn of_digests(verification: &Verification) -> Option<Self> {
        let algorithm = verification.algorithm?;
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

    /// Settles what is noted of an image after a verification: notes the new result, keeps the old note, or removes it.
    ///
    /// The old note is kept if the digests, images and the source it stands on are what they were, and the new
    /// verification was merely asked to trust less, or other certificates. Digests that differ, damage, sources that
    /// contradict, and a certificate of the note that has expired, remove it.
    ///
    /// # Errors
    /// What reading, writing and removing give.
    pub fn settle(repo: Repository, found: &Verification) -> Result<Settled, Error> {
        let old = match Self::read(&repo, &found.manifest) {
            // One that is damaged is as good as none.
            Err(Error::Seal(_)) => None,
            old => old?,
        };
        if let Some(old) = old.filter(|old| old.outlives(found)) {
            return Ok(Settled::Kept(old));
        }
        match Self::of(found) {
            Some(new) => new.store(&repo.into_writer()?).map(|()| Settled::Noted),
            None => Self::forget(&repo, &found.manifest).map(|_| Settled::Forgotten),
        }
    }

    /// Tells whether this note, made earlier, says more than a verification, and is not refuted by it.
    fn outlives(&self, found: &Verification) -> bool {
        let rank = |trust: &str| match trust {
            "signed" => 2,
            "manifest" | "artifact" => 1,
            _ => 0,
        };
        if rank(&self.trust) <= rank(found.trust.name()) {
            return false;
        }
        match &found.failure {
            // Another manifest was asked for; of this one nothing was looked at.
            Some(SealError::OtherManifest { .. }) => return true,
            Some(SealError::NotSigned | SealError::NotVouching { .. }) | None => {}
            #[cfg(feature = "signatures")]
            Some(SealError::Unsigned { .. } | SealError::Signature { .. }) => {}
            #[cfg(feature = "signatures")]
            Some(SealError::Expired { subject, .. }) => {
                let named = format!("{subject} (");
                if self.signers.iter().any(|signer| signer.starts_with(&named)) {
                    return false;
                }
            }
            Some(_) => return false,
        }
        let Some(new) = Self::of_digests(found) else { return false };
        self.algorithm == new.algorithm
            && self.images == new.images
            && self.boot_images == new.boot_images
            && found.sources.iter().any(|source| place(source) == self.source)
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
    repo.prune_notes(NOTES, |name| match name.parse::<ManifestDigest>() {
        Ok(digest) => Ok(repo.stream_entry(&ident::manifest(&digest)?)?.is_some()),
        Err(_) => Ok(false),
    })
}
