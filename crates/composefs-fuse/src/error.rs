//! Why there is no FUSE mount, with what to do about it.

use std::{fmt, io, path::PathBuf};

/// The result of everything here.
pub type Result<T, E = FuseError> = std::result::Result<T, E>;

/// What was being done when the system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FuseStep {
    /// Opening `/dev/fuse`.
    OpenDevice,
    /// Making the mount.
    Mount,
    /// Running `fusermount3`.
    Helper,
    /// The first words with the kernel.
    Handshake,
    /// Putting the mount in its place.
    Place,
    /// Answering the kernel.
    Serve,
    /// Making a user namespace.
    MakeNamespace,
    /// Mapping ids into a user namespace.
    MapIds,
    /// Going into a user namespace.
    EnterNamespace,
}

impl fmt::Display for FuseStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OpenDevice => "open",
            Self::Mount => "mount by FUSE",
            Self::Helper => "run",
            Self::Handshake => "greet the kernel",
            Self::Place => "place mount",
            Self::Serve => "serve",
            Self::MakeNamespace => "make a user namespace",
            Self::MapIds => "map ids",
            Self::EnterNamespace => "enter the user namespace",
        })
    }
}

/// Why there is no FUSE mount, or no namespace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FuseError {
    /// The image, its repository, or another part of mounting.
    #[error(transparent)]
    Composefs(#[from] composefs::Error),
    /// The bytes of the image are not what its id says.
    #[error("image {0} is damaged")]
    Damaged(composefs::digest::ObjectId),
    /// Every object must be checked by the kernel, in a repository where it cannot.
    #[error("repository is not verified, so its files cannot be required to have fs-verity")]
    NotVerified,
    /// The system refused a step.
    #[error("{step} {}", path.display())]
    Io {
        /// The step.
        step: FuseStep,
        /// What it was done to or with; empty for the process.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `fusermount3` refused.
    #[error("{}: {message}", path.display())]
    Refused {
        /// The mountpoint.
        path: PathBuf,
        /// What it said.
        message: String,
    },
}

impl FuseError {
    pub(crate) fn io<E: Into<io::Error>>(step: FuseStep, path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { step, path: path.into(), source: source.into() }
    }

    /// Returns what a user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let Self::Io { step, source, .. } = self else {
            return match self {
                Self::Composefs(composefs::Error::Mount(error)) => error.hint(),
                Self::NotVerified => {
                    Some("leave out `--verity`: the server checks objects itself".to_owned())
                }
                Self::Refused { message, .. } if message.contains("user_allow_other") => {
                    Some("the line `user_allow_other` in /etc/fuse.conf lets users do so".to_owned())
                }
                _ => None,
            };
        };
        let text = match (step, source.kind()) {
            (FuseStep::OpenDevice, io::ErrorKind::NotFound) => {
                "`modprobe fuse`, or a container with `--device /dev/fuse`"
            }
            (FuseStep::OpenDevice, io::ErrorKind::PermissionDenied) => {
                "users may mount where /dev/fuse is open to them (mode 0666)"
            }
            (FuseStep::Helper, io::ErrorKind::NotFound) => {
                "install the package fuse3, which lets users mount with `fusermount3`"
            }
            (FuseStep::MakeNamespace, _) => {
                "the machine must let users make namespaces: user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}
