//! Why a store of podman's cannot be read.

use std::{io, path::PathBuf};

use rustix::io::Errno;

/// Why a store of podman's, or a layer in it, cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A driver whose directories we don't know.
    #[error("the storage driver `{0}` is not read natively")]
    Driver(String),
    /// No directory.
    #[error("there is no store")]
    NoStore,
    /// A file that says where stores are.
    #[error("it is no storage.conf: {0}")]
    Config(String),
    /// No place for a store can be known.
    #[error("neither HOME nor XDG_DATA_HOME says where the store is")]
    NoHome,
    /// A name in the store's records that would lead elsewhere.
    #[error("`{0}` is no id")]
    BadId(String),
    /// A layer that the image has and the store has not.
    #[error("layer {0} of the image is not in the store")]
    LayerMissing(String),
    /// Layers that go in a circle, or are too many.
    #[error("the parents of layer {0} have no end")]
    Endless(String),
    /// The store's layers are not the config's.
    #[error("the image has {layers} layers in the store, its config has {diff_ids}")]
    LayerCount {
        /// In the store.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// A layer in the wrong place.
    #[error("layer {id} has the diff_id {actual}, the config says {expected}")]
    LayerMixup {
        /// The layer's id in the store.
        id: String,
        /// What the store says.
        actual: String,
        /// What the config says.
        expected: String,
    },
    /// A layer whose tar cannot be put together.
    #[error("the store has no tar-split of layer {0}")]
    NoTarSplit(String),
    /// A line that is not what tar-split writes.
    #[error("line {line} of the tar-split: {reason}")]
    TarSplit {
        /// Which line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// A name in the tar that is none of a file in the layer.
    #[error("`{0}` is no path of a file in the layer")]
    BadPath(String),
    /// A file that cannot be opened or read.
    #[error("{path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A file that cannot be taken over as it is.
    #[error("{path} cannot be taken without copying")]
    Share {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Something that has no contents stands in a file's place.
    #[error("{path} should be a regular file and is {found}")]
    Kind {
        /// Which.
        path: String,
        /// What it is.
        found: &'static str,
    },
    /// A file that was changed since.
    #[error("{path} has {actual} bytes; there were {expected} when the layer was stored")]
    Size {
        /// Which.
        path: String,
        /// When the layer was stored.
        expected: u64,
        /// Now.
        actual: u64,
    },
    /// A file that was changed since.
    #[error("the contents of {0} are not those that were stored")]
    Changed(String),
    /// A file that overlayfs made without contents.
    #[error("{0} has metadata only, its contents are in a layer below (overlayfs's metacopy)")]
    Metacopy(String),
    /// A sparse member, of which the store keeps the expanded file and not the form it had.
    #[error("{0} is sparse in the layer's tar; the store does not keep how")]
    Sparse(String),
    /// An image of a layer's names that cannot be read.
    #[error("{}: {reason}", path.display())]
    Composefs {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl StorageError {
    /// Returns what to do about it, in a sentence, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::File { source, .. } if is_denied(source) => {
                "a rootless store has files of other user ids: run this inside `podman unshare`"
            }
            Self::Share { .. } => {
                "store and repository must be on one file system that can share blocks: btrfs, or XFS with reflink=1"
            }
            Self::LayerMissing(_) | Self::Endless(_) => {
                "the store is damaged, or the image was being removed; `podman pull` brings it back"
            }
            Self::NoTarSplit(_) | Self::Sparse(_) => {
                "only a registry or an archive has this layer's exact bytes; pull it from there"
            }
            Self::File { .. }
            | Self::Kind { .. }
            | Self::Size { .. }
            | Self::Changed(_)
            | Self::Metacopy(_) => {
                "the layer was altered in the store; `podman pull` the image again after `podman rmi`"
            }
            Self::NoStore => "say which: containers-storage:[overlay@/path/of/store]NAME",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

fn is_denied(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ACCESS | Errno::PERM))
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_sub_ids_lead_to_podman_unshare() {
        let file = |errno: Errno| StorageError::File { path: "usr/a".to_owned(), source: errno.into() };
        assert!(file(Errno::ACCESS).hint().unwrap().contains("podman unshare"));
        assert!(file(Errno::NOENT).hint().unwrap().contains("podman pull"));
        assert_eq!(StorageError::NoHome.hint(), None);
        // It gets through the reader of a blob, too.
        let digest = crate::digest::Digest::sha256(b"");
        let error = crate::Error::blob_io(&digest, file(Errno::ACCESS).into());
        assert!(error.hint().unwrap().contains("podman unshare"));
    }
}
