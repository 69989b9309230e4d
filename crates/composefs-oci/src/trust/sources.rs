//! Where digests of an image come from: its own manifest, and artifacts beside it.

use composefs::{
    digest::{Algorithm, ObjectId},
    repo::Repository,
};

use crate::{
    digest::{DiffId, ManifestDigest},
    error::Error,
    ident,
    model::Descriptor,
    seal::{
        SealError,
        annotation::{Role, SIGNATURE_MAX},
        claim::{Claim, ClaimError, ClaimSource, Claims, is_artifact},
    },
    stored::{StoredImage, referrers},
    transport::digest_of,
};

/// What all sources say of one image.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Sources {
    /// Those that say something, the image's own manifest first, then artifacts in byte order.
    pub all: Vec<Claims>,
    /// Artifacts that were passed over, for they are about other images or nothing.
    pub passed_over: Vec<ManifestDigest>,
    /// The streams of the artifacts that say something.
    pub streams: Vec<ObjectId>,
}

impl Sources {
    /// Finds all that is here about an image.
    ///
    /// # Errors
    /// [`SealError::Unusable`], [`SealError::Unreadable`]: what cannot be read might disagree with all others.
    pub fn of(repo: &Repository, image: &StoredImage) -> Result<Self, Error> {
        let mut found = Self::default();
        let inline = Claims::inline(image.manifest())
            .map_err(|error| SealError::Unusable(ClaimSource::Inline, error))?;
        if !inline.all.is_empty() {
            found.all.push(inline);
        }
        for digest in referrers::list(repo, image.manifest().digest())? {
            let unreadable = |error| SealError::Unreadable(digest.clone(), Box::new(error));
            let artifact = StoredImage::open(repo, &digest).map_err(unreadable)?;
            if !is_artifact(artifact.manifest()) {
                continue;
            }
            match Claims::artifact(artifact.manifest(), image.manifest(), &|entry| blob(repo, entry)) {
                Ok(claims) => {
                    found.all.push(claims);
                    found.streams.extend([*artifact.manifest_stream(), *artifact.config().stream()]);
                    for entry in artifact.manifest().layers() {
                        let name = ident::layer(&DiffId::new(digest_of(entry)?))?;
                        found.streams.extend(repo.stream_entry(&name)?);
                    }
                }
                Err(ClaimError::OtherSubject) => found.passed_over.push(digest),
                Err(error) => {
                    return Err(SealError::Unusable(ClaimSource::Artifact(digest), error).into());
                }
            }
        }
        Ok(found)
    }

    /// Tells whether nothing says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Chooses the algorithm whose digests count: the repository's, else the other.
    ///
    /// # Errors
    /// [`SealError::NoMerged`] if neither has a digest of the merged image in format 1.
    pub fn choose(&self, own: Algorithm) -> Result<Algorithm, SealError> {
        let has = |algorithm: Algorithm| {
            self.all.iter().flat_map(|claims| &claims.all).any(|claim| {
                claim.key.role == Role::Merged
                    && claim.key.algorithm == algorithm
                    && claim.key.format == Some(composefs::erofs::FormatVersion::V1)
            })
        };
        let mut order = vec![own];
        order.extend(Algorithm::ALL.into_iter().rev().filter(|algorithm| *algorithm != own));
        order.into_iter().find(|algorithm| has(*algorithm)).ok_or(SealError::NoMerged)
    }

    /// Returns every claim by an algorithm with its source.
    pub fn claims(&self, algorithm: Algorithm) -> impl Iterator<Item = (&ClaimSource, &Claim)> {
        self.all.iter().flat_map(move |claims| {
            let fits = claims.all.iter().filter(move |claim| claim.key.algorithm == algorithm);
            fits.map(|claim| (&claims.source, claim))
        })
    }

    /// Makes sure that no two sources say different things by an algorithm.
    ///
    /// # Errors
    /// [`SealError::Disagree`].
    pub fn agree(&self, algorithm: Algorithm) -> Result<(), SealError> {
        let all: Vec<(&ClaimSource, &Claim)> = self.claims(algorithm).collect();
        for (at, (first, claim)) in all.iter().enumerate() {
            for (second, other) in all.iter().skip(at + 1) {
                if claim.key == other.key && claim.digest != other.digest {
                    let (first, second) = ((*first).clone(), (*second).clone());
                    return Err(SealError::Disagree { role: claim.key.role, first, second });
                }
            }
        }
        Ok(())
    }
}

/// Reads a blob of an artifact, checked against its descriptor.
fn blob(repo: &Repository, entry: &Descriptor) -> Result<Vec<u8>, Error> {
    let digest = digest_of(entry)?;
    let damaged =
        |reason: &str| Error::Damaged { subject: format!("blob {digest}"), reason: reason.to_owned() };
    let name = ident::layer(&DiffId::new(digest.clone()))?;
    let id = repo.stream_entry(&name)?.ok_or_else(|| damaged("it is missing"))?;
    let object =
        repo.open_stream(&id)?.only_object().map_err(|_| damaged("its stream has several objects"))?;
    let bytes = repo.read_object(&object, SIGNATURE_MAX as u64)?;
    if bytes.len() as u64 != entry.size() {
        return Err(damaged("it has another size"));
    }
    match digest.of_same_algorithm(&bytes) {
        Some(actual) if actual == digest => Ok(bytes),
        Some(actual) => Err(damaged(&format!("contents hash to {actual}"))),
        None => Err(damaged("its digest cannot be checked")),
    }
}
