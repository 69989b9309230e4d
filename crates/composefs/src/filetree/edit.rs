//! Changing a tree: look up, insert, replace, link, remove.

use super::{Entries, FileTree, Inode, InodeId, InodeKind, Name, NameError};

/// Why a change of a tree, or a walk through it, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A component is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A component does not exist.
    #[error("{}: not found", .0.escape_ascii())]
    NotFound(Vec<u8>),
    /// A component that must be a directory is none.
    #[error("{}: not a directory", .0.escape_ascii())]
    NotADirectory(Vec<u8>),
    /// A directory where only a leaf may be.
    #[error("{}: is a directory", .0.escape_ascii())]
    IsADirectory(Vec<u8>),
    /// A path leads from symlink to symlink without end.
    #[error("{}: too many symlinks", .0.escape_ascii())]
    Symlinks(Vec<u8>),
    /// The table of inodes is full.
    #[error("more than 2^32 - 1 inodes")]
    TooManyInodes,
    /// Deeper than [`super::DEPTH_MAX`].
    #[error("directories nested deeper than {}", super::DEPTH_MAX)]
    TooDeep,
}

impl FileTree {
    /// Finds a name in a directory.
    ///
    /// # Errors
    /// [`TreeError::NotADirectory`], [`TreeError::NotFound`]; both with `name` as the path.
    pub fn lookup_in(&self, directory: InodeId, name: &[u8]) -> Result<InodeId, TreeError> {
        let entries = self.entries(directory).ok_or_else(|| TreeError::NotADirectory(name.to_vec()))?;
        entries.get(name).copied().ok_or_else(|| TreeError::NotFound(name.to_vec()))
    }

    /// Finds the inode at the end of `components`; symlinks are not followed, no component may be `..`.
    ///
    /// # Errors
    /// [`TreeError::NotADirectory`], [`TreeError::NotFound`] with the path up to the culprit.
    pub fn lookup(&self, components: &[&[u8]]) -> Result<InodeId, TreeError> {
        let mut at = InodeId::ROOT;
        for (depth, component) in components.iter().enumerate() {
            let path =
                || components.iter().take(depth.saturating_add(1)).copied().collect::<Vec<_>>().join(&b'/');
            at = self.lookup_in(at, component).map_err(|error| match error {
                TreeError::NotFound(_) => TreeError::NotFound(path()),
                _ => TreeError::NotADirectory(path()),
            })?;
        }
        Ok(at)
    }

    fn entries_mut(&mut self, directory: InodeId, name: &[u8]) -> Result<&mut Entries, TreeError> {
        match &mut self.inode_mut(directory).kind {
            InodeKind::Directory(entries) => Ok(entries),
            _ => Err(TreeError::NotADirectory(name.to_vec())),
        }
    }

    /// Gives an inode a name, replacing what had it before with whatever was below.
    ///
    /// # Errors
    /// [`TreeError::NotADirectory`] if `directory` is none.
    pub fn link(&mut self, directory: InodeId, name: Name, inode: InodeId) -> Result<(), TreeError> {
        self.entries_mut(directory, name.as_bytes())?.insert(name, inode);
        Ok(())
    }

    /// Adds an inode under a name, replacing what had it before with whatever was below.
    ///
    /// # Errors
    /// [`TreeError::NotADirectory`], [`TreeError::TooManyInodes`].
    pub fn insert(&mut self, directory: InodeId, name: Name, inode: Inode) -> Result<InodeId, TreeError> {
        let id = self.add(inode)?;
        self.link(directory, name, id)?;
        Ok(id)
    }

    /// Puts an inode under a name as a layer does: a directory onto a directory replaces the metadata and
    /// keeps the contents, anything else replaces the old entry entirely. Returns the inode that has the name now.
    ///
    /// # Errors
    /// [`TreeError::NotADirectory`], [`TreeError::TooManyInodes`].
    pub fn merge(&mut self, directory: InodeId, name: Name, inode: Inode) -> Result<InodeId, TreeError> {
        if inode.kind.is_directory()
            && let Some(old) = self.entries_mut(directory, name.as_bytes())?.get(&name).copied()
            && self.inode(old).kind.is_directory()
        {
            self.inode_mut(old).stat = inode.stat;
            return Ok(old);
        }
        self.insert(directory, name, inode)
    }

    /// Removes a name with whatever is below it; returns the inode that had it.
    ///
    /// # Errors
    /// [`TreeError::NotADirectory`] if `directory` is none.
    pub fn unlink(&mut self, directory: InodeId, name: &[u8]) -> Result<Option<InodeId>, TreeError> {
        Ok(self.entries_mut(directory, name)?.remove(name))
    }

    /// Removes all names in a directory.
    ///
    /// # Errors
    /// [`TreeError::NotADirectory`] if it is none.
    pub fn clear(&mut self, directory: InodeId) -> Result<(), TreeError> {
        self.entries_mut(directory, b"")?.clear();
        Ok(())
    }

    /// Keeps those names in a directory that the function wants.
    ///
    /// # Errors
    /// [`TreeError::NotADirectory`] if it is none.
    pub fn retain(
        &mut self,
        directory: InodeId,
        mut keep: impl FnMut(&Name, InodeId) -> bool,
    ) -> Result<(), TreeError> {
        self.entries_mut(directory, b"")?.retain(|name, inode| keep(name, *inode));
        Ok(())
    }
}
