//! What can be wrong with the images of a repository, and what mends it.

use std::{fmt, path::Path};

pub use composefs::repo::check::{Level, Reason};
use composefs::{digest::ObjectId, repo::check};

use crate::{
    digest::{ConfigDigest, DiffId, Digest, ManifestDigest},
    seal::annotation::Role,
};

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Subject {
    /// A tag and its image.
    Tag(String),
    /// A ref that keeps an artifact with the image it is about. Names are as on disk, decoded.
    Referrer {
        /// The manifest it is about.
        subject: String,
        /// The artifact's manifest.
        artifact: String,
        /// The ref's path below the repository.
        path: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Referrer { subject, artifact, .. } => write!(f, "{artifact} of {subject}"),
        }
    }
}

/// What mends a fault. `Display` says what it does, as [`composefs::repo::check::Remedy`]'s.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Remedy {
    /// What mends the repository.
    Repository(check::Remedy),
    /// Remove the tag, which nothing can use.
    Untag {
        /// The tag.
        tag: String,
    },
    /// Ask its maker for another image: the manifest came as it is, and a wrong seal in it is mended by no command.
    OtherImage,
}

impl Remedy {
    /// Returns the command, as [`composefs::repo::check::Remedy::command`] does.
    #[must_use]
    pub fn command(&self, cfsctl: &[String], repository: &Path) -> Option<Vec<String>> {
        match self {
            Self::Repository(remedy) => remedy.command(cfsctl, repository),
            Self::OtherImage => None,
            Self::Untag { tag } => {
                // A tag may begin with a dash.
                let arguments = ["oci", "untag", "--"].map(str::to_owned);
                Some([cfsctl, &arguments, std::slice::from_ref(tag)].concat())
            }
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(remedy) => remedy.fmt(f),
            Self::OtherImage => f.write_str(
                "pull an image whose maker sealed it right: its manifest came with a seal that is wrong",
            ),
            Self::Untag { .. } => {
                f.write_str("removes a tag that leads to no image, and what is kept with it")
            }
        }
    }
}

/// What is wrong with an image, or with what is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The tag begins with `@`.
    InvalidRefName,
    /// The tag leads to no manifest.
    RefResolveFailed(Reason),
    /// The manifest's stream cannot be read.
    ManifestReadFailed {
        /// Its stream.
        stream: ObjectId,
        /// Why.
        reason: Reason,
    },
    /// The manifest's bytes are not its digest's.
    ManifestDigestMismatch {
        /// The digest it is stored under.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// The manifest is no manifest.
    ManifestParseFailed(String),
    /// The manifest's stream does not name its config's.
    ConfigRefMissing(ConfigDigest),
    /// The config's stream cannot be read.
    ConfigReadFailed {
        /// The digest in the manifest.
        config: ConfigDigest,
        /// Its stream.
        stream: ObjectId,
        /// Why.
        reason: Reason,
    },
    /// The config's bytes are not its digest's.
    ConfigDigestMismatch {
        /// The digest in the manifest.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// The config is no image config.
    ConfigParseFailed {
        /// The digest in the manifest.
        config: ConfigDigest,
        /// Why.
        detail: String,
    },
    /// The config's stream does not name a layer's.
    LayerRefMissing(DiffId),
    /// A layer has no entry.
    LayerStreamMissing(DiffId),
    /// A layer's stream cannot be looked at.
    LayerCheckFailed(DiffId, Reason),
    /// The object of a layer's stream is missing.
    LayerObjectMissing(DiffId, ObjectId),
    /// The manifest's stream and the config's name different streams for one layer.
    LayerRouteMismatch {
        /// The layer.
        diff_id: DiffId,
        /// What the manifest's stream names; nothing if it leaves the layer out.
        manifest: Option<ObjectId>,
        /// What the config's stream names.
        config: ObjectId,
    },
    /// The image of the config's seal is missing.
    SealImageMissing(ConfigDigest, String),
    /// The image id in the config's seal is not that of the image's layers.
    SealImageMismatch {
        /// The config.
        config: ConfigDigest,
        /// The id in the label.
        label: ObjectId,
        /// The id that the layers give, by today's rules.
        actual: ObjectId,
    },
    /// The digests in the manifest that are its seal cannot be used.
    SealUnusable(String),
    /// A digest in the manifest that is its seal is not that of what is here.
    SealDigestMismatch {
        /// Of what.
        role: Role,
        /// What the manifest says.
        expected: ObjectId,
        /// What it is.
        actual: ObjectId,
    },
    /// An image that the config's stream names is not there, or has no entry.
    ImageMissing {
        /// The key it is named under.
        key: String,
        /// Its id.
        id: ObjectId,
    },
    /// An image that the config's stream names is not what the layers give.
    ImageIdMismatch {
        /// The key it is named under.
        key: String,
        /// The id that is recorded.
        recorded: ObjectId,
        /// The id that the layers give.
        actual: ObjectId,
    },
    /// An image's id cannot be computed anew.
    ImageCheckFailed {
        /// The key it is named under.
        key: String,
        /// Its id.
        id: ObjectId,
        /// Why.
        reason: Reason,
    },
    /// The manifest's stream does not name an artifact's layer.
    ArtifactLayerRefMissing(Digest),
    /// The stream of an artifact's layer is missing.
    ArtifactLayerObjectMissing(Digest, ObjectId),
    /// The index kept with a tag cannot be read.
    IndexReadFailed(Reason),
    /// The bytes of the index kept with a tag are not its digest's.
    IndexDigestMismatch {
        /// The digest it is stored under.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// The index kept with a tag is no index.
    IndexParseFailed(String),
    /// The index kept with a tag names the stream of a manifest that is not there.
    IndexManifestMissing {
        /// The manifest.
        manifest: ManifestDigest,
        /// Its stream.
        stream: ObjectId,
    },
    /// The index kept with a tag names a stream for a manifest that is not its own, or is another's.
    IndexManifestMismatch {
        /// The manifest as the index's stream names it.
        manifest: ManifestDigest,
        /// The stream it names.
        stream: ObjectId,
        /// What is wrong.
        reason: Reason,
    },
    /// The index kept with a tag that is not there.
    OrphanIndex,
    /// The image that an artifact is about is not here.
    OrphanReferrer,
    /// The ref of an artifact leads to another than its name says, or to none.
    ReferrerMismatch {
        /// The entry it leads to.
        entry: String,
    },
}

impl Fault {
    /// Returns the kind, as it stands in front of the details.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::InvalidRefName => "invalid-ref-name",
            Self::RefResolveFailed(_) => "ref-resolve-failed",
            Self::ManifestReadFailed { .. } => "manifest-read-failed",
            Self::ManifestDigestMismatch { .. } => "manifest-digest-mismatch",
            Self::ManifestParseFailed(_) => "manifest-parse-failed",
            Self::ConfigRefMissing(_) => "config-ref-missing",
            Self::ConfigReadFailed { .. } => "config-read-failed",
            Self::ConfigDigestMismatch { .. } => "config-digest-mismatch",
            Self::ConfigParseFailed { .. } => "config-parse-failed",
            Self::LayerRefMissing(_) => "layer-ref-missing",
            Self::LayerStreamMissing(_) => "layer-stream-missing",
            Self::LayerCheckFailed(..) => "layer-check-failed",
            Self::LayerObjectMissing(..) => "layer-object-missing",
            Self::LayerRouteMismatch { .. } => "layer-route-mismatch",
            Self::SealImageMissing(..) => "seal-image-missing",
            Self::SealImageMismatch { .. } => "seal-image-mismatch",
            Self::SealUnusable(_) => "seal-unusable",
            Self::SealDigestMismatch { .. } => "seal-digest-mismatch",
            Self::ImageMissing { .. } => "image-missing",
            Self::ImageIdMismatch { .. } => "image-id-mismatch",
            Self::ImageCheckFailed { .. } => "image-check-failed",
            Self::ArtifactLayerRefMissing(_) => "artifact-layer-ref-missing",
            Self::ArtifactLayerObjectMissing(..) => "artifact-layer-object-missing",
            Self::IndexReadFailed(_) => "index-read-failed",
            Self::IndexDigestMismatch { .. } => "index-digest-mismatch",
            Self::IndexParseFailed(_) => "index-parse-failed",
            Self::IndexManifestMissing { .. } => "index-manifest-missing",
            Self::IndexManifestMismatch { .. } => "index-manifest-mismatch",
            Self::OrphanIndex => "orphan-index",
            Self::OrphanReferrer => "orphan-referrer",
            Self::ReferrerMismatch { .. } => "referrer-mismatch",
        }
    }

    /// Returns why something could not be read, where that is the fault.
    #[must_use]
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::RefResolveFailed(reason)
            | Self::ManifestReadFailed { reason, .. }
            | Self::ConfigReadFailed { reason, .. }
            | Self::LayerCheckFailed(_, reason)
            | Self::ImageCheckFailed { reason, .. }
            | Self::IndexReadFailed(reason)
            | Self::IndexManifestMismatch { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Returns the stream or image that is missing or damaged.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectId> {
        match self {
            Self::LayerObjectMissing(_, id)
            | Self::ArtifactLayerObjectMissing(_, id)
            | Self::IndexManifestMissing { stream: id, .. }
            | Self::ImageMissing { id, .. }
            | Self::ImageIdMismatch { recorded: id, .. } => Some(id),
            Self::ManifestReadFailed { stream, reason } | Self::ConfigReadFailed { stream, reason, .. } => {
                Some(reason.object.as_ref().unwrap_or(stream))
            }
            other => other.reason().and_then(|reason| reason.object.as_ref()),
        }
    }

    const fn level(&self) -> Level {
        match self {
            // Nothing that somebody named is lost.
            Self::OrphanIndex | Self::OrphanReferrer | Self::ReferrerMismatch { .. } => Level::Warning,
            _ => Level::Error,
        }
    }

    fn remedy(&self, subject: &Subject) -> Remedy {
        let repository = Remedy::Repository;
        match (self, subject) {
            (fault, _) if fault.reason().is_some_and(|reason| reason.is_io) => {
                repository(check::Remedy::CheckFileSystem)
            }
            (Self::InvalidRefName | Self::RefResolveFailed(_) | Self::OrphanIndex, Subject::Tag(tag)) => {
                Remedy::Untag { tag: tag.clone() }
            }
            (Self::SealUnusable(_) | Self::SealDigestMismatch { .. }, _) => Remedy::OtherImage,
            (Self::OrphanReferrer, _) => repository(check::Remedy::CollectGarbage),
            (Self::ReferrerMismatch { .. }, Subject::Referrer { path, .. }) => {
                repository(check::Remedy::Remove { path: path.clone() })
            }
            _ => repository(check::Remedy::Repair),
        }
    }
}

/// A fault, what it was found in, and what mends it. `Display` is the line that is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about.
    pub subject: Subject,
    /// The manifest of the image it is about, where that is known.
    pub manifest: Option<ManifestDigest>,
    /// What is wrong.
    pub fault: Fault,
    /// What mends it.
    pub remedy: Remedy,
}

impl Finding {
    /// Makes a finding; level and remedy follow from the fault.
    #[must_use]
    pub fn new(subject: Subject, manifest: Option<ManifestDigest>, fault: Fault) -> Self {
        Self { level: fault.level(), remedy: fault.remedy(&subject), subject, manifest, fault }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, fault, .. } = self;
        write!(f, "fsck: {}: {subject}", fault.kind())?;
        match fault {
            Fault::InvalidRefName => f.write_str(": leading '@' is reserved for digest references"),
            Fault::RefResolveFailed(reason)
            | Fault::ManifestReadFailed { reason, .. }
            | Fault::ConfigReadFailed { reason, .. }
            | Fault::IndexReadFailed(reason) => write!(f, ": {reason}"),
            Fault::ManifestParseFailed(detail)
            | Fault::ConfigParseFailed { detail, .. }
            | Fault::IndexParseFailed(detail) => write!(f, ": {detail}"),
            Fault::ManifestDigestMismatch { expected, actual }
            | Fault::ConfigDigestMismatch { expected, actual }
            | Fault::IndexDigestMismatch { expected, actual } => {
                write!(f, ": expected {expected}, got {actual}")
            }
            Fault::ConfigRefMissing(digest) => write!(f, ": {digest}"),
            Fault::ArtifactLayerRefMissing(digest) => write!(f, ": {digest}"),
            Fault::LayerRefMissing(diff_id) | Fault::LayerStreamMissing(diff_id) => write!(f, ": {diff_id}"),
            Fault::LayerCheckFailed(diff_id, reason) => write!(f, ": {diff_id}: {reason}"),
            Fault::LayerObjectMissing(diff_id, id) => write!(f, ": {diff_id}: object {id} is missing"),
            Fault::LayerRouteMismatch { diff_id, manifest: None, config } => {
                write!(f, ": {diff_id}: the manifest names no stream, the config {config}")
            }
            Fault::LayerRouteMismatch { diff_id, manifest: Some(manifest), config } => {
                write!(f, ": {diff_id}: the manifest names {manifest}, the config {config}")
            }
            Fault::SealImageMissing(digest, detail) => write!(f, ": {digest}: {detail}"),
            Fault::SealImageMismatch { config, label, actual } => {
                write!(f, ": {config}: sealed as {label}, the layers give {actual}")
            }
            Fault::SealUnusable(detail) => write!(f, ": {detail}"),
            Fault::SealDigestMismatch { role, expected, actual } => {
                write!(f, ": the manifest says the {role} digest is {expected}, and it is {actual}")
            }
            Fault::ImageMissing { key, id } => write!(f, ": {key}: image {id} is missing"),
            Fault::ImageIdMismatch { key, recorded, actual } => {
                write!(f, ": {key}: recorded as {recorded}, the layers give {actual}")
            }
            Fault::ImageCheckFailed { key, id, reason } => write!(f, ": {key}: image {id}: {reason}"),
            Fault::ArtifactLayerObjectMissing(digest, id) => {
                write!(f, ": {digest}: object {id} is missing")
            }
            Fault::IndexManifestMissing { manifest, stream } => {
                write!(f, ": {manifest}: object {stream} is missing")
            }
            Fault::IndexManifestMismatch { manifest, stream, reason } => {
                write!(f, ": {manifest}: stream {stream}: {reason}")
            }
            Fault::OrphanIndex | Fault::OrphanReferrer => Ok(()),
            Fault::ReferrerMismatch { entry } => write!(f, ": leads to {entry}"),
        }
    }
}
