//! Why an image is not written.

use crate::digest::Algorithm;
use crate::filetree::{DEPTH_MAX, FileTree, InodeId, Name};

/// Why an image is not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// An inode of the tree cannot be in an image of this version.
    #[error("{}: {reason}", path.escape_ascii())]
    Refused {
        /// One of its paths, absolute.
        path: Vec<u8>,
        /// What is wrong with it.
        reason: Refusal,
    },
    /// The tree's objects have digests of another algorithm than the image is to have.
    #[error("the tree's objects have {objects} digests, the image is to have a {image} digest")]
    Algorithm {
        /// The algorithm of the objects.
        objects: Algorithm,
        /// The algorithm asked for.
        image: Algorithm,
    },
    /// Inodes, blocks or shared xattrs beyond what the format can number.
    #[error("the tree is too large for an image")]
    TooLarge,
    /// The writer that takes the image failed.
    #[error("write the image")]
    Io(#[from] std::io::Error),
}

/// What is wrong with an inode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A whiteout with several names.
    #[error("a whiteout has more than one name")]
    LinkedWhiteout,
    /// A directory with several names, or one that contains itself.
    #[error("a directory has more than one name")]
    LinkedDirectory,
    /// Deeper than [`DEPTH_MAX`].
    #[error("directories nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// Nanoseconds of a whole second or more.
    #[error("{0} nanoseconds in the modification time")]
    Nanoseconds(u32),
    /// A symlink target that is empty or longer than 4095 bytes.
    #[error("symlink target has {0} bytes, not 1 to 4095")]
    SymlinkLength(usize),
    /// A symlink target with a NUL in it.
    #[error("symlink target has a NUL in it")]
    SymlinkNul,
    /// An xattr name that is empty, longer than 255 bytes or has a NUL in it.
    #[error("xattr name `{}` is not 1 to 255 bytes without NUL", .0.escape_ascii())]
    XattrName(Vec<u8>),
    /// An xattr value longer than 65535 bytes.
    #[error("xattr {} has {bytes} bytes, more than 65535", name.escape_ascii())]
    XattrValue {
        /// The full name.
        name: Vec<u8>,
        /// The length of the value.
        bytes: usize,
    },
    /// Names and values of all xattrs together are too long.
    #[error("xattrs take {0} bytes, more than 32767")]
    XattrBytes(usize),
    /// The xattr area is larger than its count can say.
    #[error("xattr area of {0} bytes")]
    XattrArea(u64),
    /// More shared xattrs than V2 can count.
    #[error("{0} xattrs shared with other inodes, more than 255")]
    SharedXattrs(usize),
    /// A file too large for V0 and V1.
    #[error("file of {0} bytes needs more than 1024 chunks")]
    FileTooBig(u64),
    /// Contents in the image that V2 cannot hold.
    #[error("{0} bytes of inline content, more than 4095")]
    InlineContent(usize),
    /// An object's digest is of another algorithm than the others.
    #[error("object digest is {actual}, others are {expected}")]
    ObjectAlgorithm {
        /// The algorithm of the objects before.
        expected: Algorithm,
        /// The algorithm of this one.
        actual: Algorithm,
    },
    /// A redirect path is empty or longer than 4095 bytes, has a NUL in it, or is an object's path.
    #[error("redirect path `{}` is an object path or cannot be one at all", .0.escape_ascii())]
    RedirectPath(Vec<u8>),
    /// The root's xattrs push it to where the superblock cannot point.
    #[error("the root inode would have the number {0}, not below 65535")]
    RootNid(u64),
}

impl WriteError {
    /// Makes the error of an inode of a tree that has been walked once, so the walk for its path ends.
    pub(super) fn of(tree: &FileTree, inode: InodeId, reason: Refusal) -> Self {
        let mut names: Vec<&Name> = Vec::new();
        for step in tree.depth_first() {
            names.truncate(step.depth.saturating_sub(1));
            names.extend(step.name);
            if step.inode == inode {
                break;
            }
        }
        Self::Refused { path: join(names), reason }
    }
}

/// Makes an absolute path.
pub(super) fn join<'a>(names: impl IntoIterator<Item = &'a Name>) -> Vec<u8> {
    let mut path = Vec::new();
    for name in names {
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}
