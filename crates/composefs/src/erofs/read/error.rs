//! Why an image, or one inode of it, is refused.

use crate::digest::Algorithm;

/// Why an image cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The image as a whole.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// One inode, met at a path.
    #[error("/{} (inode {nid})", .path.escape_ascii())]
    At {
        /// Where it was met, without a leading slash; empty for the root.
        path: Vec<u8>,
        /// The inode: byte offset / 32.
        nid: u64,
        /// What is wrong with it.
        source: Fault,
    },
    /// One inode, asked for by number.
    #[error("inode {nid}")]
    Inode {
        /// The inode: byte offset / 32.
        nid: u64,
        /// What is wrong with it.
        source: Fault,
    },
    /// The image is sound, a path asked for is not in it.
    #[error("/{}: not found", .0.escape_ascii())]
    NotFound(Vec<u8>),
    /// The image is sound, a step on the path asked for is no directory.
    #[error("/{}: not a directory", .0.escape_ascii())]
    NotADirectory(Vec<u8>),
}

/// What is wrong with the headers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// Too short, or no whole number of blocks.
    #[error("an image has a positive number of blocks of 4096 bytes, not {0} bytes")]
    Length(u64),
    /// Longer than the limit given.
    #[error("the image has {actual} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its length.
        actual: u64,
        /// The limit.
        limit: u64,
    },
    /// The composefs magic is missing.
    #[error("not a composefs image: the magic is {0:#010x}")]
    Magic(u32),
    /// Unknown version of the composefs header.
    #[error("unknown header version {0}")]
    HeaderVersion(u32),
    /// Unknown format version.
    #[error("unknown format version {0}")]
    FormatVersion(u32),
    /// The EROFS magic is missing.
    #[error("not an EROFS image: the superblock's magic is {0:#010x}")]
    SuperblockMagic(u32),
    /// A superblock field has a value that composefs images never have.
    #[error("the superblock's {field} is {value:#x}, which is not supported")]
    Superblock {
        /// The field, in words.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The superblock tells another length: the image is cut off or has something appended.
    #[error("the superblock says {said} blocks, the image has {actual}")]
    Blocks {
        /// By the superblock.
        said: u64,
        /// By the length.
        actual: u64,
    },
}

/// What is wrong with an inode, or with a directory's names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The inode number points before the first or behind the last inode.
    #[error("the inode number points outside the inodes")]
    OutsideInodes,
    /// The header, extended attributes, tail or data blocks reach beyond the end.
    #[error("the {0} reach beyond the end of the image")]
    OutsideImage(&'static str),
    /// Unknown layout or unknown bits in it.
    #[error("unknown data layout {0:#06x}")]
    Layout(u16),
    /// The file type is none, or cannot have this layout or size.
    #[error("mode {mode:o} with data layout {format:#06x} and size {size}")]
    Type {
        /// Type and permissions.
        mode: u16,
        /// The layout field.
        format: u16,
        /// The size in bytes.
        size: u64,
    },
    /// Contents larger than the image they are in, or than a file can be.
    #[error("a size of {0} bytes is impossible")]
    Size(u64),
    /// Nanoseconds out of range, or any in V2.
    #[error("{0} nanoseconds of modification time")]
    Nanoseconds(u32),
    /// Inodes overlap or share their data.
    #[error("the inodes met so far take more bytes than the image has")]
    Overlap,
    /// The inode's link count is not the number of its names (or, for directories, of subdirectories and 2).
    #[error("a link count of {said} where {actual} were found")]
    LinkCount {
        /// By the inode.
        said: u32,
        /// By counting, so far.
        actual: u32,
    },
    /// A whiteout with several names.
    #[error("a whiteout with several names")]
    WhiteoutLinks,
    /// A symlink that does not lie in one block, which older kernels refuse.
    #[error("an inline symlink crosses a block")]
    SymlinkCrossesBlock,
    /// A symlink target that is empty, too long or has NUL in it.
    #[error("a symlink target that is empty, longer than 4095 bytes or has NUL in it")]
    SymlinkTarget,
    /// The offsets in a directory block.
    #[error("a directory block with bad name offsets")]
    DirectoryBlock,
    /// A name that is empty, too long or has a slash or NUL in it.
    #[error("a bad name: `{}`", .0.escape_ascii())]
    Name(Vec<u8>),
    /// Names not in ascending order, or one twice.
    #[error("the name `{}` is out of order", .0.escape_ascii())]
    NameOrder(Vec<u8>),
    /// `.` or `..` is missing or points elsewhere.
    #[error("`.` or `..` is missing or points elsewhere")]
    Dots,
    /// The entry's type is not the inode's.
    #[error("the entry says type {entry}, the inode is of type {inode}")]
    EntryType {
        /// By the directory entry.
        entry: u8,
        /// By the inode's mode.
        inode: u8,
    },
    /// Not a directory where one must be.
    #[error("not a directory")]
    NotADirectory,
    /// A directory with two names.
    #[error("a directory has two names")]
    DirectoryTwice,
    /// Deeper than [`crate::filetree::DEPTH_MAX`].
    #[error("directories nested deeper than {}", crate::filetree::DEPTH_MAX)]
    TooDeep,
    /// The extended attributes do not fit the space they have.
    #[error("extended attributes that do not fit their space")]
    XattrArea,
    /// An attribute name that is empty, too long, has NUL in it or a prefix that is not written so.
    #[error("a bad extended attribute name: `{}`", .0.escape_ascii())]
    XattrName(Vec<u8>),
    /// The same attribute twice.
    #[error("the extended attribute `{}` is there twice", .0.escape_ascii())]
    XattrTwice(Vec<u8>),
    /// More attributes than an inode may have.
    #[error("more than 32767 bytes of extended attributes")]
    XattrsTooLarge,
    /// `trusted.overlay.metacopy` is malformed.
    #[error("trusted.overlay.metacopy is malformed")]
    Metacopy,
    /// `trusted.overlay.metacopy` is of another algorithm.
    #[error("the digest is of algorithm number {actual}, not {expected}")]
    Algorithm {
        /// The algorithm in use.
        expected: Algorithm,
        /// The kernel's number found.
        actual: u8,
    },
    /// `trusted.overlay.redirect` is malformed.
    #[error("trusted.overlay.redirect is malformed")]
    Redirect,
    /// Metacopy and redirect name different objects, or there is a redirect alone.
    #[error("trusted.overlay.redirect does not agree with trusted.overlay.metacopy")]
    RedirectDisagrees,
    /// Contents in the image and an object as well.
    #[error("contents in the image and in an object")]
    TwoContents,
    /// A character device 0:0 where V0 and V1 have only escaped whiteouts.
    #[error("a whiteout that is not escaped")]
    NativeWhiteout,
    /// Names `00` to `ff` are missing in the root of V0 or V1.
    #[error("only {0} of the 256 names `00` to `ff`")]
    Stubs(u32),
    /// The tree would take more than [`super::ReadLimits::tree_bytes`].
    #[error("attributes and contents of more than {0} bytes")]
    TreeBytes(u64),
    /// More inodes than a tree can have.
    #[error("more than 2^32 - 1 inodes")]
    TooManyInodes,
}
