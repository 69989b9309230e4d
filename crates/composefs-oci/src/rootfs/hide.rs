//! Whiteouts: hiding what lower layers put, and only that.
//!
//! # Format
//! `docs/formats/tree.md`, section 2, step 5 and "Order inside a layer".

use composefs::filetree::InodeId;

use super::{MergeFault, Merger, Ours, Rules};

const PREFIX: &[u8] = b".wh.";

/// What the name of an entry asks to be hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whiteout<'a> {
    /// All that is in the directory.
    Opaque,
    /// A name in it.
    Name(&'a [u8]),
    /// Nothing: bookkeeping of aufs.
    Ignored,
}

impl<'a> Whiteout<'a> {
    /// Reads the last component of a path; `None` if the entry is no whiteout.
    pub(super) fn new(name: &'a [u8], rules: Rules) -> Option<Self> {
        let hidden = name.strip_prefix(PREFIX)?;
        Some(match (rules, name) {
            (Rules::Current, b".wh..wh..opq") | (Rules::V03, b".wh..wh.opq") => Self::Opaque,
            (Rules::Current, _) if hidden.is_empty() || hidden.starts_with(PREFIX) => Self::Ignored,
            _ => Self::Name(hidden),
        })
    }
}

impl Ours {
    /// Tells whether the current layer made this inode.
    pub(super) const fn made(&self, inode: InodeId) -> bool {
        inode.index() >= self.first
    }

    fn put(&self, directory: InodeId, name: &[u8], inode: InodeId) -> bool {
        self.made(inode) || self.links.get(&directory).is_some_and(|names| names.contains(name))
    }

    /// Tells whether nothing in a directory is of a lower layer.
    fn is_clear(&self, directory: InodeId) -> bool {
        self.made(directory) || self.cleared.contains(&directory)
    }
}

impl Merger {
    /// Notes that the current layer has something at or below this directory.
    pub(super) fn mark(&mut self, directory: InodeId) {
        let mut at = directory;
        // What is marked has marked parents: directories don't move.
        while !self.ours.made(at) && self.ours.kept_directories.insert(at) && at != InodeId::ROOT {
            at = self.parents.of(at);
        }
    }

    pub(super) fn hide(&mut self, directory: InodeId, whiteout: Whiteout<'_>) -> Result<(), MergeFault> {
        self.parents.forget();
        match (whiteout, self.options.rules) {
            (Whiteout::Ignored, _) => {}
            (Whiteout::Opaque, Rules::V03) => self.tree.clear(directory)?,
            (Whiteout::Opaque, Rules::Current) => self.clear_lower(directory)?,
            (Whiteout::Name(name), Rules::V03) => {
                self.tree.unlink(directory, name)?;
            }
            (Whiteout::Name(name), Rules::Current) => {
                let Ok(inode) = self.tree.lookup_in(directory, name) else { return Ok(()) };
                if self.ours.put(directory, name, inode) {
                    return Ok(());
                }
                if self.ours.kept_directories.contains(&inode) {
                    self.clear_lower(inode)?;
                } else {
                    self.tree.unlink(directory, name)?;
                }
            }
        }
        Ok(())
    }

    /// Removes what lower layers put below a directory. Each directory is gone through once a layer.
    fn clear_lower(&mut self, directory: InodeId) -> Result<(), MergeFault> {
        let mut stack = vec![directory];
        while let Some(at) = stack.pop() {
            if self.ours.is_clear(at) {
                continue;
            }
            let ours = &self.ours;
            self.tree.retain(at, |name, inode| {
                if ours.put(at, name.as_bytes(), inode) {
                    return true;
                }
                let kept = ours.kept_directories.contains(&inode);
                if kept {
                    stack.push(inode);
                }
                kept
            })?;
            self.ours.cleared.insert(at);
        }
        Ok(())
    }
}
