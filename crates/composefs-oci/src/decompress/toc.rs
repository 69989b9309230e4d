//! The tables of zstd:chunked layers: which file of the layer lies where in the blob.
//!
//! In: a layer's annotations, or the last bytes of its blob, then the compressed table. Out: the entries in the order of the
//! tar, each file with the parts of the blob that hold it. A table is somebody's word: names are as the table has them,
//! contents must be compared with their digests, and what the layer is, only its diff_id says. Nothing is read from
//! anywhere, nothing is unpacked but the tables. eStargz states its entries alike.
//!
//! # Format
//! `docs/formats/transports.md`, section 9.

pub mod locate;
mod raw;

use std::{collections::BTreeMap, io, ops::Range};

use crate::digest::Digest;

pub use locate::{FOOTER_MAX, Span, TAR_SPLIT_MAX, Tables};

/// The most bytes a table may have once it is unpacked.
pub const TABLE_MAX: u64 = 64 << 20;
/// The most entries a table may have, pieces of files counted.
pub const ENTRIES_MAX: usize = 1 << 20;

/// Why a table, or where it is said to be, is no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TocError {
    /// An annotation is not what it should be.
    #[error("the annotation {key} is `{value}`")]
    Annotation {
        /// Its key.
        key: String,
        /// Its value, cut where it is long.
        value: String,
    },
    /// A table of another type.
    #[error("the table has the type {0}, and 1 is known")]
    Kind(u64),
    /// A table is said to lie where it cannot.
    #[error("{what} is said to have {length} bytes at {offset} in a blob of {blob}")]
    Outside {
        /// Which table.
        what: &'static str,
        /// Where it begins.
        offset: u64,
        /// Its length as it lies there.
        length: u64,
        /// The blob's length.
        blob: u64,
    },
    /// A table is too large.
    #[error("{what} has {bytes} bytes, more than {max}")]
    TooLarge {
        /// Which table.
        what: &'static str,
        /// What is said, or how many bytes there are at least.
        bytes: u64,
        /// The most that is taken.
        max: u64,
    },
    /// The compressed bytes are not those that were named.
    #[error("{what} hashes to {actual}, and not to {expected}")]
    Checksum {
        /// Which table.
        what: &'static str,
        /// What was named.
        expected: Digest,
        /// What the bytes have.
        actual: Digest,
    },
    /// A checksum by an algorithm that we don't have.
    #[error("the checksum {0} is of an unknown algorithm")]
    Algorithm(Digest),
    /// The table cannot be unpacked.
    #[error("{what} cannot be unpacked")]
    Unpack {
        /// Which table.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There are more or fewer bytes than was said.
    #[error("{what} has another length than {expected}")]
    Length {
        /// Which table.
        what: &'static str,
        /// What was said.
        expected: u64,
    },
    /// The table is no JSON of its kind.
    #[error("the table is not one")]
    Json(#[source] serde_json::Error),
    /// The table is of another version.
    #[error("the table has the version {0}, and 1 is known")]
    Version(u64),
    /// An entry cannot be.
    #[error("the table's entry {number}: {reason}")]
    Entry {
        /// Which, from 0.
        number: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of an entry before it.
    HardLink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A FIFO.
    Fifo,
}

/// A part of a file, a zstd frame or several of its own in the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where the file's bytes begin that it holds.
    pub offset: u64,
    /// How many of the file's bytes it holds; never 0.
    pub size: u64,
    /// Where it lies in the blob, packed; empty for zeros.
    pub packed: Range<u64>,
    /// The digest of what it holds, if the file has several pieces.
    pub digest: Option<Digest>,
}

impl Piece {
    /// Tells whether it is zeros, which the blob need not have.
    #[must_use]
    pub const fn is_zeros(&self) -> bool {
        self.packed.start == self.packed.end
    }
}

/// A member of the layer's tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name as the table has it: not checked, and not the tar's where that is no UTF-8.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// What a link leads to.
    pub link_name: String,
    /// Permissions, as in the tar.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// The size of a file in bytes.
    pub size: u64,
    /// When it was changed, as the table has it (RFC 3339).
    pub modified: Option<String>,
    /// The numbers of a device.
    pub device: (u64, u64),
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The digest of a file's contents; files without contents may have none.
    pub digest: Option<Digest>,
    /// Where a file's contents are: in order, without a gap, and as many bytes as the file has.
    pub pieces: Vec<Piece>,
}

/// The table of a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    entries: Vec<Entry>,
}

impl Table {
    /// Reads an unpacked table. `data_end` is where the blob's files end at most: [`Tables::data_end`].
    ///
    /// # Errors
    /// [`TocError::TooLarge`], [`TocError::Json`], [`TocError::Version`]; [`TocError::Entry`] where pieces leave the blob, lie
    /// over each other, leave gaps or do not give the size of their file.
    pub fn parse(json: &[u8], data_end: u64) -> Result<Self, TocError> {
        raw::parse(json, data_end).map(|entries| Self { entries })
    }

    /// Returns the entries in the order of the tar.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

#[cfg(test)]
mod tests;
