//! What a writer of images may choose: the version by the rule of the C tools, and primary names.

use std::collections::BTreeMap;

use crate::filetree::{FileTree, InodeId, Name};

use super::format::FormatVersion;

/// For leaves with several names: the directory and name that count as the original.
pub type PrimaryNames = BTreeMap<InodeId, (InodeId, Name)>;

/// Options of [`super::write()`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WriteOptions {
    /// Names that decide where V0 and V1 place a leaf with several names; empty by default.
    pub primary_names: PrimaryNames,
}

impl WriteOptions {
    /// Names the original of leaves with several names, as a dumpfile does by the line without `@`.
    ///
    /// A leaf that is not in the map, or has no such name, is placed at the name that a depth-first walk
    /// meets first. V2 does so always.
    #[must_use]
    pub fn primary_names(mut self, names: PrimaryNames) -> Self {
        self.primary_names = names;
        self
    }
}

/// Why no version can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// The C tools know 0 and 1 only.
    #[error("image version {0} is not 0 or 1")]
    Unsupported(u32),
}

/// Chooses a version as the C tools do from `--min-version` (their default is 0) and `--max-version` (1): the
/// least, but V1 if it may be and the tree has a whiteout. A maximum below the minimum counts as the minimum.
///
/// # Errors
/// [`VersionError::Unsupported`] for numbers above 1.
pub fn choose_version(min: u32, max: u32, tree: &FileTree) -> Result<FormatVersion, VersionError> {
    if let Some(number) = [min, max].into_iter().find(|number| *number > 1) {
        return Err(VersionError::Unsupported(number));
    }
    if min == 1 || (max == 1 && has_whiteout(tree)) {
        return Ok(FormatVersion::V1);
    }
    Ok(FormatVersion::V0)
}

fn has_whiteout(tree: &FileTree) -> bool {
    tree.depth_first().any(|step| tree.inode(step.inode).kind.is_whiteout())
}
