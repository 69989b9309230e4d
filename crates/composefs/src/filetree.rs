//! File trees: inodes in a table, and directories that name them.
//!
//! A tree is what layers are merged into and what an image is written from. Inodes live in one table and
//! refer to each other by number, so that hard links are two names of one number, nothing recurses, and
//! dropping a deep tree is cheap. Removing a name never renumbers: an inode without a name stays in the
//! table and is in no walk, no count and no image.
//!
//! # Format
//! `docs/formats/tree.md`, section 1.

pub mod inode;
pub mod edit;
pub mod walk;
pub mod resolve;
pub mod diff;
pub mod xattr;
pub mod transform;
pub mod boot;

pub use edit::TreeError;
pub use inode::{Inode, InodeKind, Name, NameError, Regular, Stat, Xattrs};
pub use transform::{TransformOptions, XattrMode};

use std::collections::BTreeMap;

/// Contents of at most this many bytes are stored in the image itself; larger ones are objects.
pub const INLINE_CONTENT_MAX: usize = 64;

/// The deepest directory a tree may have; more than any path the kernel takes can reach.
pub const DEPTH_MAX: usize = 2048;

/// The names in a directory, in byte order.
pub type Entries = BTreeMap<Name, InodeId>;

/// The number of an inode in its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeId(u32);

impl InodeId {
    /// The root directory of every tree.
    pub const ROOT: Self = Self(0);

    /// Returns the position in the table of inodes.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A file tree.
#[derive(Clone, Debug)]
pub struct FileTree {
    inodes: Vec<Inode>,
}

impl FileTree {
    /// Makes a tree of an empty root directory.
    #[must_use]
    pub fn new(root: Stat) -> Self {
        Self { inodes: vec![Inode { stat: root, kind: InodeKind::Directory(Entries::new()) }] }
    }

    /// Returns an inode. Ids come from this tree only.
    #[must_use]
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.index()]
    }

    /// Returns an inode for changes. Its kind must not change between directory and leaf while it has a name.
    #[must_use]
    pub fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.inodes[id.index()]
    }

    /// Returns the root directory's inode.
    #[must_use]
    pub fn root(&self) -> &Inode {
        self.inode(InodeId::ROOT)
    }

    /// Returns the names in a directory, or `None` if the inode is none.
    #[must_use]
    pub fn entries(&self, id: InodeId) -> Option<&Entries> {
        match &self.inode(id).kind {
            InodeKind::Directory(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns the number of inodes in the table, those without a name included.
    #[must_use]
    pub fn table_len(&self) -> usize {
        self.inodes.len()
    }

    /// Adds an inode that has no name yet.
    ///
    /// # Errors
    /// [`TreeError::TooManyInodes`] above 2^32 - 1.
    pub fn add(&mut self, inode: Inode) -> Result<InodeId, TreeError> {
        let id = u32::try_from(self.inodes.len()).map_err(|_| TreeError::TooManyInodes)?;
        self.inodes.push(inode);
        Ok(InodeId(id))
    }
}
