//! What a caller may wish of a mount.

use std::path::PathBuf;

use super::{
    error::{MountError, Result},
    idmap::IdMap,
    probe::Kernel,
};

/// Whether overlayfs checks contents against the digests in the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VerityPolicy {
    /// Required in a verified repository, off in any other.
    #[default]
    Auto,
    /// Every file must have a digest in the image, and fs-verity with that digest.
    Require,
    /// Every file that has a digest in the image must have fs-verity with that digest.
    On,
    /// Nothing is checked by overlayfs; the file system still checks files that have fs-verity.
    Off,
}

/// How the image gets to be an EROFS mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AttachPolicy {
    /// From its file where the kernel can, else through a loop device.
    #[default]
    Auto,
    /// From its file only.
    File,
    /// Through a loop device only.
    Loop,
}

/// Whether files may be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Access {
    /// No.
    #[default]
    ReadOnly,
    /// Yes; changes go to the upper layer.
    ReadWrite,
}

/// Where changes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpperLayer {
    /// Into a directory, with a second one on the same file system for the kernel's work.
    Directory {
        /// The directory of changes.
        upper: PathBuf,
        /// The work directory.
        work: PathBuf,
    },
    /// Into memory; they are gone with the mount.
    Temporary,
}

/// What a caller may wish of a mount. The default is read-only, checked as well as the repository allows.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MountOptions {
    /// What overlayfs checks.
    pub verity: VerityPolicy,
    /// How the image is mounted.
    pub attach: AttachPolicy,
    /// Whether files may be changed.
    pub access: Access,
    /// Where changes go, or where earlier ones are shown from on a read-only mount.
    pub upper: Option<UpperLayer>,
    /// The most bytes that a temporary upper layer takes; `None` is half of the machine's memory.
    pub temporary_bytes: Option<u64>,
    /// Whose the files are shown to be; empty shows the image's owners.
    pub idmap: IdMap,
    /// What the kernel is taken to be able to do; `None` asks it.
    pub kernel: Option<Kernel>,
}

impl MountOptions {
    /// Sets what overlayfs checks.
    #[must_use]
    pub const fn verity(mut self, policy: VerityPolicy) -> Self {
        self.verity = policy;
        self
    }

    /// Sets how the image is mounted.
    #[must_use]
    pub const fn attach(mut self, policy: AttachPolicy) -> Self {
        self.attach = policy;
        self
    }

    /// Sets whether files may be changed; without an upper layer, changes go into memory.
    #[must_use]
    pub const fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Lays two directories over the image: one of changes, one for the kernel's work.
    #[must_use]
    pub fn upper(mut self, upper: impl Into<PathBuf>, work: impl Into<PathBuf>) -> Self {
        self.upper = Some(UpperLayer::Directory { upper: upper.into(), work: work.into() });
        self
    }

    /// Sets the most bytes that a temporary upper layer takes.
    #[must_use]
    pub const fn temporary_bytes(mut self, bytes: Option<u64>) -> Self {
        self.temporary_bytes = bytes;
        self
    }

    /// Sets whose the files are shown to be. What is written to an upper layer is on disk as it is shown.
    #[must_use]
    pub fn idmap(mut self, map: IdMap) -> Self {
        self.idmap = map;
        self
    }

    /// Takes the kernel to be able to do this and no more.
    #[must_use]
    pub fn kernel(mut self, kernel: Kernel) -> Self {
        self.kernel = Some(kernel);
        self
    }

    /// Returns the upper layer there will be.
    ///
    /// # Errors
    /// [`MountError::Contradiction`].
    pub(crate) fn effective_upper(&self) -> Result<Option<UpperLayer>> {
        match (&self.upper, self.access) {
            (Some(UpperLayer::Directory { upper, work }), _) if upper == work => {
                Err(MountError::Contradiction("upper and work directory are the same"))
            }
            (Some(UpperLayer::Temporary), Access::ReadOnly) => {
                Err(MountError::Contradiction("a temporary upper layer is of no use to a read-only mount"))
            }
            (Some(UpperLayer::Directory { .. }) | None, _)
                if self.temporary_bytes.is_some()
                    && (self.upper.is_some() || self.access == Access::ReadOnly) =>
            {
                Err(MountError::Contradiction("a size is of use to a temporary upper layer only"))
            }
            (Some(upper), _) => Ok(Some(upper.clone())),
            (None, Access::ReadWrite) => Ok(Some(UpperLayer::Temporary)),
            (None, Access::ReadOnly) => Ok(None),
        }
    }
}
