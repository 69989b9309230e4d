//! Why a mount did not come about, with what to do about it.

use std::{fmt, io, path::PathBuf};

use super::feature::Feature;

/// The result of mounting.
pub type Result<T, E = MountError> = std::result::Result<T, E>;

/// What was being done when the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MountStep {
    /// Opening the directory to mount on.
    OpenMountpoint,
    /// Opening the upper or the work directory.
    OpenUpper,
    /// Reading the image's header.
    ReadImage,
    /// Putting the image behind a loop device.
    AttachLoop,
    /// Mounting the image by its file.
    MountImageFile,
    /// Mounting the image by its loop device.
    MountImageLoop,
    /// Showing other owners than the image's.
    MapOwners,
    /// Making a temporary file system for changes.
    MountTemporary,
    /// Mounting the overlay.
    MountOverlay,
    /// Putting a mount in its place.
    Place,
    /// Asking for a mount's number.
    Identify,
    /// Unmounting.
    Unmount,
    /// Finding out what the kernel can do.
    Probe,
}

impl fmt::Display for MountStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OpenMountpoint => "open mountpoint",
            Self::OpenUpper => "open upper layer",
            Self::ReadImage => "read image",
            Self::AttachLoop => "attach loop device",
            Self::MountImageFile => "mount image from its file",
            Self::MountImageLoop => "mount image from a loop device",
            Self::MapOwners => "map owners",
            Self::MountTemporary => "mount temporary upper layer",
            Self::MountOverlay => "mount overlay",
            Self::Place => "place mount",
            Self::Identify => "identify mount",
            Self::Unmount => "unmount",
            Self::Probe => "probe kernel",
        })
    }
}

/// Why a mount did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The running kernel cannot do something for which there is no other way.
    #[error("kernel has no {feature}")]
    MissingFeature {
        /// What it lacks.
        feature: Feature,
        /// What it said, where it was tried.
        source: Option<io::Error>,
    },
    /// The process may not mount.
    #[error("{step}: not permitted")]
    NotPermitted {
        /// What was refused.
        step: MountStep,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused a step.
    #[error("{step}: {}{}", path.display(), Messages(messages))]
    Kernel {
        /// The step.
        step: MountStep,
        /// What it was done to.
        path: PathBuf,
        /// What the file system had to say, if anything.
        messages: Vec<String>,
        /// What the call returned.
        source: io::Error,
    },
    /// fs-verity was required of a repository whose objects have none.
    #[error("repository is not verified, so its files cannot be required to have fs-verity")]
    NotVerified,
    /// The options contradict each other.
    #[error("mount options: {0}")]
    Contradiction(&'static str),
    /// The place holds no composefs mount.
    #[error("{}: no composefs mount", path.display())]
    NotMounted {
        /// The place.
        path: PathBuf,
    },
    /// The file is no composefs image.
    #[error("{name}: not a composefs image")]
    NotAnImage {
        /// The image, as named by the caller.
        name: String,
    },
}

/// The kernel's messages, each after a `: `.
struct Messages<'a>(&'a [String]);

impl fmt::Display for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|message| write!(f, ": {message}"))
    }
}

impl MountError {
    /// Makes the error of a step; what the process may not do is told apart.
    pub(crate) fn kernel<E: Into<io::Error>>(
        step: MountStep,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::of(step, path.into(), Vec::new(), source.into())
    }

    pub(crate) fn of(step: MountStep, path: PathBuf, messages: Vec<String>, source: io::Error) -> Self {
        if source.raw_os_error() == Some(rustix::io::Errno::PERM.raw_os_error()) && messages.is_empty() {
            return Self::NotPermitted { step, source };
        }
        Self::Kernel { step, path, messages, source }
    }

    /// Returns the error number of the call that failed, if one did.
    pub(crate) fn errno(&self) -> Option<rustix::io::Errno> {
        match self {
            Self::Kernel { source, .. }
            | Self::NotPermitted { source, .. }
            | Self::MissingFeature { source: Some(source), .. } => {
                source.raw_os_error().map(rustix::io::Errno::from_raw_os_error)
            }
            _ => None,
        }
    }

    /// Returns what a user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        use rustix::io::Errno;
        Some(match self {
            Self::MissingFeature { feature, .. } => feature.remedy().to_owned(),
            Self::NotPermitted { .. } => "mounting needs CAP_SYS_ADMIN: run it as root".to_owned(),
            Self::NotVerified => {
                "leave out `--verity`, or make the repository anew on a file system with fs-verity".to_owned()
            }
            Self::Kernel { step: MountStep::Unmount, source, .. }
                if source.raw_os_error() == Some(Errno::BUSY.raw_os_error()) =>
            {
                "a process has a file or its working directory in there; `--lazy` unmounts when it is done"
                    .to_owned()
            }
            Self::Kernel { step: MountStep::AttachLoop, source, .. }
                if source.kind() == io::ErrorKind::NotFound =>
            {
                "there is no /dev/loop-control: `modprobe loop`, or run it where /dev is the host's"
                    .to_owned()
            }
            Self::Kernel { messages, source, .. }
                if messages.is_empty() && source.kind() == io::ErrorKind::InvalidInput =>
            {
                "the kernel log (`dmesg`) says why".to_owned()
            }
            _ => return None,
        })
    }
}
