//! Checked access to an image: inodes, names, attributes, contents, without building a tree.
//!
//! In: the bytes of an image, of which nothing is believed. Out: views into them. Every access is bounded by
//! the bytes there are; nothing here allocates for what a field says, recurses, or keeps state. What concerns
//! several inodes (link counts, cycles, markers) is checked by [`super::to_tree()`] and [`super::check()`].
//!
//! # Format
//! `docs/formats/erofs.md`, section 9.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod error;
pub mod xattr;
pub mod dirent;
pub mod inode;

pub use dirent::{Entries, Entry};
pub use error::{Fault, HeaderFault, ReadError};
pub use inode::{Contents, Inode};
pub use xattr::{Xattr, Xattrs};

use super::format::{
    BLOCK_BITS, BLOCK_SIZE, FEATURE_COMPAT_CHECKSUM, FEATURE_COMPAT_MTIME, FEATURE_COMPAT_XATTR_FILTER,
    FEATURE_INCOMPAT_CHUNKED, FormatVersion, HEADER_MAGIC, HEADER_OFFSET, HEADER_VERSION, Header,
    SUPERBLOCK_MAGIC, SUPERBLOCK_OFFSET, Superblock,
};

/// How much a reader takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadLimits {
    /// The longest image in bytes; 1 GiB.
    pub image_bytes: u64,
    /// The most bytes of attributes, contents and targets in one tree; 2 GiB. Attributes are shared in an
    /// image and not in a tree, so this can be more than the image has.
    pub tree_bytes: u64,
    /// Whether a NUL in a name ends it, as it does for programs that read a mounted image, instead of being
    /// refused. The images of composefs 0.3 have such names, from GNU's long ones.
    pub nul_ends_names: bool,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { image_bytes: 1 << 30, tree_bytes: 2 << 30, nul_ends_names: false }
    }
}

impl ReadLimits {
    /// Sets the longest image in bytes.
    #[must_use]
    pub const fn image_bytes(mut self, bytes: u64) -> Self {
        self.image_bytes = bytes;
        self
    }

    /// Lets a NUL end a name.
    #[must_use]
    pub const fn nul_ends_names(mut self, ends: bool) -> Self {
        self.nul_ends_names = ends;
        self
    }

    /// Sets the most bytes of attributes, contents and targets in one tree.
    #[must_use]
    pub const fn tree_bytes(mut self, bytes: u64) -> Self {
        self.tree_bytes = bytes;
        self
    }
}

/// An image whose headers are sound. Inodes are checked when they are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Image<'i> {
    bytes: &'i [u8],
    version: FormatVersion,
    root_nid: u64,
    build_seconds: i64,
    build_nanos: u32,
    xattr_base: u64,
    tree_bytes: u64,
    nul_ends_names: bool,
}

/// Cuts out a range, if all of it is there.
fn slice(bytes: &[u8], at: u64, length: u64) -> Option<&[u8]> {
    let (at, length) = (usize::try_from(at).ok()?, usize::try_from(length).ok()?);
    bytes.get(at..)?.get(..length)
}

impl<'i> Image<'i> {
    /// Checks length and headers.
    ///
    /// # Errors
    /// [`ReadError::Header`].
    pub fn open(bytes: &'i [u8], limits: &ReadLimits) -> Result<Self, ReadError> {
        let length = bytes.len() as u64;
        if length == 0 || !length.is_multiple_of(BLOCK_SIZE) {
            return Err(HeaderFault::Length(length).into());
        }
        if length > limits.image_bytes {
            return Err(HeaderFault::TooLarge { actual: length, limit: limits.image_bytes }.into());
        }
        let version = open_header(bytes)?;
        let superblock = slice(bytes, SUPERBLOCK_OFFSET, Superblock::SIZE as u64)
            .and_then(Superblock::parse_prefix)
            .ok_or(HeaderFault::Length(length))?;
        check_superblock(&superblock, length)?;
        Ok(Self {
            bytes,
            version,
            root_nid: u64::from(superblock.root_nid),
            build_seconds: superblock.build_seconds,
            build_nanos: superblock.build_nanos,
            xattr_base: u64::from(superblock.xattr_block).saturating_mul(BLOCK_SIZE),
            tree_bytes: limits.tree_bytes,
            nul_ends_names: limits.nul_ends_names,
        })
    }

    /// Returns the format version.
    #[must_use]
    pub const fn version(&self) -> FormatVersion {
        self.version
    }

    /// Returns the whole image.
    #[must_use]
    pub const fn bytes(&self) -> &'i [u8] {
        self.bytes
    }

    /// Returns the number of the root directory.
    #[must_use]
    pub const fn root_nid(&self) -> u64 {
        self.root_nid
    }

    /// Returns the limit on a tree made of this image.
    pub(super) const fn tree_bytes(&self) -> u64 {
        self.tree_bytes
    }

    /// Finds an inode by its number: byte offset / 32.
    ///
    /// # Errors
    /// [`ReadError::Inode`] if there can be none, or it reaches outside the image.
    pub fn inode(&self, nid: u64) -> Result<Inode<'i>, ReadError> {
        Inode::parse(*self, nid).map_err(|source| ReadError::Inode { nid, source })
    }

    /// Finds the inode at the end of `components`, from the root; symlinks are not followed, `.` and `..` are
    /// names that nothing has. Reads one block of each directory on the way.
    ///
    /// # Errors
    /// [`ReadError::NotFound`], [`ReadError::NotADirectory`] with the path up to the culprit;
    /// [`ReadError::At`] if the image is damaged on the way.
    pub fn lookup<N: AsRef<[u8]>>(&self, components: &[N]) -> Result<Inode<'i>, ReadError> {
        let path =
            |depth: usize| components.iter().take(depth).map(AsRef::as_ref).collect::<Vec<_>>().join(&b'/');
        let mut nid = self.root_nid;
        let mut inode =
            Inode::parse(*self, nid).map_err(|source| ReadError::At { path: path(0), nid, source })?;
        for (depth, component) in components.iter().enumerate() {
            if !inode.is_directory() {
                return Err(ReadError::NotADirectory(path(depth)));
            }
            let below = depth.saturating_add(1);
            let found = inode.find(component.as_ref()).map_err(|source| ReadError::At {
                path: path(depth),
                nid,
                source,
            })?;
            nid = found.ok_or_else(|| ReadError::NotFound(path(below)))?.nid;
            inode = Inode::parse(*self, nid).map_err(|source| ReadError::At {
                path: path(below),
                nid,
                source,
            })?;
        }
        Ok(inode)
    }
}

fn open_header(bytes: &[u8]) -> Result<FormatVersion, HeaderFault> {
    let header = slice(bytes, HEADER_OFFSET, Header::SIZE as u64)
        .and_then(Header::parse_prefix)
        .ok_or(HeaderFault::Length(bytes.len() as u64))?;
    if header.magic != HEADER_MAGIC {
        return Err(HeaderFault::Magic(header.magic));
    }
    if header.version != HEADER_VERSION {
        return Err(HeaderFault::HeaderVersion(header.version));
    }
    FormatVersion::from_number(header.composefs_version)
        .ok_or(HeaderFault::FormatVersion(header.composefs_version))
}

fn check_superblock(superblock: &Superblock, length: u64) -> Result<(), HeaderFault> {
    const COMPAT: u32 = FEATURE_COMPAT_CHECKSUM | FEATURE_COMPAT_MTIME | FEATURE_COMPAT_XATTR_FILTER;
    if superblock.magic != SUPERBLOCK_MAGIC {
        return Err(HeaderFault::SuperblockMagic(superblock.magic));
    }
    let fields = [
        ("block size", u64::from(superblock.block_bits), superblock.block_bits != BLOCK_BITS),
        (
            "compatible features",
            u64::from(superblock.feature_compat),
            superblock.feature_compat & !COMPAT != 0,
        ),
        (
            "incompatible features",
            u64::from(superblock.feature_incompat),
            superblock.feature_incompat & !FEATURE_INCOMPAT_CHUNKED != 0,
        ),
        ("metadata block", u64::from(superblock.meta_block), superblock.meta_block != 0),
        ("extension slots", u64::from(superblock.extension_slots), superblock.extension_slots != 0),
        ("compression", u64::from(superblock.compression), superblock.compression != 0),
        ("extra devices", u64::from(superblock.extra_devices), superblock.extra_devices != 0),
        (
            "directory block size",
            u64::from(superblock.directory_block_bits),
            superblock.directory_block_bits != 0,
        ),
        ("packed inode", superblock.packed_nid, superblock.packed_nid != 0),
        ("xattr prefix count", u64::from(superblock.xattr_prefix_count), superblock.xattr_prefix_count != 0),
        ("build time", u64::from(superblock.build_nanos), superblock.build_nanos > 999_999_999),
    ];
    if let Some((field, value, _)) = fields.into_iter().find(|(_, _, bad)| *bad) {
        return Err(HeaderFault::Superblock { field, value });
    }
    let (said, actual) = (u64::from(superblock.blocks), length / BLOCK_SIZE);
    if said != actual {
        return Err(HeaderFault::Blocks { said, actual });
    }
    Ok(())
}
