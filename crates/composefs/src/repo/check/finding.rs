//! What can be wrong with a repository, and what mends it.

use std::fmt;

use super::{Remedy, Subject};
use crate::{
    digest::{Algorithm, ObjectId, VerityAlgorithm},
    error::{Error, chain},
};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something to know; nothing is lost.
    Warning,
    /// Damage.
    Error,
}

impl Level {
    /// Returns the word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// The error with its causes.
    pub text: String,
    /// Whether the system could not read: then nothing is known about what was to be read, and no name should go.
    pub is_io: bool,
    /// The object that is damaged or missing, where that is the reason.
    pub object: Option<ObjectId>,
}

impl Reason {
    /// Takes an error apart.
    #[must_use]
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let causes = || std::iter::successors(Some(error), |error| error.source());
        let is_io = causes().any(|error| {
            let io = error.downcast_ref::<std::io::Error>();
            io.is_some_and(|error| error.raw_os_error().is_some())
        });
        let object = causes().find_map(|error| error.downcast_ref::<Error>()).and_then(Error::object);
        Self { text: chain(error), is_io, object }
    }

    /// The same with another text.
    pub(super) fn with_text(self, text: String) -> Self {
        Self { text, ..self }
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self { text, is_io: false, object: None }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The digest of a stream's contents, as in its name. `Display` is `sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentDigest {
    /// The hash.
    pub algorithm: Algorithm,
    /// The digest in lower-case hex.
    pub hex: String,
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex)
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
    ObjectOpen(Reason),
    /// An object's contents are not what its name says.
    ObjectDigestMismatch(ObjectId),
    /// The kernel's measurement of an object fails.
    ObjectVerity(Reason),
    /// An object of a verified repository has no fs-verity.
    ObjectVerityMissing,
    /// An entry is no symlink.
    EntryNotSymlink,
    /// An entry or ref leads nowhere.
    BrokenSymlink,
    /// A name cannot be looked at.
    Stat(Reason),
    /// Something among the refs is neither symlink nor directory.
    UnexpectedFileType(&'static str),
    /// A stream cannot be opened, or is none.
    StreamOpen(Reason),
    /// A stream cannot be read.
    StreamRead(Reason),
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
        detail: Reason,
    },
    /// An image cannot be opened.
    ImageOpen(Reason),
    /// An image cannot be read.
    ImageRead(Reason),
    /// An image is no composefs image.
    ImageInvalid(String),
    /// An object that an image names is not there.
    ImageMissingObject(ObjectId),
    /// A stream's contents do not have the digest in its name.
    StreamContents {
        /// The digest in the name.
        expected: ContentDigest,
        /// The digest they have.
        actual: ContentDigest,
    },
    /// A stream has another size than its file says.
    StreamSize {
        /// What the file says.
        stated: u64,
        /// What it has.
        actual: u64,
    },
    /// The object that an image's entry leads to is another than its name says.
    ImageOtherObject(ObjectId),
    /// A temporary file of a process that is gone.
    LeftoverTemporary,
    /// A record of a mount or a pull that is over: the machine has booted since, or the process is gone.
    StaleRecord,
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
            Self::ImageOtherObject(_) => "image-open-failed",
            Self::LeftoverTemporary => "leftover-temporary",
            Self::StaleRecord => "stale-record",
        }
    }

    /// Returns the objects that are damaged or missing, as far as this fault alone tells; the finding's subject may be
    /// another.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectId> {
        match self {
            Self::MissingObjectRef(id)
            | Self::MissingNamedRef { id, .. }
            | Self::ObjectCheck { id, .. }
            | Self::ImageMissingObject(id) => Some(id),
            _ => self.reason().and_then(|reason| reason.object.as_ref()),
        }
    }

    /// Returns why something could not be read, where that is the fault.
    #[must_use]
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::ObjectOpen(reason)
            | Self::ObjectVerity(reason)
            | Self::Stat(reason)
            | Self::ObjectCheck { detail: reason, .. }
            | Self::StreamOpen(reason)
            | Self::StreamRead(reason)
            | Self::ImageOpen(reason)
            | Self::ImageRead(reason) => Some(reason),
            _ => None,
        }
    }

    const fn level(&self) -> Level {
        match self {
            // Nobody looks at that size but us.
            Self::StreamSize { .. } | Self::LeftoverTemporary | Self::StaleRecord => Level::Warning,
            _ => Level::Error,
        }
    }

    fn remedy(&self, subject: &Subject) -> Remedy {
        match self {
            Self::MetadataParse(_) | Self::MetadataAlgorithm { .. } => Remedy::RewriteMetadata,
            Self::ObjectInvalidName(_) | Self::EntryNotSymlink | Self::UnexpectedFileType(_) => {
                Remedy::Remove { path: subject.to_string() }
            }
            Self::BrokenSymlink | Self::LeftoverTemporary | Self::StaleRecord => Remedy::CollectGarbage,
            Self::ObjectVerity(_) => Remedy::RepairDeep,
            other if other.reason().is_some_and(|reason| reason.is_io) => Remedy::CheckFileSystem,
            _ => Remedy::Repair,
        }
    }
}

/// One thing that is wrong. `Display` is the line that is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about.
    pub subject: Subject,
    /// What is wrong.
    pub fault: Fault,
    /// What mends it.
    pub remedy: Remedy,
}

impl Finding {
    /// Makes a finding; level and remedy follow from the fault.
    #[must_use]
    pub fn new(subject: Subject, fault: Fault) -> Self {
        Self { level: fault.level(), remedy: fault.remedy(&subject), subject, fault }
    }

    /// Returns the object that it is about: what the fault names, else what the subject is or leads to. That need not be
    /// the damaged one: the object of a stream that has another's name is good.
    #[must_use]
    pub fn object(&self) -> Option<&ObjectId> {
        self.fault.object().or_else(|| self.subject.object())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fsck: {}: {}", self.fault.kind(), self.subject)?;
        match &self.fault {
            Fault::ObjectVerityMissing
            | Fault::EntryNotSymlink
            | Fault::BrokenSymlink
            | Fault::LeftoverTemporary
            | Fault::StaleRecord => Ok(()),
            Fault::MetadataAlgorithm { expected, opened } => {
                write!(f, ": expected {expected}, repository opened as {opened}")
            }
            Fault::ObjectDigestMismatch(actual) => write!(f, ": measured {actual}"),
            Fault::MissingNamedRef { name, id } => write!(f, ": ref {name}: {id}"),
            Fault::ObjectCheck { id, detail } => write!(f, ": {id}: {detail}"),
            Fault::MissingObjectRef(id) | Fault::ImageMissingObject(id) => write!(f, ": {id}"),
            Fault::UnexpectedFileType(what) => write!(f, ": {what}"),
            Fault::ImageOtherObject(id) => write!(f, ": leads to object {id}"),
            Fault::StreamContents { actual, .. } => write!(f, ": contents hash to {actual}"),
            Fault::StreamSize { stated, actual } => write!(f, ": stated {stated} bytes, found {actual}"),
            Fault::MetadataParse(detail) | Fault::ObjectInvalidName(detail) | Fault::ImageInvalid(detail) => {
                write!(f, ": {detail}")
            }
            Fault::ObjectOpen(reason)
            | Fault::ObjectVerity(reason)
            | Fault::Stat(reason)
            | Fault::StreamOpen(reason)
            | Fault::StreamRead(reason)
            | Fault::ImageOpen(reason)
            | Fault::ImageRead(reason) => write!(f, ": {reason}"),
        }
    }
}
