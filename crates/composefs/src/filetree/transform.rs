//! The transform that makes trees from layers and from directories comparable.
//!
//! # Format
//! `docs/formats/tree.md`, section 3.

use super::{FileTree, InodeId, InodeKind, Stat, TreeError, xattr};

/// Which extended attributes the transform keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum XattrMode {
    /// `security.capability` only.
    #[default]
    AllowlistOnly,
    /// `security.capability` and `user.*`.
    KeepUserXattrs,
    /// All; what 0.3 did.
    KeepAll,
}

/// How a tree is transformed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransformOptions {
    /// Which extended attributes stay.
    pub xattrs: XattrMode,
    /// Refuse a tree without a directory `/usr`, as upstream does; else the root gets 0755, 0:0, mtime 0.
    pub strict: bool,
}

impl TransformOptions {
    /// Sets which extended attributes stay.
    #[must_use]
    pub const fn xattrs(mut self, mode: XattrMode) -> Self {
        self.xattrs = mode;
        self
    }

    /// Refuses a tree without `/usr`.
    #[must_use]
    pub const fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }
}

impl FileTree {
    /// Applies the container transform: root metadata from `/usr`, `/run` emptied, attributes filtered.
    ///
    /// # Errors
    /// In strict mode [`TreeError::NotFound`] or [`TreeError::NotADirectory`] for `/usr`.
    pub fn transform_for_oci(&mut self, options: TransformOptions) -> Result<(), TreeError> {
        let usr = self.lookup(&[b"usr"]).and_then(|usr| {
            let inode = self.inode(usr);
            if inode.kind.is_directory() {
                Ok(inode.stat.clone())
            } else {
                Err(TreeError::NotADirectory(b"usr".to_vec()))
            }
        });
        let stat = match usr {
            Err(error) if options.strict => return Err(error),
            usr => usr.unwrap_or_else(|_| Stat { mode: 0o755, ..Stat::default() }),
        };
        if let Ok(run) = self.lookup(&[b"run"])
            && self.inode(run).kind.is_directory()
        {
            self.clear(run)?;
            let run = self.inode_mut(run);
            (run.stat.mtime_seconds, run.stat.mtime_nanos) = (stat.mtime_seconds, stat.mtime_nanos);
        }
        self.inode_mut(InodeId::ROOT).stat = stat;
        self.filter_xattrs(options.xattrs);
        Ok(())
    }

    /// Drops the extended attributes that `mode` does not keep, on every inode.
    pub fn filter_xattrs(&mut self, mode: XattrMode) {
        for inode in &mut self.inodes {
            xattr::filter(&mut inode.stat.xattrs, mode);
        }
    }

    /// Finds the newest mtime in whole seconds over everything below the root; what 0.3 gave a root without an entry.
    #[must_use]
    pub fn newest_mtime_seconds(&self) -> Option<i64> {
        self.depth_first()
            .filter(|step| step.name.is_some())
            .map(|step| self.inode(step.inode).stat.mtime_seconds)
            .max()
    }

    /// Tells whether the tree has a whiteout (a character device 0:0) anywhere.
    #[must_use]
    pub fn has_whiteout(&self) -> bool {
        self.depth_first().any(|step| matches!(&self.inode(step.inode).kind, InodeKind::CharDevice(0)))
    }
}
