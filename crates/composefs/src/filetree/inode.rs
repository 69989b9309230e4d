//! What an inode is: metadata and a kind; and the names that may lead to it.

use std::{borrow::Borrow, fmt};

use crate::digest::ObjectId;

use super::Entries;

/// The name of a directory entry: 1 to 255 bytes without `/` and NUL, not `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The longest name in bytes.
    pub const MAX: usize = 255;

    /// Takes a name that keeps the rules.
    ///
    /// # Errors
    /// One variant of [`NameError`] for each rule.
    pub fn new(name: &[u8]) -> Result<Self, NameError> {
        Self::check(name)?;
        Ok(Self(name.into()))
    }

    /// Tells whether a byte string keeps the rules of a name.
    ///
    /// # Errors
    /// One variant of [`NameError`] for each rule.
    pub fn check(name: &[u8]) -> Result<(), NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > Self::MAX {
            return Err(NameError::TooLong(name.len()));
        }
        if name == b"." || name == b".." {
            return Err(NameError::Dots);
        }
        if name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(NameError::Byte);
        }
        Ok(())
    }

    /// Returns the bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Why a byte string is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing in it.
    #[error("a name is empty")]
    Empty,
    /// More than 255 bytes.
    #[error("a name has {0} bytes, more than 255")]
    TooLong(usize),
    /// `.` or `..`.
    #[error("a name is `.` or `..`")]
    Dots,
    /// A slash or NUL.
    #[error("a name has a slash or NUL in it")]
    Byte,
}

/// Name and value.
type Xattr = (Box<[u8]>, Box<[u8]>);

/// Extended attributes: full name and value, sorted by name, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Xattrs(Vec<Xattr>);

impl Xattrs {
    /// Sets one, replacing a value of the same name.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.0.binary_search_by(|(have, _)| (**have).cmp(name)) {
            Ok(at) => {
                if let Some((_, old)) = self.0.get_mut(at) {
                    *old = value.into();
                }
            }
            Err(at) => self.0.insert(at, (name.into(), value.into())),
        }
    }

    /// Returns a value.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let at = self.0.binary_search_by(|(have, _)| (**have).cmp(name)).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }

    /// Removes one and returns its value.
    pub fn remove(&mut self, name: &[u8]) -> Option<Box<[u8]>> {
        let at = self.0.binary_search_by(|(have, _)| (**have).cmp(name)).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Keeps those that the function wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        self.0.retain(|(name, value)| keep(name, value));
    }

    /// Walks name and value in byte order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The metadata of an inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Permission bits, 07777; no type bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970; negative before.
    pub mtime_seconds: i64,
    /// Nanoseconds after that second, below 10^9.
    pub mtime_nanos: u32,
    /// Extended attributes, as the file's owner sees them (not escaped for overlayfs).
    pub xattrs: Xattrs,
}

/// What a regular file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Regular {
    /// Contents in the image itself; at most [`super::INLINE_CONTENT_MAX`] bytes, except from dumpfiles.
    Inline(Box<[u8]>),
    /// Contents in an object whose digest the image carries.
    External {
        /// The object.
        id: ObjectId,
        /// Size in bytes, above 0.
        size: u64,
    },
    /// Contents in an object that the image names without a digest to check it by.
    Unverified {
        /// The object.
        id: ObjectId,
        /// Size in bytes, above 0.
        size: u64,
    },
    /// Contents in a file named by a path below the object store that is no object path; from dumpfiles only.
    Redirect {
        /// The path, without a leading slash.
        path: Box<[u8]>,
        /// Size in bytes, above 0.
        size: u64,
    },
    /// A size and no contents; from dumpfiles only.
    Sparse(u64),
}

impl Regular {
    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(contents) => contents.len() as u64,
            Self::External { size, .. }
            | Self::Unverified { size, .. }
            | Self::Redirect { size, .. }
            | Self::Sparse(size) => *size,
        }
    }

    /// Returns the object that holds the contents.
    #[must_use]
    pub const fn object(&self) -> Option<&ObjectId> {
        match self {
            Self::External { id, .. } | Self::Unverified { id, .. } => Some(id),
            _ => None,
        }
    }
}

/// The kinds of inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InodeKind {
    /// A directory and its names; a directory has one name itself.
    Directory(Entries),
    /// A regular file.
    Regular(Regular),
    /// A symbolic link: 1 to 4095 bytes without NUL.
    Symlink(Box<[u8]>),
    /// A character device with its number in the kernel's 32-bit encoding; 0 is a whiteout.
    CharDevice(u32),
    /// A block device with its number in the kernel's 32-bit encoding.
    BlockDevice(u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl InodeKind {
    /// Returns the type bits of `st_mode`, 0o170000.
    #[must_use]
    pub const fn type_bits(&self) -> u32 {
        match self {
            Self::Directory(_) => 0o040_000,
            Self::Regular(_) => 0o100_000,
            Self::Symlink(_) => 0o120_000,
            Self::CharDevice(_) => 0o020_000,
            Self::BlockDevice(_) => 0o060_000,
            Self::Fifo => 0o010_000,
            Self::Socket => 0o140_000,
        }
    }

    /// Tells whether this is a directory.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        matches!(self, Self::Directory(_))
    }

    /// Tells whether this is overlayfs's sign that a name is gone: a character device 0:0.
    #[must_use]
    pub const fn is_whiteout(&self) -> bool {
        matches!(self, Self::CharDevice(0))
    }
}

/// Encodes a device number as the kernel does: 12 bits of major, 20 of minor; `None` if they don't fit.
#[must_use]
pub const fn device_number(major: u64, minor: u64) -> Option<u32> {
    if major > 0xfff || minor > 0xf_ffff {
        return None;
    }
    Some((minor & 0xff | major << 8 | (minor & !0xff) << 12) as u32)
}

/// Takes a device number apart: major and minor; the opposite of [`device_number`].
#[must_use]
pub const fn major_minor(device: u32) -> (u32, u32) {
    (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00)
}

/// Metadata and kind of one inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Permissions, owner, times, extended attributes.
    pub stat: Stat,
    /// What it is and holds.
    pub kind: InodeKind,
}
