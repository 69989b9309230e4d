//! Fixed parts of the file: header, info, content types.
//!
//! # Format
//! `docs/formats/splitstream.md`, section 1.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use super::{Section, SplitstreamError};
use crate::digest::{Algorithm, LG_BLOCK_SIZE};

/// Size of the header in bytes, in both layouts.
pub(super) const HEADER_SIZE: usize = 32;
/// Size of the info section as written, and the least a reader takes.
pub(super) const INFO_SIZE: usize = 80;

const MAGIC: &[u8; 11] = b"SplitStream";
const ZSTD_MAGIC: &[u8; 4] = b"\x28\xb5\x2f\xfd";
const VERSION: u8 = 0;

/// What a stream holds: eight ASCII letters, stored as a little-endian number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentType(u64);

impl ContentType {
    /// A tar layer: the uncompressed tar.
    pub const OCI_LAYER: Self = Self::from_letters(*b"ocilayer");
    /// An image config: one object, the JSON.
    pub const OCI_CONFIG: Self = Self::from_letters(*b"ociconfg");
    /// An image or artifact manifest: one object, the JSON.
    pub const OCI_MANIFEST: Self = Self::from_letters(*b"ocimanif");
    /// A layer that is no tar, or a free blob: one object, the bytes.
    pub const OCI_BLOB: Self = Self::from_letters(*b"oci_blob");
    /// An image index: one object, the JSON.
    pub const OCI_INDEX: Self = Self::from_letters(*b"ociindx\0");
    /// No type: what 0.3 streams have.
    pub const NONE: Self = Self(0);

    /// Takes the eight letters.
    #[must_use]
    pub const fn from_letters(letters: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(letters))
    }

    /// Takes the number.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// The letters without trailing NULs if they are printable, else the number as `0x…`.
impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = self.0.to_le_bytes();
        match std::str::from_utf8(&letters).map(|text| text.trim_end_matches('\0')) {
            Ok(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()) => f.pad(text),
            _ => f.pad(&format!("{:#x}", self.0)),
        }
    }
}

impl fmt::Debug for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentType({self})")
    }
}

/// Which of the three shapes a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// The header written today.
    Current,
    /// The header of writers before its layout was fixed: same fields, other places.
    Old,
    /// The 0.3 format: no header, all of it compressed.
    V03,
}

/// Bounds on what a file may make its reader hold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest table of ids in bytes, default 256 MiB.
    pub table_bytes: u64,
    /// The most bytes of named refs, decompressed, and of a 0.3 map; default 64 MiB.
    pub named_refs_bytes: u64,
    /// The most named refs, default 1,048,576.
    pub named_refs: u64,
    /// The longest name in bytes, default 4096.
    pub name_bytes: usize,
    /// The most bytes of the stream section, decompressed; default 1 TiB. They are never held together.
    pub stream_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            table_bytes: 256 << 20,
            named_refs_bytes: 64 << 20,
            named_refs: 1 << 20,
            name_bytes: 4096,
            stream_bytes: 1 << 40,
        }
    }
}

impl Limits {
    /// Sets [`Limits::table_bytes`].
    #[must_use]
    pub const fn table_bytes(mut self, bytes: u64) -> Self {
        self.table_bytes = bytes;
        self
    }

    /// Sets [`Limits::named_refs_bytes`].
    #[must_use]
    pub const fn named_refs_bytes(mut self, bytes: u64) -> Self {
        self.named_refs_bytes = bytes;
        self
    }

    /// Sets [`Limits::stream_bytes`].
    #[must_use]
    pub const fn stream_bytes(mut self, bytes: u64) -> Self {
        self.stream_bytes = bytes;
        self
    }
}

/// Start and end of a section, in bytes from the start of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Extent {
    fn decode(bytes: &[u8], at: usize) -> Option<Self> {
        Some(Self { start: u64_at(bytes, at)?, end: u64_at(bytes, at.checked_add(8)?)? })
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.start.to_le_bytes());
        out.extend_from_slice(&self.end.to_le_bytes());
    }

    /// Returns the size, having checked that the section is inside the file.
    pub(super) fn check(self, section: Section, file_size: u64) -> Result<u64, SplitstreamError> {
        match self.end.checked_sub(self.start) {
            // An empty section may point anywhere.
            Some(0) => Ok(0),
            Some(size) if self.end <= file_size => Ok(size),
            _ => Err(SplitstreamError::Range { section, start: self.start, end: self.end, file_size }),
        }
    }
}

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// Header of 0.4 and later, and where the info is.
    Sections { layout: Layout, info: Extent },
    /// A zstd frame: the 0.3 format.
    V03,
}

impl Header {
    /// Decodes the first 32 bytes of a file, or all there are if it is shorter.
    pub(super) fn decode(bytes: &[u8], algorithm: Algorithm) -> Result<Self, SplitstreamError> {
        let (layout, version, number, lg, info) = if bytes.starts_with(MAGIC) {
            (Layout::Current, 11, 14, 15, 16)
        } else if bytes.get(18..29) == Some(MAGIC.as_slice()) {
            (Layout::Old, 29, 30, 31, 0)
        } else if bytes.starts_with(ZSTD_MAGIC) {
            return Ok(Self::V03);
        } else {
            return Err(SplitstreamError::NotASplitstream);
        };
        let byte = |at: usize| bytes.get(at).copied().ok_or(SplitstreamError::NotASplitstream);
        match byte(version)? {
            VERSION => {}
            other => return Err(SplitstreamError::Version(other)),
        }
        match byte(number)? {
            found if found == algorithm.kernel_number() => {}
            found => return Err(SplitstreamError::Algorithm { expected: algorithm, found }),
        }
        match byte(lg)? {
            LG_BLOCK_SIZE => {}
            other => return Err(SplitstreamError::BlockSize(other)),
        }
        let info = Extent::decode(bytes, info).ok_or(SplitstreamError::NotASplitstream)?;
        Ok(Self::Sections { layout, info })
    }

    /// Appends a header of the current layout.
    pub(super) fn encode(algorithm: Algorithm, info: Extent, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[VERSION, 0, 0, algorithm.kernel_number(), LG_BLOCK_SIZE]);
        info.encode(out);
    }
}

/// The info section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) stream_refs: Extent,
    pub(super) object_refs: Extent,
    pub(super) stream: Extent,
    pub(super) named_refs: Extent,
    pub(super) content_type: ContentType,
    pub(super) stream_size: u64,
}

impl Info {
    pub(super) fn decode(bytes: &[u8; INFO_SIZE]) -> Option<Self> {
        Some(Self {
            stream_refs: Extent::decode(bytes, 0)?,
            object_refs: Extent::decode(bytes, 16)?,
            stream: Extent::decode(bytes, 32)?,
            named_refs: Extent::decode(bytes, 48)?,
            content_type: ContentType(u64_at(bytes, 64)?),
            stream_size: u64_at(bytes, 72)?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for extent in [self.stream_refs, self.object_refs, self.stream, self.named_refs] {
            extent.encode(out);
        }
        out.extend_from_slice(&self.content_type.0.to_le_bytes());
        out.extend_from_slice(&self.stream_size.to_le_bytes());
    }
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}
