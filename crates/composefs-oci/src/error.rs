//! The crate's one public error.

use std::{fmt, io, path::PathBuf};

use composefs::{digest::ObjectId, name::NameError, splitstream::SplitstreamError};

use crate::{
    digest::{BlobFault, DiffId, Digest, ManifestDigest},
    model::ModelError,
    policy::PolicyError,
    reference::ReferenceError,
    rootfs::MergeError,
    seal::SealError,
    transport::containers_storage::StorageError,
};

#[cfg(feature = "registry")]
use crate::transport::registry::{fault::RegistryError, hosts::HostsError, tls::TlsError};

/// What was being done when a system call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Opening a file of the medium.
    OpenSource,
    /// Reading from the medium.
    ReadSource,
    /// Writing out.
    Write,
    /// Starting a thread.
    Spawn,
    /// Locking a file of the medium.
    Lock,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenSource => "open",
            Self::ReadSource => "read",
            Self::Write => "write",
            Self::Spawn => "start a thread for",
            Self::Lock => "lock",
        })
    }
}

/// Why something with an image did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The repository.
    #[error(transparent)]
    Repository(#[from] composefs::error::Error),
    /// A name that no tag or stream can have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A text that is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A file of the medium.
    #[error("{step} {place}")]
    Source {
        /// What was being done.
        step: Step,
        /// Which file.
        place: String,
        /// Why it did not work.
        source: io::Error,
    },
    /// A store of podman's.
    #[error("{place}")]
    Storage {
        /// Which store, file or layer.
        place: String,
        /// What is wrong.
        source: StorageError,
    },
    /// A directory or archive that is no OCI layout.
    #[error("{} is no OCI layout: {reason}", path.display())]
    NotALayout {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A path that is not what the transport reads.
    #[error("{} is no {form}: {reason}", path.display())]
    WrongForm {
        /// Which.
        path: PathBuf,
        /// What it should be.
        form: &'static str,
        /// Why it is not.
        reason: String,
    },
    /// A medium, or a name, that no image can be put under.
    #[error("{reference} cannot be written: {reason}")]
    NotADestination {
        /// Where to.
        reference: String,
        /// Why not.
        reason: &'static str,
    },
    /// An index one of whose images is kept in another form than it says, so that it cannot be copied as it is.
    #[error(
        "{reference} has layer {layer} only in another form, and an index is copied as it is or not at all"
    )]
    KeptOtherwise {
        /// The image.
        reference: String,
        /// The layer, as its manifest names it.
        layer: Digest,
    },
    /// A layer that packs to other bytes than it did before.
    #[error("layer {layer} does not pack to the bytes that are noted of it")]
    PackedOtherwise {
        /// Which.
        layer: DiffId,
    },
    /// Docker's daemon.
    #[error("ask the Docker daemon at {host} for {image}")]
    Daemon {
        /// Where it listens.
        host: String,
        /// For what it was asked.
        image: String,
        /// What happened.
        source: io::Error,
    },
    /// Nothing on the medium is what was asked for.
    #[error("{reference}: {reason}")]
    NoSuchImage {
        /// What was asked for.
        reference: String,
        /// Why nothing fits.
        reason: String,
        /// What is there.
        present: Vec<String>,
    },
    /// A registry.
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Registry(Box<RegistryError>),
    /// What may be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// An image that cannot be run, or not so.
    #[error(transparent)]
    Bundle(#[from] crate::bundle::BundleError),
    /// The settings of registries.
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Hosts(#[from] HostsError),
    /// Certificates for registries.
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No connection can be prepared.
    #[cfg(feature = "registry")]
    #[error("connections to registries: {0}")]
    Connections(String),
    /// A transport that needs the proxy.
    #[error("{reference} needs the skopeo proxy")]
    NeedsProxy {
        /// The reference.
        reference: String,
    },
    /// A descriptor of a type that has no business where it stands.
    #[error("{digest}: media type {media_type} is neither a manifest nor an index of manifests")]
    MediaType {
        /// What it describes.
        digest: String,
        /// Its type.
        media_type: String,
    },
    /// A document that is not what it should be.
    #[error("{subject}")]
    Model {
        /// Its digest or path.
        subject: String,
        /// What is wrong.
        source: ModelError,
    },
    /// A document larger than any real one.
    #[error("{digest}: {size} bytes, more than {max}")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// A blob that is not on the medium.
    #[error("blob {digest} is missing: {place}")]
    BlobMissing {
        /// Which.
        digest: Digest,
        /// Where it should be.
        place: String,
    },
    /// A blob that is not what its descriptor says.
    #[error("blob {digest}: {fault}")]
    BlobMismatch {
        /// The descriptor's digest.
        digest: Digest,
        /// How it differs.
        fault: BlobFault,
    },
    /// A blob that could not be read or decompressed.
    #[error("blob {digest}")]
    BlobRead {
        /// Which.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// A layer whose tar is not what the config promises.
    #[error("layer {diff_id}: contents hash to {actual}")]
    LayerMismatch {
        /// What the config says.
        diff_id: DiffId,
        /// What the tar hashes to.
        actual: DiffId,
    },
    /// A layer that is no tar archive.
    #[error("layer {layer}")]
    LayerTar {
        /// Its diff_id, or its blob's digest.
        layer: Digest,
        /// What is wrong.
        source: composefs_tar::Error,
    },
    /// A layer with a member that no tree can hold: a name that leads out of it, an unknown type.
    #[error("layer {layer}")]
    Entry {
        /// Its diff_id.
        layer: Digest,
        /// Which member, and why.
        source: composefs_tar::EntryError,
    },
    /// A layer whose entries cannot be merged.
    #[error("layer {diff_id}")]
    Merge {
        /// Which layer.
        diff_id: DiffId,
        /// Which entry, and why.
        source: MergeError,
    },
    /// A tree that cannot be made an image.
    #[error("image of {config}")]
    Tree {
        /// The config.
        config: Digest,
        /// What is wrong.
        source: composefs::filetree::TreeError,
    },
    /// The manifest is not the one expected.
    #[error("the manifest is {actual}, expected {expected}")]
    UnexpectedManifest {
        /// What was expected.
        expected: ManifestDigest,
        /// What was found.
        actual: ManifestDigest,
    },
    /// A tag or digest that is not in the repository.
    #[error("OCI reference not found: {0}")]
    NotFound(String),
    /// Others collected garbage again and again while a pull waited for its data, and took what had come.
    #[error("what was fetched was collected by others {rounds} times in a row")]
    Collected {
        /// How often it was fetched.
        rounds: u32,
    },
    /// A splitstream that cannot be built or read on.
    #[error("stream {subject}")]
    Stream {
        /// Its name.
        subject: String,
        /// What is wrong.
        source: Box<SplitstreamError>,
    },
    /// A tree that no image can hold.
    #[error("EROFS image")]
    ImageWrite(#[source] composefs::erofs::WriteError),
    /// A stored stream that contradicts itself or its name.
    #[error("{subject}: {reason}")]
    Damaged {
        /// The stream.
        subject: String,
        /// How.
        reason: String,
    },
    /// An image that is no container where one is needed.
    #[error("{0} is an artifact, not a container image")]
    NotAContainer(String),
    /// An image without an EROFS image in the repository's format.
    #[error("no composefs EROFS image linked to {0}")]
    NoImage(String),
    /// A tree that cannot be made to boot.
    #[error("boot image of {config}")]
    Boot {
        /// The config.
        config: Digest,
        /// What is wrong.
        source: Box<composefs::filetree::boot::BootError>,
    },
    /// No format and attribute mode give the boot image that was expected.
    #[error("no boot image is {expected} (tried {tried} combinations of attribute mode and format)")]
    NoBootImage {
        /// What was expected.
        expected: ObjectId,
        /// How many combinations were tried.
        tried: usize,
    },
    /// A seal that does not hold, or cannot be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A signature that could not be made.
    #[cfg(feature = "signatures")]
    #[error("sign")]
    Sign(#[source] crate::signature::CmsError),
    /// A config that was never sealed.
    #[error("can only mount sealed containers")]
    NotSealed,
    /// A config without a config section cannot carry a label.
    #[error("no config section to carry the seal")]
    NoConfigSection,
    /// The file system has less room than a pull needs at the very least. Nothing was fetched.
    #[error(
        "no space for it in {}: it takes {} at least, and there is {}",
        path.display(), resource.more_than(*needed), resource.less_than(*available)
    )]
    NoSpace {
        /// The repository.
        path: PathBuf,
        /// What there is too little of.
        resource: Resource,
        /// How much is needed at the least, in bytes or files.
        needed: u64,
        /// How much there is.
        available: u64,
    },
    /// Somebody asked for it to stop.
    #[error("interrupted; {}", kept_words(*kept))]
    Cancelled {
        /// Layers that were finished before, and are not fetched again.
        kept: usize,
    },
    /// The proxy.
    #[cfg(feature = "proxy")]
    #[error("{step} {reference} through skopeo")]
    Proxy {
        /// What was asked of it.
        step: &'static str,
        /// For which image.
        reference: String,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What a file system can run out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// Room for contents.
    Bytes,
    /// Room for files and directories, whatever they hold: inodes.
    Files,
}

impl Resource {
    pub(crate) fn more_than(self, amount: u64) -> String {
        match self {
            Self::Bytes => format!("{} MiB", amount.div_ceil(1 << 20)),
            Self::Files => format!("{amount} files"),
        }
    }

    pub(crate) fn less_than(self, amount: u64) -> String {
        match self {
            Self::Bytes => format!("{} MiB", amount >> 20),
            Self::Files => format!("room for {amount}"),
        }
    }
}

fn kept_words(kept: usize) -> String {
    match kept {
        0 => "no layer was finished".to_owned(),
        1 => "1 layer is kept".to_owned(),
        kept => format!("{kept} layers are kept"),
    }
}

impl Error {
    pub(crate) fn source(step: Step, place: impl fmt::Display, source: io::Error) -> Self {
        Self::Source { step, place: place.to_string(), source }
    }

    pub(crate) fn storage(place: impl fmt::Display, source: StorageError) -> Self {
        Self::Storage { place: place.to_string(), source }
    }

    pub(crate) fn stream(subject: impl fmt::Display, source: SplitstreamError) -> Self {
        Self::Stream { subject: subject.to_string(), source: Box::new(source) }
    }

    pub(crate) fn model(subject: impl fmt::Display, source: ModelError) -> Self {
        Self::Model { subject: subject.to_string(), source }
    }

    pub(crate) fn blob(digest: &Digest, fault: BlobFault) -> Self {
        Self::BlobMismatch { digest: digest.clone(), fault }
    }

    /// Returns the layer that can never be part of an image, if that is the error.
    pub(crate) const fn unmergeable(&self) -> Option<&Digest> {
        match self {
            Self::Merge { diff_id, .. } => Some(diff_id.digest()),
            _ => None,
        }
    }

    /// Tells a fault of the contents from a failure to read them.
    pub(crate) fn blob_io(digest: &Digest, error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<BlobFault>()) {
            Some(fault) => Self::blob(digest, fault.clone()),
            None => Self::blob_read(digest, error),
        }
    }

    #[cfg(feature = "registry")]
    fn blob_read(digest: &Digest, error: io::Error) -> Self {
        match error.downcast::<RegistryError>() {
            Ok(error) => Self::Registry(Box::new(error)),
            Err(source) => Self::BlobRead { digest: digest.clone(), source },
        }
    }

    #[cfg(not(feature = "registry"))]
    fn blob_read(digest: &Digest, source: io::Error) -> Self {
        Self::BlobRead { digest: digest.clone(), source }
    }

    /// Returns what to do about it, in a sentence, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repository(error) => error.hint(),
            Self::Reference(error) => error.hint(),
            Self::Policy(error) => error.hint(),
            Self::Seal(error) => error.hint(),
            Self::Bundle(error) => error.hint(),
            #[cfg(feature = "registry")]
            Self::Registry(error) => error.hint(),
            #[cfg(feature = "registry")]
            Self::Hosts(error) => error.hint(),
            Self::Storage { source, .. } => source.hint(),
            Self::BlobRead { source, .. } => {
                source.get_ref().and_then(|inner| inner.downcast_ref::<StorageError>())?.hint()
            }
            Self::NoSuchImage { present, .. } if !present.is_empty() => {
                Some(format!("there are: {}", present.join(", ")))
            }
            Self::BlobMissing { .. } | Self::BlobMismatch { .. } => {
                Some("the source is incomplete or was altered; nothing was stored under this name".to_owned())
            }
            Self::LayerMismatch { .. } => Some(
                "the layout is damaged or was altered; nothing was stored under this layer's name".to_owned(),
            ),
            Self::NoImage(_) => Some("pull it again to build the image".to_owned()),
            Self::NotFound(_) => Some("`cfsctl oci images` lists what is here".to_owned()),
            Self::NoSpace { .. } => Some(
                "free some space; `cfsctl gc` removes what no tag needs; --no-space-check tries it nevertheless"
                    .to_owned(),
            ),
            Self::Collected { .. } => Some("pull again while nobody runs `gc`".to_owned()),
            Self::NotSealed => Some("`cfsctl oci seal` binds an image to its config".to_owned()),
            Self::Daemon { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Some(
                    "does it run? DOCKER_HOST says where, such as unix:///run/user/1000/podman/podman.sock"
                        .to_owned(),
                ),
                io::ErrorKind::PermissionDenied => {
                    Some("only root and the socket's group may ask it; or say DOCKER_HOST".to_owned())
                }
                _ => None,
            },
            Self::Source { step: Step::OpenSource, place, source }
                if source.kind() == io::ErrorKind::NotFound =>
            {
                let layout = place.strip_suffix("/oci-layout").or_else(|| place.strip_suffix("/index.json"));
                Some(match layout {
                    Some(path) => format!("there is no whole OCI layout at {path}; check the path"),
                    None => "check the path".to_owned(),
                })
            }
            Self::NotALayout { .. } => {
                Some("an OCI layout has the files oci-layout and index.json".to_owned())
            }
            _ => None,
        }
    }

    /// Tells whether trying again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Repository(error) => error.is_transient(),
            #[cfg(feature = "registry")]
            Self::Registry(error) => error.is_transient(),
            Self::Source { source, .. } | Self::BlobRead { source, .. } | Self::Daemon { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
                )
            }
            _ => false,
        }
    }
}
