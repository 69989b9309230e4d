//! The transform that makes a tree bootable: `/boot` and `/sysroot` emptied, files labelled by the tree's own policy.
//!
//! In: a tree after the container transform, and a way to read its files. Out: the same tree changed. Nothing
//! outside of the tree is read, and the labels do not depend on the order in which the tree was built.
//!
//! # Format
//! `docs/formats/boot.md`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod apply;
mod error;
mod matcher;
mod pattern;
mod pcre;
mod policy;
mod resolve;
mod spec;
mod subs;

pub use error::{BootError, SpecFault};
pub use policy::ReadPolicy;

use super::{FileTree, InodeId, TreeError};

/// The extended attribute that holds a label.
pub const SELINUX_XATTR: &[u8] = b"security.selinux";

/// What a policy may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootLimits {
    /// Bytes of one policy file.
    pub file_bytes: u64,
    /// Specifications in all files together.
    pub specs: usize,
    /// Bytes of all compiled expressions together.
    pub compiled_bytes: usize,
}

impl Default for BootLimits {
    fn default() -> Self {
        Self { file_bytes: 16 << 20, specs: 200_000, compiled_bytes: 128 << 20 }
    }
}

impl BootLimits {
    /// Sets the largest policy file in bytes.
    #[must_use]
    pub const fn file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes = bytes;
        self
    }

    /// Sets how many specifications a policy may have.
    #[must_use]
    pub const fn specs(mut self, specs: usize) -> Self {
        self.specs = specs;
        self
    }

    /// Sets how many bytes the compiled expressions may take.
    #[must_use]
    pub const fn compiled_bytes(mut self, bytes: usize) -> Self {
        self.compiled_bytes = bytes;
        self
    }
}

/// Makes a tree bootable; `read` gives the contents of the policy files that are not in the tree itself.
///
/// Comes after [`FileTree::transform_for_oci`]. A tree without a policy loses its labels and gets no others.
/// The tree is unchanged when a missing directory or the policy is the fault.
///
/// # Errors
/// [`BootError::Directory`] if `/usr`, `/boot` or `/sysroot` is missing or no directory; the others if the
/// policy cannot be read, is damaged, or takes more than `limits`.
///
/// # Format
/// `docs/formats/boot.md`.
pub fn boot_transform(
    tree: &mut FileTree,
    read: &mut ReadPolicy<'_>,
    limits: &BootLimits,
) -> Result<(), BootError> {
    let directory = |name: &'static str| {
        let found = tree.lookup(&[name.as_bytes()]);
        match found {
            Ok(inode) if tree.inode(inode).kind.is_directory() => Ok(inode),
            Ok(_) => Err(TreeError::NotADirectory(name.into())),
            Err(error) => Err(error),
        }
        .map_err(BootError::Directory)
    };
    let usr = &tree.inode(directory("usr")?).stat;
    let mtime = (usr.mtime_seconds, usr.mtime_nanos);
    let emptied: [InodeId; 2] = [directory("boot")?, directory("sysroot")?];
    let labels = policy::load(tree, read, limits)?;
    for directory in emptied {
        tree.clear(directory).map_err(BootError::Directory)?;
        let stat = &mut tree.inode_mut(directory).stat;
        (stat.mtime_seconds, stat.mtime_nanos) = mtime;
    }
    apply::apply(tree, labels)
}

#[cfg(test)]
mod tests;
