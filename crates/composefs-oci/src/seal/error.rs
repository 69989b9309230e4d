//! Why a seal does not hold, or cannot be made.

use composefs::digest::{Algorithm, ObjectId};

use super::{
    annotation::Role,
    claim::{ClaimError, ClaimSource},
};
use crate::digest::ManifestDigest;

/// Why a seal does not hold, or cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Nothing says what the image's digests are.
    #[error("{0} is not sealed")]
    NotSealed(ManifestDigest),
    /// A source that says something that cannot be used.
    #[error("{place} cannot be used", place = .0)]
    Unusable(ClaimSource, #[source] ClaimError),
    /// An artifact that is named and cannot be read.
    #[error("artifact {0} cannot be read")]
    Unreadable(ManifestDigest, #[source] Box<crate::Error>),
    /// Two sources that say different things. None is picked.
    #[error("{first} and {second} disagree about the {role} digest")]
    Disagree {
        /// About what.
        role: Role,
        /// Who says one thing.
        first: ClaimSource,
        /// Who says another.
        second: ClaimSource,
    },
    /// No digest of the merged image in the format that everybody must give.
    #[error("the seal has no digest of the merged image in format 1")]
    NoMerged,
    /// A digest that is not that of what is here.
    #[error("the {role} digest is {actual}, and by {by} it must be {expected}")]
    Digest {
        /// Of what.
        role: Role,
        /// What the seal says.
        expected: ObjectId,
        /// What it is.
        actual: ObjectId,
        /// Who says so.
        by: ClaimSource,
    },
    /// The manifest or config of the image that is missing or not what its digest says.
    #[error("the {0} of the image cannot be used")]
    Document(Role, #[source] Box<crate::Error>),
    /// The image cannot be built of what is here.
    #[error("the {0} image cannot be built")]
    Build(Role, #[source] Box<crate::Error>),
    /// The stream of the config names another image than the layers give; that one would be mounted.
    #[error("the config's stream records {recorded} as {key}, and the layers give {actual}")]
    Recorded {
        /// The key it is recorded under.
        key: String,
        /// The image that is recorded.
        recorded: ObjectId,
        /// The image that the layers give.
        actual: ObjectId,
    },
    /// A stream that names what an image consists of, missing or not what its name says.
    #[error("stream {0} of the image or of what is about it")]
    Stream(ObjectId, #[source] Box<composefs::Error>),
    /// An artifact that is trusted by name and says nothing of the image's digests.
    #[error("artifact {artifact}, which was named as trusted, does not vouch for {image}")]
    NotVouching {
        /// The artifact.
        artifact: ManifestDigest,
        /// The image.
        image: ManifestDigest,
    },
    /// An object of the image that is missing or not what its name says.
    #[error("object {0} of the image")]
    Object(ObjectId, #[source] Box<composefs::Error>),
    /// The manifest is not the one that is trusted.
    #[error("the manifest is {actual}, and {expected} is trusted")]
    OtherManifest {
        /// Which is trusted.
        expected: ManifestDigest,
        /// Which is here.
        actual: ManifestDigest,
    },
    /// Certificates were given, and nothing is signed.
    #[error("the seal is not signed")]
    NotSigned,
    /// A role whose digest must be signed and is not.
    #[error("{by}: the {role} digest is not signed")]
    Unsigned {
        /// Which role.
        role: Role,
        /// In which source.
        by: ClaimSource,
    },
    /// A signature that does not count.
    #[cfg(feature = "signatures")]
    #[error("{by}: signature of the {role} digest")]
    Signature {
        /// Of which digest.
        role: Role,
        /// In which source.
        by: ClaimSource,
        /// Why not.
        source: crate::signature::CmsError,
    },
    /// A signature by a certificate that does not count now.
    #[cfg(feature = "signatures")]
    #[error(
        "{by}: signature of the {role} digest: the certificate {subject} has expired or is not valid yet"
    )]
    Expired {
        /// Of which digest.
        role: Role,
        /// In which source.
        by: ClaimSource,
        /// The certificate.
        subject: String,
    },
    /// A manifest that cannot carry digests.
    #[error("{0} is a manifest of Docker's, which has no annotations")]
    NoAnnotations(ManifestDigest),
    /// No seal of this kind to sign.
    #[error("{0} has no seal by {1} to sign")]
    NothingToSign(ManifestDigest, Algorithm),
    /// Nobody has verified the image.
    #[error("{0} has not been verified")]
    NotVerified(String),
    /// It was verified, but nothing that is trusted says that the digests are right.
    #[error("{0} was verified without a signature and without a trusted manifest")]
    NotTrusted(String),
    /// The image is not the one that was verified.
    #[error("{name} is to be mounted as the image {actual}, which is not what was verified")]
    OtherImage {
        /// What was asked for.
        name: String,
        /// The image it means.
        actual: ObjectId,
    },
    /// The note of the verification is damaged.
    #[error("the record of the verification of {0} is damaged")]
    Record(ManifestDigest),
}

impl SealError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotSealed(_) => Some(
                "`cfsctl oci seal` seals an image; an image that should be sealed lost its artifact on the way"
                    .to_owned(),
            ),
            Self::Disagree { .. } => {
                Some("remove the one that is wrong; which that is, no program can tell".to_owned())
            }
            Self::NotSigned => {
                Some("`cfsctl oci sign` signs a seal; without --cert the digests alone are checked".to_owned())
            }
            Self::NotVerified(name) => {
                Some(format!("`cfsctl oci verify {name} --cert FILE` verifies it and notes the result"))
            }
            Self::NotTrusted(name) => Some(format!(
                "`cfsctl oci verify {name}` with --cert FILE, or with --expected-digest for a seal in the manifest"
            )),
            Self::NoAnnotations(_) => Some("seal it with --mode artifact".to_owned()),
            Self::NotVouching { .. } => Some(
                "`cfsctl oci pull` brings artifacts along; they must be about this image, by the algorithm that is verified"
                    .to_owned(),
            ),
            Self::Document(..) | Self::Build(..) | Self::Recorded { .. } | Self::Stream(..) | Self::Object(..) => Some("`cfsctl repair` mends what is damaged".to_owned()),
            _ => None,
        }
    }
}
