//! What can be wrong with a repository, and what mends it.

use std::fmt;

use crate::digest::{ObjectId, VerityAlgorithm};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something to know; nothing is lost.
    Warning,
    /// Damage.
    Error,
}

/// What mends a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// Remove what is damaged, which a pull would take for present, and pull the image again.
    PullAgain,
    /// Remove the name or file, which nothing can use.
    Remove,
    /// Collect garbage.
    CollectGarbage,
    /// Remove the object and pull the image again, which gives it fs-verity.
    EnableVerity,
    /// Write `meta.json` anew.
    RewriteMetadata,
    /// Look at the file system: reading fails.
    CheckFileSystem,
}

/// What to do, in a line; commands in backquotes.
impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PullAgain => {
                "remove the damaged files that are named, if any, and pull the image again with `cfsctl oci pull`: what is missing is stored anew"
            },
            Self::EnableVerity => {
                "remove the files that are named and pull the image again with `cfsctl oci pull`: they come back with fs-verity"
            },
            Self::Remove => "remove what is none of a repository's; nothing can use it",
            Self::CollectGarbage => "`cfsctl gc` removes names that lead nowhere",
            Self::RewriteMetadata => {
                "restore meta.json, or `cfsctl init --reset-metadata`, which keeps the objects and drops all names"
            }
            Self::CheckFileSystem => "check the file system and the disk: reading fails",
        })
    }
}

/// What is wrong. Details are texts of causes, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// `meta.json` cannot be parsed.
    MetadataParse(String),
    /// `meta.json` has another algorithm than the repository was opened with.
    MetadataAlgorithm {
        /// What the file says.
        expected: VerityAlgorithm,
        /// What the repository was opened as.
        opened: VerityAlgorithm,
    },
    /// A name in the object store is none of an object.
    ObjectInvalidName(String),
    /// An object cannot be opened or read.
    ObjectOpen(String),
    /// An object's contents are not what its name says.
    ObjectDigestMismatch(ObjectId),
    /// The kernel's measurement of an object fails.
    ObjectVerity(String),
    /// An object of a verified repository has no fs-verity.
    ObjectVerityMissing,
    /// An entry is no symlink.
    EntryNotSymlink,
    /// An entry or ref leads nowhere.
    BrokenSymlink,
    /// A name cannot be looked at.
    Stat(String),
    /// Something among the refs is neither symlink nor directory.
    UnexpectedFileType(&'static str),
    /// A stream cannot be opened, or is none.
    StreamOpen(String),
    /// A stream cannot be read.
    StreamRead(String),
    /// An object that a stream refers to is not there.
    MissingObjectRef(ObjectId),
    /// A stream or image that a stream names is not there.
    MissingNamedRef {
        /// The name.
        name: String,
        /// What it stands for.
        id: ObjectId,
    },
    /// Whether an object is there cannot be told.
    ObjectCheck {
        /// The object.
        id: ObjectId,
        /// Why.
        detail: String,
    },
    /// An image cannot be opened.
    ImageOpen(String),
    /// An image cannot be read.
    ImageRead(String),
    /// An image is no composefs image.
    ImageInvalid(String),
    /// An object that an image names is not there.
    ImageMissingObject(ObjectId),
    /// A stream's contents do not have the digest in its name.
    StreamContents {
        /// The digest they have.
        actual: String,
    },
    /// A stream has another size than its file says.
    StreamSize {
        /// What the file says.
        stated: u64,
        /// What it has.
        actual: u64,
    },
}

impl Fault {
    /// Returns the word for this kind of fault.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MetadataParse(_) => "metadata-parse-failed",
            Self::MetadataAlgorithm { .. } => "metadata-algorithm-mismatch",
            Self::ObjectInvalidName(_) => "object-invalid-name",
            Self::ObjectOpen(_) => "object-open-failed",
            Self::ObjectDigestMismatch(_) => "object-digest-mismatch",
            Self::ObjectVerity(_) => "object-verity-failed",
            Self::ObjectVerityMissing => "object-verity-missing",
            Self::EntryNotSymlink => "entry-not-symlink",
            Self::BrokenSymlink => "broken-symlink",
            Self::Stat(_) => "stat-failed",
            Self::UnexpectedFileType(_) => "unexpected-file-type",
            Self::StreamOpen(_) => "stream-open-failed",
            Self::StreamRead(_) => "stream-read-failed",
            Self::MissingObjectRef(_) => "missing-object-ref",
            Self::MissingNamedRef { .. } => "missing-named-ref",
            Self::ObjectCheck { .. } => "object-check-failed",
            Self::ImageOpen(_) => "image-open-failed",
            Self::ImageRead(_) => "image-read-failed",
            Self::ImageInvalid(_) => "image-invalid",
            Self::ImageMissingObject(_) => "image-missing-object",
            Self::StreamContents { .. } => "stream-content-mismatch",
            Self::StreamSize { .. } => "stream-size-mismatch",
        }
    }

    const fn level(&self) -> Level {
        match self {
            // Nobody looks at that size but us.
            Self::StreamSize { .. } => Level::Warning,
            _ => Level::Error,
        }
    }

    const fn remedy(&self) -> Remedy {
        match self {
            Self::MetadataParse(_) | Self::MetadataAlgorithm { .. } => Remedy::RewriteMetadata,
            Self::ObjectInvalidName(_) | Self::EntryNotSymlink | Self::UnexpectedFileType(_) => {
                Remedy::Remove
            }
            Self::ObjectOpen(_) | Self::ObjectVerity(_) | Self::Stat(_) | Self::ObjectCheck { .. } => {
                Remedy::CheckFileSystem
            }
            Self::ObjectVerityMissing => Remedy::EnableVerity,
            Self::BrokenSymlink => Remedy::CollectGarbage,
            _ => Remedy::PullAgain,
        }
    }
}

/// One thing that is wrong. `Display` is the line that is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about: a path below the repository.
    pub subject: String,
    /// What is wrong.
    pub fault: Fault,
    /// What mends it.
    pub remedy: Remedy,
}

impl Finding {
    pub(super) fn new(subject: impl Into<String>, fault: Fault) -> Self {
        Self { level: fault.level(), subject: subject.into(), remedy: fault.remedy(), fault }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fsck: {}: {}", self.fault.kind(), self.subject)?;
        match &self.fault {
            Fault::ObjectVerityMissing | Fault::EntryNotSymlink | Fault::BrokenSymlink => Ok(()),
            Fault::MetadataAlgorithm { expected, opened } => {
                write!(f, ": expected {expected}, repository opened as {opened}")
            }
            Fault::ObjectDigestMismatch(actual) => write!(f, ": measured {actual}"),
            Fault::MissingNamedRef { name, id } => write!(f, ": ref {name}: {id}"),
            Fault::ObjectCheck { id, detail } => write!(f, ": {id}: {detail}"),
            Fault::MissingObjectRef(id) | Fault::ImageMissingObject(id) => write!(f, ": {id}"),
            Fault::UnexpectedFileType(what) => write!(f, ": {what}"),
            Fault::StreamContents { actual } => write!(f, ": contents hash to {actual}"),
            Fault::StreamSize { stated, actual } => write!(f, ": stated {stated} bytes, found {actual}"),
            Fault::MetadataParse(detail)
            | Fault::ObjectInvalidName(detail)
            | Fault::ObjectOpen(detail)
            | Fault::ObjectVerity(detail)
            | Fault::Stat(detail)
            | Fault::StreamOpen(detail)
            | Fault::StreamRead(detail)
            | Fault::ImageOpen(detail)
            | Fault::ImageRead(detail)
            | Fault::ImageInvalid(detail) => write!(f, ": {detail}"),
        }
    }
}
