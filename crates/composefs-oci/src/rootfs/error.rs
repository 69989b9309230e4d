//! Why layers cannot be merged.

use composefs::filetree::{NameError, TreeError};
use composefs_tar::{EntryFault, PathError};

/// An entry that cannot become part of the tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("layer {layer}, entry {}", shown(.path))]
#[non_exhaustive]
pub struct MergeError {
    /// The layer, from 1, the lowest first.
    pub layer: usize,
    /// The entry's path as the archive has it.
    pub path: Vec<u8>,
    /// What is wrong with it.
    #[source]
    pub fault: MergeFault,
}

/// What keeps an entry from being merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeFault {
    /// The archive's member stands for no entry.
    #[error(transparent)]
    Entry(#[from] EntryFault),
    /// A `..` in the path, or in a hard link's target.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A component that is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The root as anything but a directory.
    #[error("the root must be a directory")]
    RootNotADirectory,
    /// Strict mode: a directory on the way is missing.
    #[error("directory {} is missing", shown(.0))]
    ParentMissing(Vec<u8>),
    /// Something on the way is no directory; in strict mode a symlink is none.
    #[error("{} is not a directory", shown(.0))]
    ParentNotADirectory(Vec<u8>),
    /// More than 40 symlinks on the way.
    #[error("more than {} symlinks on the way", super::parent::SYMLINKS_MAX)]
    TooManySymlinks,
    /// Directories nested deeper than a tree may have.
    #[error("directories nested deeper than {}", composefs::filetree::DEPTH_MAX)]
    TooDeep,
    /// More directories without entries than any image needs.
    #[error("more than {} directories without entries of their own", super::parent::IMPLIED_MAX)]
    TooManyImplied,
    /// More components of symlinks on the ways than any image needs.
    #[error("more than {} steps through symlinks", super::parent::STEPS_MAX)]
    TooManySteps,
    /// The tree takes more memory than one may.
    #[error("the tree takes more than {} bytes", super::parent::TREE_BYTES_MAX)]
    TreeTooLarge,
    /// A hard link's target does not exist so far, or not without following symlinks.
    #[error("hard link to {}: not found", shown(.0))]
    LinkTargetMissing(Vec<u8>),
    /// A hard link to a directory.
    #[error("hard link to {}: is a directory", shown(.0))]
    LinkToDirectory(Vec<u8>),
    /// A symlink without a target.
    #[error("symlink with an empty target")]
    EmptyTarget,
    /// A symlink target longer than the kernel takes.
    #[error("symlink target of {0} bytes, more than {max}", max = super::apply::TARGET_MAX)]
    TargetTooLong(usize),
    /// A NUL in a symlink target.
    #[error("symlink target with a NUL")]
    TargetNul,
    /// A device number that images cannot hold.
    #[error("device number {major}:{minor} is too large")]
    Device {
        /// At most 4095.
        major: u32,
        /// At most 2^20 - 1.
        minor: u32,
    },
    /// The caller brought no object for contents that are not inline.
    #[error("no object for the contents")]
    NoObject,
    /// The tree takes no more.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Escapes a path for a message; archives may have longer ones than anybody wants to read.
fn shown(path: &[u8]) -> String {
    const SHOWN_MAX: usize = 256;
    match path.get(..SHOWN_MAX) {
        Some(start) if start.len() < path.len() => format!("{}...", start.escape_ascii()),
        _ => path.escape_ascii().to_string(),
    }
}
