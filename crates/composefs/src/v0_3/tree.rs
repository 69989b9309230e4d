//! File trees as nested values.
//!
//! The native tree is a table of inodes; what is built or changed here is converted when an image is made.

mod convert;
mod file_system;

pub use file_system::FileSystem;

use std::{cell::RefCell, collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt as _, rc::Rc};

use super::fsverity::FsVerityHashValue;
use crate::filetree::TreeError;

/// The metadata of an inode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Permission bits, 07777.
    pub st_mode: u32,
    /// Owner.
    pub st_uid: u32,
    /// Group.
    pub st_gid: u32,
    /// Modification time, seconds since 1970.
    pub st_mtim_sec: i64,
    /// Extended attributes.
    pub xattrs: RefCell<BTreeMap<Box<OsStr>, Box<[u8]>>>,
}

/// What a regular file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegularFile<ObjectID: FsVerityHashValue> {
    /// Its contents.
    Inline(Box<[u8]>),
    /// The object of its contents, and their size in bytes.
    External(ObjectID, u64),
}

/// What a leaf is and holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeafContent<ObjectID: FsVerityHashValue> {
    /// A regular file.
    Regular(RegularFile<ObjectID>),
    /// A block device with its number.
    BlockDevice(u64),
    /// A character device with its number.
    CharacterDevice(u64),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A symlink with its target.
    Symlink(Box<OsStr>),
}

/// An inode that is no directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf<ObjectID: FsVerityHashValue> {
    /// Its metadata.
    pub stat: Stat,
    /// What it is and holds.
    pub content: LeafContent<ObjectID>,
}

/// A directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory<ObjectID: FsVerityHashValue> {
    /// Its metadata.
    pub stat: Stat,
    /// What is in it, by name.
    pub entries: BTreeMap<Box<OsStr>, Inode<ObjectID>>,
}

/// What a name leads to. Hard links share one leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inode<ObjectID: FsVerityHashValue> {
    /// A directory.
    Directory(Box<Directory<ObjectID>>),
    /// Anything else.
    Leaf(Rc<Leaf<ObjectID>>),
}

impl<ObjectID: FsVerityHashValue> Inode<ObjectID> {
    /// Returns the metadata.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        match self {
            Self::Directory(directory) => &directory.stat,
            Self::Leaf(leaf) => &leaf.stat,
        }
    }
}

/// Splits a path at its slashes; `.` and empty components disappear.
fn components(path: &OsStr) -> impl Iterator<Item = &OsStr> {
    let parts = path.as_bytes().split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.map(OsStr::from_bytes)
}

impl<ObjectID: FsVerityHashValue> Directory<ObjectID> {
    /// Makes an empty directory.
    #[must_use]
    pub const fn new(stat: Stat) -> Self {
        Self { stat, entries: BTreeMap::new() }
    }

    /// Finds a directory by its path from here; the empty path is this one. Symlinks are not followed.
    ///
    /// # Errors
    /// [`TreeError::NotFound`], [`TreeError::NotADirectory`].
    pub fn get_directory(&self, path: &OsStr) -> Result<&Self, TreeError> {
        components(path).try_fold(self, |at, name| match at.entries.get(name) {
            Some(Inode::Directory(directory)) => Ok(&**directory),
            Some(Inode::Leaf(_)) => Err(TreeError::NotADirectory(path.as_bytes().to_vec())),
            None => Err(TreeError::NotFound(path.as_bytes().to_vec())),
        })
    }

    /// Finds a directory by its path from here, for changes.
    ///
    /// # Errors
    /// As [`Directory::get_directory`].
    pub fn get_directory_mut(&mut self, path: &OsStr) -> Result<&mut Self, TreeError> {
        components(path).try_fold(self, |at, name| match at.entries.get_mut(name) {
            Some(Inode::Directory(directory)) => Ok(&mut **directory),
            Some(Inode::Leaf(_)) => Err(TreeError::NotADirectory(path.as_bytes().to_vec())),
            None => Err(TreeError::NotFound(path.as_bytes().to_vec())),
        })
    }

    /// Finds the directory of a path's last component, and that component.
    ///
    /// # Errors
    /// As [`Directory::get_directory`]; [`TreeError::NotFound`] for a path without components.
    pub fn split_mut<'n>(&mut self, path: &'n OsStr) -> Result<(&mut Self, &'n OsStr), TreeError> {
        let name = components(path).last().ok_or_else(|| TreeError::NotFound(path.as_bytes().to_vec()))?;
        let count = components(path).count();
        let parent: Vec<&OsStr> = components(path).take(count.saturating_sub(1)).collect();
        Ok((self.get_directory_mut(&parent.join(OsStr::new("/")))?, name))
    }

    /// Finds what a path leads to, for a further name of it.
    ///
    /// # Errors
    /// As [`Directory::get_directory`]; [`TreeError::IsADirectory`].
    pub fn ref_leaf(&self, path: &OsStr) -> Result<Rc<Leaf<ObjectID>>, TreeError> {
        let mut names: Vec<&OsStr> = components(path).collect();
        let full = || path.as_bytes().to_vec();
        let name = names.pop().ok_or_else(|| TreeError::IsADirectory(full()))?;
        match self.get_directory(&names.join(OsStr::new("/")))?.entries.get(name) {
            Some(Inode::Leaf(leaf)) => Ok(Rc::clone(leaf)),
            Some(Inode::Directory(_)) => Err(TreeError::IsADirectory(full())),
            None => Err(TreeError::NotFound(full())),
        }
    }

    /// Finds a name.
    #[must_use]
    pub fn lookup(&self, name: &OsStr) -> Option<&Inode<ObjectID>> {
        self.entries.get(name)
    }

    /// Gives a name to an inode, in place of what had it.
    pub fn insert(&mut self, name: &OsStr, inode: Inode<ObjectID>) {
        self.entries.insert(name.into(), inode);
    }

    /// Gives a name to an inode as a layer does: a directory that meets a directory changes its metadata only.
    pub fn merge(&mut self, name: &OsStr, inode: Inode<ObjectID>) {
        match (self.entries.get_mut(name), inode) {
            (Some(Inode::Directory(old)), Inode::Directory(new)) => old.stat = new.stat,
            (_, inode) => self.insert(name, inode),
        }
    }

    /// Removes a name, if it is there, with all below it.
    pub fn remove(&mut self, name: &OsStr) {
        self.entries.remove(name);
    }

    /// Removes all names.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
