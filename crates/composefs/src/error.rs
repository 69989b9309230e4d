//! The one public error of the crate: what was being done, to what, and what came of it.
//!
//! Missing, corrupt, refused and I/O are apart, because callers act on the difference. Formats have small
//! errors of their own; here they are wrapped with the object or stream they were found in.

use std::{fmt, io, path::PathBuf, time::Duration};

use crate::{
    digest::{Algorithm, ObjectId, VerityAlgorithm},
    erofs::{ReadError, WriteError},
    filetree::TreeError,
    mount::MountError,
    name::NameError,
    repo::meta::MetaError,
    splitstream::SplitstreamError,
};

/// The result of everything that touches a repository.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was being done when the system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Opening the repository's directory.
    OpenRepository,
    /// Taking or converting the repository's lock.
    Lock,
    /// Opening a file.
    Open,
    /// Reading a file.
    Read,
    /// Listing a directory.
    List,
    /// Looking at a file's metadata.
    Stat,
    /// Reading where a symlink points to.
    ReadLink,
    /// Making a directory.
    MakeDirectory,
    /// Making a temporary file.
    CreateTemporary,
    /// Writing contents.
    Write,
    /// Giving a temporary its final name.
    Link,
    /// Making a symlink.
    Symlink,
    /// Replacing a name.
    Rename,
    /// Removing a name.
    Unlink,
    /// Making writes durable.
    Sync,
    /// Setting permission bits.
    SetMode,
    /// Switching fs-verity on.
    EnableVerity,
    /// Asking the kernel for an fs-verity digest.
    MeasureVerity,
    /// Reading extended attributes.
    ReadXattrs,
    /// Making a file.
    Create,
    /// Setting owner and group.
    SetOwner,
    /// Setting extended attributes.
    SetXattrs,
    /// Setting the time of modification.
    SetTime,
    /// Starting a thread.
    StartThread,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OpenRepository => "open repository",
            Self::Lock => "lock",
            Self::Open => "open",
            Self::Read => "read",
            Self::List => "list",
            Self::Stat => "stat",
            Self::ReadLink => "read link",
            Self::MakeDirectory => "make directory",
            Self::CreateTemporary => "create temporary file",
            Self::Write => "write",
            Self::Link => "link",
            Self::Symlink => "make symlink",
            Self::Rename => "rename",
            Self::Unlink => "remove",
            Self::Sync => "sync",
            Self::SetMode => "set mode",
            Self::EnableVerity => "enable fs-verity",
            Self::MeasureVerity => "measure fs-verity",
            Self::ReadXattrs => "read extended attributes",
            Self::Create => "create",
            Self::SetOwner => "set owner",
            Self::SetXattrs => "set extended attributes",
            Self::SetTime => "set time",
            Self::StartThread => "start thread",
        })
    }
}

/// The two kinds of names in a repository, each with a directory of entries and a tree of refs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// EROFS images, named by their ids.
    Images,
    /// Splitstreams, named by content identifiers.
    Streams,
}

impl Category {
    /// Both categories.
    pub const ALL: [Self; 2] = [Self::Images, Self::Streams];

    /// Returns the name of the directory: `images` or `streams`.
    #[must_use]
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Streams => "streams",
        }
    }

    /// Returns the word for one of them: `image` or `stream`.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Images => "image",
            Self::Streams => "stream",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.noun())
    }
}

/// Why something with a repository did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error("{step}: {}", path.display())]
    Io {
        /// What was being done.
        step: Step,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    // Missing.
    /// The directory has neither `meta.json` nor objects.
    #[error("{}: not a composefs repository", path.display())]
    NotARepository {
        /// The directory.
        path: PathBuf,
    },
    /// An object is not in the store.
    #[error("object {id} is missing")]
    ObjectMissing {
        /// Its id.
        id: ObjectId,
    },
    /// No entry or ref has the name.
    #[error("{category} not found: {name}")]
    NotFound {
        /// Where it was looked for.
        category: Category,
        /// The name as given.
        name: String,
    },

    // Corrupt.
    /// An object is not what its name says.
    #[error("object {id}: contents have the digest {actual}")]
    ObjectMismatch {
        /// The id it is stored under.
        id: ObjectId,
        /// The digest its contents have.
        actual: ObjectId,
    },
    /// An object of a verified repository has no fs-verity.
    #[error("object {id} has no fs-verity")]
    VerityMissing {
        /// Its id.
        id: ObjectId,
    },
    /// A file has fs-verity with another algorithm than the repository's.
    #[error("{}: fs-verity algorithm {number}, not {expected}", path.display())]
    VerityAlgorithm {
        /// The file.
        path: PathBuf,
        /// The kernel's number of the algorithm it has.
        number: u16,
        /// The repository's algorithm.
        expected: Algorithm,
    },
    /// An object is larger than the caller takes.
    #[error("object {id} has {size} bytes, more than {limit}")]
    ObjectTooLarge {
        /// Its id.
        id: ObjectId,
        /// Its size in bytes.
        size: u64,
        /// The most the caller takes.
        limit: u64,
    },
    /// An entry or ref is not a symlink of the right shape.
    #[error("{}: {fault}", path.display())]
    BadLink {
        /// The path below the repository.
        path: PathBuf,
        /// What is wrong with it.
        fault: LinkFault,
    },
    /// An object that should be a splitstream is none, or is damaged.
    #[error("stream {id}")]
    Stream {
        /// Its id.
        id: ObjectId,
        /// How.
        source: Box<SplitstreamError>,
    },
    /// An object that should be an image is none, or is damaged.
    #[error("image {id}")]
    Image {
        /// Its id.
        id: ObjectId,
        /// How.
        source: Box<ReadError>,
    },
    /// The contents of a file in an image cannot be had.
    #[error("{reason}")]
    FileContents {
        /// Why.
        reason: String,
    },
    /// `meta.json` cannot be used.
    #[error("{}", path.display())]
    Meta {
        /// The file.
        path: PathBuf,
        /// Why.
        source: MetaError,
    },

    // Refused.
    /// A tree that no image can hold, or an image that could not be written.
    #[error("EROFS image")]
    ImageWrite {
        /// Why.
        source: Box<WriteError>,
    },
    /// The caller asked for another algorithm than the repository's.
    #[error("repository is configured for {actual} but {wanted} was asked for")]
    AlgorithmMismatch {
        /// What the repository has.
        actual: VerityAlgorithm,
        /// What the caller asked for.
        wanted: VerityAlgorithm,
    },
    /// An id of another algorithm than the repository's.
    #[error("{id:?} is no id of a {algorithm} repository")]
    ForeignId {
        /// The id.
        id: ObjectId,
        /// The repository's algorithm.
        algorithm: Algorithm,
    },
    /// The caller requires fs-verity and the repository has none.
    #[error("{}: repository is insecure: meta.json has no fs-verity", path.display())]
    VerityRequired {
        /// The repository.
        path: PathBuf,
    },
    /// The file system cannot do fs-verity, and the repository needs it.
    #[error("{}: file system has no fs-verity", path.display())]
    VerityUnsupported {
        /// The repository.
        path: PathBuf,
    },
    /// The repository may be read and not written.
    #[error("{}: repository cannot be written: {reason}", path.display())]
    ReadOnly {
        /// The repository.
        path: PathBuf,
        /// Why.
        reason: ReadOnlyReason,
    },
    /// A repository is there already, with other settings.
    #[error("{}: repository is already initialized with other settings: {have} instead of {wanted}", path.display())]
    OtherSettings {
        /// The repository.
        path: PathBuf,
        /// The setting it has.
        have: String,
        /// The setting asked for.
        wanted: String,
    },
    /// The lock was not free in time.
    #[error("{}: repository is in use", path.display())]
    InUse {
        /// The repository.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// This process writes through another handle, or collects garbage.
    #[error("{}: repository is in use by this process", path.display())]
    InUseHere {
        /// The repository.
        path: PathBuf,
    },
    /// The repository was made anew while the lock was given up.
    #[error("{}: the repository was made anew meanwhile", path.display())]
    MadeAnew {
        /// The repository.
        path: PathBuf,
    },
    /// The caller's output took no more.
    #[error("write output")]
    Output {
        /// What it said.
        source: io::Error,
    },
    /// A stream's contents do not have the digest they were promised under.
    #[error("contents hash to sha256:{actual}, not sha256:{expected}")]
    ContentMismatch {
        /// The promised SHA-256 in hex.
        expected: String,
        /// The SHA-256 they have, in hex.
        actual: String,
    },
    /// A stream refers to another one under a digest that leads elsewhere.
    #[error("reference mismatch: no stream sha256:{body} has the id {expected}")]
    ReferenceMismatch {
        /// The SHA-256 it refers by, in hex.
        body: String,
        /// The id it names.
        expected: ObjectId,
    },
    /// The parts of a stream do not come as the caller asked for them.
    #[error("stream {id}: {reason}")]
    StreamShape {
        /// The stream.
        id: ObjectId,
        /// What is in the way.
        reason: &'static str,
    },
    /// A stream without a promised digest cannot be named by it.
    #[error("the stream was begun without a digest, and has no name")]
    NoDigest,
    /// A ref that must be new is there already.
    #[error("{category} ref exists: {name}")]
    RefExists {
        /// Of which kind.
        category: Category,
        /// The path below `refs/`.
        name: String,
    },
    /// Something is there that would have to be replaced.
    #[error("{}: is there already", path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A function of the caller failed.
    #[error(transparent)]
    Caller(Box<dyn std::error::Error + Send + Sync>),
    /// A name breaks the rules.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A mount did not come about.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A file tree breaks the rules.
    #[error("{}", path.display())]
    Tree {
        /// Where.
        path: PathBuf,
        /// How.
        source: TreeError,
    },
}

/// What is wrong with an entry or ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkFault {
    /// Not a symlink at all.
    NotASymlink,
    /// An entry whose target does not end in `xx/rest` of an id.
    NotAnObjectPath,
    /// A ref whose target has no last component, or one that is not UTF-8.
    NoEntryName,
    /// A directory below `refs/` that lies deeper than refs are read; what is in it is not known.
    TooDeep,
}

impl fmt::Display for LinkFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NotASymlink => "not a symlink",
            Self::NotAnObjectPath => "target is no object path",
            Self::NoEntryName => "target names no entry",
            Self::TooDeep => "directory lies deeper than refs are read",
        })
    }
}

/// Why a repository may not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadOnlyReason {
    /// `meta.json` lists features under `read-only-compatible` that we do not know.
    UnknownFeatures(Vec<String>),
    /// `meta.json` has version 0.
    VersionZero,
    /// The repository is old, and the caller forbade the upgrade.
    NoUpgrade,
    /// The directory is empty and the caller named no algorithm.
    NoAlgorithm,
}

impl fmt::Display for ReadOnlyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFeatures(names) => write!(f, "unknown features {}", names.join(", ")),
            Self::VersionZero => f.write_str("meta.json has version 0"),
            Self::NoUpgrade => f.write_str("it has no meta.json, and upgrading was forbidden"),
            Self::NoAlgorithm => f.write_str("it is empty, and no algorithm was given"),
        }
    }
}

impl Error {
    /// Makes an [`Error::Io`]; for use in `map_err`.
    pub fn io<E: Into<io::Error>>(step: Step, path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { step, path: path.into(), source: source.into() }
    }

    /// Wraps what a function of the caller says; for use in `map_err`.
    pub fn caller(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Caller(error.into())
    }

    /// Tells whether what was asked for does not exist.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        match self {
            Self::NotARepository { .. } | Self::ObjectMissing { .. } | Self::NotFound { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Tells whether the repository is damaged.
    #[must_use]
    pub const fn is_corrupt(&self) -> bool {
        matches!(
            self,
            Self::ObjectMismatch { .. }
                | Self::VerityMissing { .. }
                | Self::VerityAlgorithm { .. }
                | Self::BadLink { .. }
                | Self::Stream { .. }
                | Self::StreamShape { .. }
                | Self::ContentMismatch { .. }
                | Self::ReferenceMismatch { .. }
                | Self::Image { .. }
                | Self::Meta { .. }
        )
    }

    /// Returns the object that is missing or damaged, where that is what happened.
    #[must_use]
    pub const fn object(&self) -> Option<ObjectId> {
        match self {
            Self::ObjectMissing { id }
            | Self::ObjectMismatch { id, .. }
            | Self::VerityMissing { id }
            | Self::StreamShape { id, .. }
            | Self::Stream { id, .. }
            | Self::Image { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// Tells whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::InUse { .. } | Self::InUseHere { .. } => true,
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
            _ => false,
        }
    }

    /// Returns what a user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotARepository { path } => {
                format!("make one with `cfsctl init {}`", path.display())
            }
            Self::ObjectMismatch { .. } | Self::VerityMissing { .. } | Self::ObjectMissing { .. } => {
                "`cfsctl fsck` lists what is damaged; `cfsctl repair` stores it anew".to_owned()
            }
            Self::VerityUnsupported { .. } => {
                "`tune2fs -O verity DEVICE` switches it on for ext4; `--insecure` works without".to_owned()
            }
            Self::VerityRequired { .. } => {
                "leave out `--require-verity`, or make the repository anew on a file system with fs-verity"
                    .to_owned()
            }
            Self::InUse { .. } => {
                "another process has the repository open; try again when it is done".to_owned()
            }
            Self::ReadOnly { reason: ReadOnlyReason::UnknownFeatures(_), .. } => {
                "a newer version wrote this repository; use that to change it".to_owned()
            }
            Self::ReadOnly { reason: ReadOnlyReason::NoUpgrade, .. } => "leave out `--no-upgrade`".to_owned(),
            Self::Meta { source, .. } => return source.hint(),
            Self::Mount(error) => return error.hint(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space; `cfsctl gc` removes what no tag needs".to_owned()
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "is this the right user for this repository?".to_owned()
            }
            _ => return None,
        })
    }
}

/// The most causes that are told. Chains are short; the bound is for one that bites its tail.
const CAUSES_MAX: usize = 8;

/// Returns an error and its causes on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..CAUSES_MAX {
        let Some(error) = cause else { break };
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
