//! The entry a member stands for: header, GNU long names and PAX records resolved into one.
//!
//! # Format
//! `docs/formats/tree.md` section 4.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;

use thiserror::Error;

use crate::header::{Field, Format, Header, NumberError};
use crate::limits::Limits;
use crate::pax::{Mtime, Pax};
use crate::show::Shown;
use crate::sparse::{SparseError, SparseMap};

const MAX_MAJOR: u64 = 0xfff;
const MAX_MINOR: u64 = 0xf_ffff;

/// What a member adds to a file tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as the archive has it; never empty, not cleaned: see [`components`](Self::components).
    pub path: Vec<u8>,
    /// What kind of file it is, and what only this kind has.
    pub kind: EntryKind,
    /// Permissions, `& 0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Mtime,
    /// Extended attributes: full name to value, unfiltered.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Entry {
    /// The components of the path from the root; none for the root itself.
    ///
    /// # Errors
    /// [`PathError::Parent`] for a `..` anywhere. (The parser has refused such an entry already.)
    pub fn components(&self) -> Result<Vec<&[u8]>, PathError> {
        clean_path(&self.path)
    }
}

/// Kinds of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    Regular {
        /// Bytes of the file, of a sparse one with its holes.
        size: u64,
        /// Where these bytes are.
        content: Content,
    },
    /// Another name of a file that exists already; only the path and this count.
    Hardlink {
        /// Its name, as the archive has it: clean it like a path.
        target: Vec<u8>,
    },
    /// A symbolic link.
    Symlink {
        /// The target's bytes as they are; may be empty, which a tree refuses.
        target: Vec<u8>,
    },
    /// A character device; 0:0 is a user's whiteout.
    CharDevice {
        /// At most 4095.
        major: u32,
        /// At most 2^20 - 1.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// At most 4095.
        major: u32,
        /// At most 2^20 - 1.
        minor: u32,
    },
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// Where the contents of a regular file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Here, whole: at most [`INLINE_MAX`](crate::INLINE_MAX) bytes.
    Inline(Vec<u8>),
    /// In the events that follow, as they are.
    External,
    /// To be expanded: the file is larger than [`INLINE_MAX`](crate::INLINE_MAX) and has holes. The stored data
    /// are in the events that follow or, if few, in the map.
    Sparse(SparseMap),
}

/// Why a path is no way into a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// It has a `..`.
    #[error("path contains `..`")]
    Parent,
}

/// Splits a path of an archive into its components; empty ones and `.` disappear, and with them a leading or
/// trailing slash.
///
/// # Format
/// `docs/formats/tree.md` section 2, step 1.
///
/// # Errors
/// [`PathError::Parent`] for a `..` anywhere.
pub fn clean_path(path: &[u8]) -> Result<Vec<&[u8]>, PathError> {
    let parts = path.split(|&b| b == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.map(|part| if part == b".." { Err(PathError::Parent) } else { Ok(part) }).collect()
}

/// A member that no entry of a tree can stand for. The archive can still be split and put together again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("member {}", Shown(.path))]
pub struct EntryError {
    /// The member's name as the archive has it.
    pub path: Vec<u8>,
    /// What is wrong with it.
    #[source]
    pub fault: EntryFault,
}

/// What keeps a member from being an entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryFault {
    /// It has no name.
    #[error("empty path")]
    EmptyPath,
    /// Its name leads elsewhere.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A type that no file has.
    #[error("unknown type `{}`", type_flag.escape_ascii())]
    UnknownType {
        /// The header's type byte.
        type_flag: u8,
    },
    /// A number that is none, or does not fit.
    #[error("bad {field}")]
    Number {
        /// Which one.
        field: Field,
        /// What is wrong with it.
        source: NumberError,
    },
    /// A device in a header that has no place for its number.
    #[error("device without numbers")]
    NoDeviceNumber,
    /// A device number beyond what images hold.
    #[error("device number {major}:{minor} is too large")]
    DeviceNumber {
        /// Largest: 4095.
        major: u64,
        /// Largest: 2^20 - 1.
        minor: u64,
    },
    /// An xattr record with an empty name.
    #[error("extended attribute without a name")]
    XattrName,
    /// A name or a link's target longer than [`name_bytes`](crate::Limits::name_bytes).
    #[error("a name of more than {limit} bytes")]
    LongName {
        /// The most there may be.
        limit: usize,
    },
    /// Extended attributes that together are larger than [`xattr_bytes`](crate::Limits::xattr_bytes).
    #[error("more than {limit} bytes of extended attributes")]
    Xattrs {
        /// The most there may be.
        limit: usize,
    },
    /// A sparse member that cannot be expanded.
    #[error(transparent)]
    Sparse(#[from] SparseError),
}

/// What came before a member's header for it.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) long_name: Option<Vec<u8>>,
    pub(crate) long_link: Option<Vec<u8>>,
    pub(crate) pax: Option<Box<Pax>>,
    /// A long name or link is longer than the limit, and not all of it is kept.
    pub(crate) cut: bool,
}

/// Whether members of this type have a file's contents after their header.
pub(crate) fn is_file(type_flag: u8) -> bool {
    matches!(type_flag, b'0' | 0 | b'7')
}

/// The member's name: PAX sparse name, PAX path, GNU long name, header.
pub(crate) fn path(header: Header<'_>, extensions: &mut Extensions) -> Vec<u8> {
    let pax = extensions.pax.as_deref_mut();
    pax.and_then(|pax| pax.sparse_name.take().or_else(|| pax.path.take()))
        .or_else(|| extensions.long_name.take())
        .unwrap_or_else(|| header.path())
}

/// Resolves everything but the contents, which of a regular file count as external until they are seen.
pub(crate) fn resolve(
    header: Header<'_>,
    path: Vec<u8>,
    extensions: Extensions,
    size: u64,
    is_sparse: bool,
    limits: &Limits,
) -> Result<Entry, EntryError> {
    let fail = |path: Vec<u8>, fault: EntryFault| Err(EntryError { path, fault });
    if extensions.cut || extensions.pax.as_ref().is_some_and(|pax| pax.long_name) {
        return fail(path, EntryFault::LongName { limit: limits.name_bytes });
    }
    if extensions.pax.as_ref().is_some_and(|pax| pax.many_xattrs) {
        return fail(path, EntryFault::Xattrs { limit: limits.xattr_bytes });
    }
    if path.is_empty() {
        return fail(path, EntryFault::EmptyPath);
    }
    if path.split(|&b| b == b'/').any(|part| part == b"..") {
        return fail(path, EntryFault::Path(PathError::Parent));
    }
    let mut pax = extensions.pax;
    let link = pax.as_deref_mut().and_then(|pax| pax.link_path.take()).or(extensions.long_link);
    let regular = || EntryKind::Regular { size, content: Content::External };
    let kind = match header.type_flag() {
        b'S' if is_sparse => regular(),
        // The seventh edition had no type for directories but the slash.
        b'0' | 0 if header.format() == Format::V7 && path.ends_with(b"/") => EntryKind::Directory,
        type_flag if is_file(type_flag) => regular(),
        b'1' => EntryKind::Hardlink { target: link.unwrap_or_else(|| header.link().to_vec()) },
        b'2' => EntryKind::Symlink { target: link.unwrap_or_else(|| header.link().to_vec()) },
        type_flag @ (b'3' | b'4') => match device(header) {
            Ok((major, minor)) if type_flag == b'3' => EntryKind::CharDevice { major, minor },
            Ok((major, minor)) => EntryKind::BlockDevice { major, minor },
            Err(fault) => return fail(path, fault),
        },
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        type_flag => return fail(path, EntryFault::UnknownType { type_flag }),
    };
    match stat(header, pax.as_deref()) {
        Ok((mode, uid, gid, mtime)) => {
            let xattrs = pax.map(|pax| pax.xattrs).unwrap_or_default();
            Ok(Entry { path, kind, mode, uid, gid, mtime, xattrs })
        }
        Err(fault) => fail(path, fault),
    }
}

fn stat(header: Header<'_>, pax: Option<&Pax>) -> Result<(u32, u32, u32, Mtime), EntryFault> {
    let number = |field| move |source| EntryFault::Number { field, source };
    if pax.is_some_and(|pax| pax.nameless_xattr) {
        return Err(EntryFault::XattrName);
    }
    let mode = header.mode().map_err(number(Field::Mode))? & 0o7777;
    let uid = pax.and_then(|pax| pax.uid).unwrap_or_else(|| header.uid()).map_err(number(Field::Uid))?;
    let gid = pax.and_then(|pax| pax.gid).unwrap_or_else(|| header.gid()).map_err(number(Field::Gid))?;
    let mtime = pax
        .and_then(|pax| pax.mtime)
        .unwrap_or_else(|| header.mtime().map(|seconds| Mtime { seconds, nanos: 0 }))
        .map_err(number(Field::Mtime))?;
    Ok((mode, uid, gid, mtime))
}

fn device(header: Header<'_>) -> Result<(u32, u32), EntryFault> {
    if header.format() == Format::V7 {
        return Err(EntryFault::NoDeviceNumber);
    }
    let number = |field| move |source| EntryFault::Number { field, source };
    let major = header.dev_major().map_err(number(Field::DevMajor))?;
    let minor = header.dev_minor().map_err(number(Field::DevMinor))?;
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(narrow_major), Ok(narrow_minor)) if major <= MAX_MAJOR && minor <= MAX_MINOR => {
            Ok((narrow_major, narrow_minor))
        }
        _ => Err(EntryFault::DeviceNumber { major, minor }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_but_never_climb() {
        let clean = |path: &'static str| clean_path(path.as_bytes());
        assert_eq!(clean("/etc/absolute"), Ok(vec![&b"etc"[..], b"absolute"]));
        assert_eq!(clean("./a/./b//c/"), Ok(vec![&b"a"[..], b"b", b"c"]));
        assert_eq!(clean("..a/b.."), Ok(vec![&b"..a"[..], b"b.."]));
        for root in ["", "/", ".", "./", "//./"] {
            assert_eq!(clean(root), Ok(vec![]));
        }
        for up in ["..", "a/..", "../a", "/..", "a/../b"] {
            assert_eq!(clean(up), Err(PathError::Parent));
        }
    }
}
