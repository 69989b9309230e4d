//! What a policy demands of an image.

use std::path::PathBuf;

use crate::reference::RegistryReference;

/// One demand; of a list all must be met.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// Nothing.
    AcceptAnything,
    /// What no image meets.
    Reject,
    /// A simple signature by one of these GPG keys.
    SignedBy {
        /// What the keys are.
        key_type: KeyType,
        /// The keyrings.
        keys: Keys,
        /// What the signature must say the image is called.
        identity: SignedIdentity,
    },
    /// A signature of the image that this one was built on.
    SignedBaseLayer {
        /// What the signature must say that image is called.
        identity: SignedIdentity,
    },
    /// A sigstore signature.
    SigstoreSigned {
        /// Who must have signed.
        by: SigstoreSigner,
        /// The transparency log that must have it.
        rekor: Option<Rekor>,
        /// What the signature must say the image is called.
        identity: SignedIdentity,
    },
    /// A seal, signed by one of these certificates. This one is ours; other tools refuse a file that has it.
    Composefs {
        /// The certificates.
        certificates: Keys,
    },
}

impl Requirement {
    /// Returns its type, as files have it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AcceptAnything => "insecureAcceptAnything",
            Self::Reject => "reject",
            Self::SignedBy { .. } => "signedBy",
            Self::SignedBaseLayer { .. } => "signedBaseLayer",
            Self::SigstoreSigned { .. } => "sigstoreSigned",
            Self::Composefs { .. } => "composefs",
        }
    }
}

/// What the keys of `signedBy` are. Other tools know the last three and never accept anything by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[non_exhaustive]
pub enum KeyType {
    /// GPG keyrings.
    #[serde(rename = "GPGKeys")]
    GpgKeys,
    /// Keys that are signed by GPG keys.
    #[serde(rename = "signedByGPGKeys")]
    SignedByGpgKeys,
    /// X.509 certificates.
    #[serde(rename = "X509Certificates")]
    X509Certificates,
    /// X.509 authorities.
    #[serde(rename = "signedByX509CAs")]
    SignedByX509Cas,
}

/// Keys or certificates: any one of them will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Files, at least one.
    Paths(Vec<PathBuf>),
    /// What stands in the policy, at least one.
    Data(Vec<Vec<u8>>),
}

/// Who must have made a sigstore signature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SigstoreSigner {
    /// The owner of a key.
    Keys(Keys),
    /// Somebody to whom Fulcio gave a certificate.
    Fulcio(Fulcio),
    /// Somebody with a certificate of an authority of one's own.
    Pki(Pki),
}

/// A certificate of Fulcio's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fulcio {
    /// Fulcio's own certificates.
    pub authority: Keys,
    /// Who vouched for the subject.
    pub oidc_issuer: String,
    /// Who the subject must be.
    pub subject_email: String,
}

/// A certificate of an authority of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pki {
    /// The roots.
    pub roots: Keys,
    /// Certificates between a root and the signer's.
    pub intermediates: Option<Keys>,
    /// The e-mail address the certificate must have.
    pub subject_email: Option<String>,
    /// The host name the certificate must have.
    pub subject_hostname: Option<String>,
}

/// The keys of a transparency log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rekor {
    /// Any one of them will do.
    pub keys: Keys,
}

/// What a signature must say the image is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignedIdentity {
    /// Its name and tag; the repository, if it was asked for by digest.
    #[default]
    RepoDigestOrExact,
    /// Its name and tag.
    Exact,
    /// Its repository, whatever the tag.
    Repository,
    /// This name.
    ExactReference(RegistryReference),
    /// Any tag of this repository.
    ExactRepository(RegistryReference),
    /// Its name with another beginning, then as the default.
    Remap {
        /// What is replaced.
        prefix: String,
        /// By what.
        signed_prefix: String,
    },
}
