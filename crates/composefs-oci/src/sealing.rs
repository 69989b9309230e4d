//! Making seals: the digests of an image are computed, signed if that is asked for, and stored with it.
//!
//! The same image gives the same seal every time. RSA keys sign the same every time, too; keys of curves do not.

use composefs::{
    digest::Algorithm,
    progress::{Observer, Silent},
    repo::{Repository, Writer},
};

#[cfg(feature = "signatures")]
use crate::signature::{self, Certificate, SigningKey};
use crate::{
    digest::ManifestDigest,
    error::Error,
    ident,
    pull::{PullOptions, pull},
    seal::{
        SealError,
        artifact::Artifact,
        claim::{Claim, ClaimSource},
        digests::{Boot, digests},
        inline,
    },
    stored::StoredImage,
    transport::memory::InMemory,
    trust::sources::Sources,
};

/// Where a seal stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In an artifact beside the image, which stays as it is.
    #[default]
    Artifact,
    /// In the image's manifest, which becomes another one.
    Inline,
}

/// How an image is sealed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SealOptions {
    /// Where the seal stands.
    pub place: Place,
    /// Whether the variant that boots is sealed, too.
    pub boot: Boot,
    /// The algorithm of the digests; default: the repository's.
    pub algorithm: Option<Algorithm>,
    /// The tag of a manifest that is made; an artifact has none.
    pub tag: Option<String>,
}

impl SealOptions {
    /// Sets where the seal stands.
    #[must_use]
    pub fn place(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Sets whether the variant that boots is sealed, too.
    #[must_use]
    pub fn boot(mut self, boot: Boot) -> Self {
        self.boot = boot;
        self
    }

    /// Sets the algorithm of the digests.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Option<Algorithm>) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Sets the tag of a manifest that is made.
    #[must_use]
    pub fn tag(mut self, tag: Option<String>) -> Self {
        self.tag = tag;
        self
    }
}

/// A seal that was made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Made {
    /// The sealed image; with a seal in its manifest the new one.
    pub image: ManifestDigest,
    /// The artifact, if the seal is one.
    pub artifact: Option<ManifestDigest>,
    /// The digests and their signatures.
    pub claims: Vec<Claim>,
    /// Artifacts that said the same without a signature, and are not needed any more.
    pub replaced: Vec<ManifestDigest>,
}

/// A key and its certificate.
#[cfg(feature = "signatures")]
#[derive(Debug)]
pub struct Signer {
    /// The key.
    pub key: SigningKey,
    /// Its certificate.
    pub certificate: Certificate,
}

/// Seals an image, without a signature.
///
/// # Errors
/// [`SealError::Disagree`] with a seal that is there; what building the trees, and storing, give.
pub fn seal(
    writer: &Writer,
    image: &StoredImage,
    options: &SealOptions,
    observer: &dyn Observer,
) -> Result<Made, Error> {
    store(writer, image, claims(writer, image, options)?, options, observer)
}

/// Computes what a seal in the place that is wished for has to say.
fn claims(writer: &Writer, image: &StoredImage, options: &SealOptions) -> Result<Vec<Claim>, Error> {
    let algorithm = options.algorithm.unwrap_or_else(|| writer.algorithm());
    let mut claims = digests(writer, image, algorithm, options.boot)?;
    if options.place == Place::Inline {
        claims.retain(|claim| claim.key.role != crate::seal::annotation::Role::Manifest);
    }
    Ok(claims)
}

/// Seals an image, and signs every digest with all keys.
///
/// # Errors
/// As [`seal`]; [`Error::Sign`].
#[cfg(feature = "signatures")]
pub fn sign(
    writer: &Writer,
    image: &StoredImage,
    signers: &[Signer],
    options: &SealOptions,
    observer: &dyn Observer,
) -> Result<Made, Error> {
    let mut claims = claims(writer, image, options)?;
    let pairs: Vec<(&SigningKey, &Certificate)> =
        signers.iter().map(|signer| (&signer.key, &signer.certificate)).collect();
    for claim in &mut claims {
        let message = signature::formatted(&claim.digest);
        let sha512 = claim.key.algorithm == Algorithm::Sha512;
        claim.signature = Some(signature::sign_all(&message, &pairs, sha512).map_err(Error::Sign)?);
    }
    store(writer, image, claims, options, observer)
}

/// Tells where the seal of an image stands: in its manifest only if no artifact says the same.
///
/// # Errors
/// What reading the sources gives.
pub fn place_of(repo: &Repository, image: &StoredImage) -> Result<Option<Place>, Error> {
    let sources = Sources::of(repo, image)?;
    let is_inline = |source: &ClaimSource| *source == ClaimSource::Inline;
    Ok(match sources.all.iter().find(|claims| !is_inline(&claims.source)) {
        Some(_) => Some(Place::Artifact),
        None => sources.all.first().map(|_| Place::Inline),
    })
}

fn store(
    writer: &Writer,
    image: &StoredImage,
    claims: Vec<Claim>,
    options: &SealOptions,
    observer: &dyn Observer,
) -> Result<Made, Error> {
    let before = Sources::of(writer, image)?;
    // What the manifest says is replaced with it; a wrong artifact would make the image unusable.
    for claim in &claims {
        for (source, old) in before.claims(claim.key.algorithm).filter(|(_, old)| old.key == claim.key) {
            let goes = options.place == Place::Inline && *source == ClaimSource::Inline;
            if claim.digest != old.digest && !goes {
                let (role, expected, actual) = (claim.key.role, old.digest, claim.digest);
                return Err(SealError::Digest { role, expected, actual, by: source.clone() }.into());
            }
        }
    }
    match options.place {
        Place::Inline => {
            let manifest = inline::sealed(image.manifest(), &claims)?;
            let source = InMemory::new("the sealed manifest", manifest);
            let mut pulling = PullOptions::default();
            pulling.tag.clone_from(&options.tag);
            let image = pull(writer, &source, &pulling, observer)?.manifest;
            Ok(Made { image, artifact: None, claims, replaced: Vec::new() })
        }
        Place::Artifact => {
            let artifact = Artifact::new(image.manifest(), &claims)?;
            // Some hundred bytes are no progress.
            let digest = pull(writer, &artifact.source(), &PullOptions::default().jobs(1), &Silent)?.manifest;
            let replaced = replaced(&before, &digest, &claims);
            if !replaced.is_empty() {
                let mut commit = writer.begin();
                for old in &replaced {
                    commit.remove_stream_ref(ident::referrer(image.manifest().digest(), old)?);
                }
                commit.finish()?;
            }
            let image = image.manifest().digest().clone();
            Ok(Made { image, artifact: Some(digest), claims, replaced })
        }
    }
}

/// The artifacts that say without signatures what a new one says with them, or with as much.
fn replaced(before: &Sources, new: &ManifestDigest, claims: &[Claim]) -> Vec<ManifestDigest> {
    let said = |old: &Claim| claims.iter().any(|claim| claim.key == old.key && claim.digest == old.digest);
    let unneeded = before.all.iter().filter(|old| !old.is_signed() && old.all.iter().all(said));
    unneeded
        .filter_map(|old| match &old.source {
            ClaimSource::Artifact(digest) if digest != new => Some(digest.clone()),
            _ => None,
        })
        .collect()
}
