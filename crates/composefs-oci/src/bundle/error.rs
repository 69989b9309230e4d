//! Why there is no bundle.

use composefs::filetree::TreeError;

/// Why an image and the options make no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Neither the image nor the caller names a program.
    #[error("the image names no program to run")]
    NoProgram,
    /// A user that the image does not know.
    #[error("user {user:?} is not in the image's /etc/passwd")]
    NoSuchUser {
        /// The user.
        user: String,
    },
    /// A group that the image does not know.
    #[error("group {group:?} is not in the image's /etc/group")]
    NoSuchGroup {
        /// The group.
        group: String,
    },
    /// A number above what the kernel takes.
    #[error("{id} is no id of a user or group: they end at 4294967294")]
    NoSuchId {
        /// The digits.
        id: String,
    },
    /// An id that the user namespace does not have.
    #[error("id {id} is not to be had: you have {limit} of them, from 0 on")]
    NotMapped {
        /// The id.
        id: u32,
        /// How many there are.
        limit: u32,
    },
    /// A path that has to be absolute.
    #[error("{what} {path:?} is not an absolute path")]
    NotAbsolute {
        /// What it is.
        what: &'static str,
        /// The path.
        path: String,
    },
    /// A variable without a name, or with a zero byte.
    #[error("{text:?} is no environment variable: NAME=VALUE is")]
    Variable {
        /// The text.
        text: String,
    },
    /// A capability that does not exist.
    #[error("there is no capability {name:?}")]
    Capability {
        /// What was asked for.
        name: String,
    },
    /// A profile of system calls that cannot be used.
    #[error("seccomp profile {place}: {reason}")]
    Seccomp {
        /// Which.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A path of the image that cannot be followed.
    #[error("look up {path} in the image")]
    Lookup {
        /// Which.
        path: String,
        /// Why not.
        source: TreeError,
    },
    /// A file that is too large to be what it should be.
    #[error("{path} in the image has {size} bytes, more than {limit}")]
    TooLarge {
        /// Which.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// The types of the runtime specification refused a value.
    #[error("make config.json: {reason}")]
    Specification {
        /// Their word.
        reason: String,
    },
}

impl BundleError {
    /// Returns what to do about it, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoProgram => Some("name a program after the image".to_owned()),
            Self::NoSuchUser { .. } | Self::NoSuchGroup { .. } => {
                Some("give numbers, as in 1000:1000".to_owned())
            }
            Self::NotMapped { .. } => Some(
                "let root add a range for you to /etc/subuid and /etc/subgid, and install newuidmap, or run it as 0"
                    .to_owned(),
            ),
            Self::Capability { .. } => {
                Some("names are those of capabilities(7), as in NET_ADMIN, or ALL".to_owned())
            }
            _ => None,
        }
    }
}
