//! Nested values to the table of inodes, and back.

use std::{
    collections::HashMap,
    ffi::OsStr,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
    rc::Rc,
};

use super::{Directory, FileSystem, Inode, Leaf, LeafContent, RegularFile, Stat};
use crate::{
    error::{Error, Result},
    filetree::{self, FileTree, InodeId, InodeKind, Name, Regular, TreeError},
    v0_3::fsverity::FsVerityHashValue,
};

impl Stat {
    /// Converts native metadata; nanoseconds are dropped.
    #[must_use]
    pub fn from_native(stat: &filetree::Stat) -> Self {
        let xattrs = stat.xattrs.iter().map(|(name, value)| (OsStr::from_bytes(name).into(), value.into()));
        Self {
            st_mode: stat.mode.into(),
            st_uid: stat.uid,
            st_gid: stat.gid,
            st_mtim_sec: stat.mtime_seconds,
            xattrs: xattrs.collect::<std::collections::BTreeMap<_, _>>().into(),
        }
    }

    /// Converts to native metadata; type bits are dropped.
    #[must_use]
    pub fn to_native(&self) -> filetree::Stat {
        let mut xattrs = filetree::Xattrs::default();
        for (name, value) in self.xattrs.borrow().iter() {
            xattrs.set(name.as_bytes(), value);
        }
        filetree::Stat {
            mode: (self.st_mode & 0o7777) as u16,
            uid: self.st_uid,
            gid: self.st_gid,
            mtime_seconds: self.st_mtim_sec,
            mtime_nanos: 0,
            xattrs,
        }
    }
}

impl<ObjectID: FsVerityHashValue> LeafContent<ObjectID> {
    /// Converts a native leaf; `None` for a directory, and for what only dumpfiles have.
    #[must_use]
    pub fn from_native(kind: &InodeKind) -> Option<Self> {
        Some(match kind {
            InodeKind::Regular(Regular::Inline(contents)) => {
                Self::Regular(RegularFile::Inline(contents.clone()))
            }
            InodeKind::Regular(Regular::External { id, size } | Regular::Unverified { id, size }) => {
                Self::Regular(RegularFile::External(ObjectID::from_native(id).ok()?, *size))
            }
            InodeKind::Symlink(target) => Self::Symlink(OsStr::from_bytes(target).into()),
            InodeKind::CharDevice(number) => Self::CharacterDevice((*number).into()),
            InodeKind::BlockDevice(number) => Self::BlockDevice((*number).into()),
            InodeKind::Fifo => Self::Fifo,
            InodeKind::Socket => Self::Socket,
            InodeKind::Regular(_) | InodeKind::Directory(_) => return None,
        })
    }

    /// Converts to a native leaf; `None` for a device number that no image holds.
    #[must_use]
    pub fn to_native(&self) -> Option<InodeKind> {
        Some(match self {
            Self::Regular(RegularFile::Inline(contents)) => {
                InodeKind::Regular(Regular::Inline(contents.clone()))
            }
            Self::Regular(RegularFile::External(id, size)) => {
                InodeKind::Regular(Regular::External { id: id.to_native(), size: *size })
            }
            Self::BlockDevice(number) => InodeKind::BlockDevice(u32::try_from(*number).ok()?),
            Self::CharacterDevice(number) => InodeKind::CharDevice(u32::try_from(*number).ok()?),
            Self::Fifo => InodeKind::Fifo,
            Self::Socket => InodeKind::Socket,
            Self::Symlink(target) => InodeKind::Symlink(target.as_bytes().into()),
        })
    }
}

fn refuse(path: &[u8], source: TreeError) -> Error {
    Error::Tree { path: PathBuf::from(std::ffi::OsString::from_vec(path.to_vec())), source }
}

/// A directory whose walk is not over, with its name.
type Open<ObjectID> = (Box<OsStr>, Directory<ObjectID>);

pub(super) fn from_native<ObjectID: FsVerityHashValue>(tree: &FileTree) -> Result<FileSystem<ObjectID>> {
    let mut leaves: HashMap<InodeId, Rc<Leaf<ObjectID>>> = HashMap::new();
    let mut open: Vec<Open<ObjectID>> = Vec::new();
    for step in tree.depth_first() {
        while open.len() > step.depth.max(1) {
            close(&mut open);
        }
        if step.depth > filetree::DEPTH_MAX {
            return Err(refuse(b"", TreeError::TooDeep));
        }
        let name = step.name.map_or(&b""[..], Name::as_bytes);
        let inode = tree.inode(step.inode);
        if inode.kind.is_directory() {
            open.push((OsStr::from_bytes(name).into(), Directory::new(Stat::from_native(&inode.stat))));
            continue;
        }
        let leaf = match leaves.get(&step.inode) {
            Some(leaf) => Rc::clone(leaf),
            None => {
                let content = LeafContent::from_native(&inode.kind)
                    .ok_or_else(|| Error::caller("a file that is neither inline nor an object"))?;
                let leaf = Rc::new(Leaf { stat: Stat::from_native(&inode.stat), content });
                leaves.insert(step.inode, Rc::clone(&leaf));
                leaf
            }
        };
        if let Some((_, directory)) = open.last_mut() {
            directory.insert(OsStr::from_bytes(name), Inode::Leaf(leaf));
        }
    }
    while open.len() > 1 {
        close(&mut open);
    }
    let root = open.pop().map(|(_, root)| root).unwrap_or_else(|| Directory::new(Stat::default()));
    Ok(FileSystem { root, have_root_stat: true })
}

/// Puts the innermost directory into the one around it.
fn close<ObjectID: FsVerityHashValue>(open: &mut Vec<Open<ObjectID>>) {
    if let Some((name, directory)) = open.pop()
        && let Some((_, parent)) = open.last_mut()
    {
        parent.insert(&name, Inode::Directory(Box::new(directory)));
    }
}

pub(super) fn to_native<ObjectID: FsVerityHashValue>(file_system: &FileSystem<ObjectID>) -> Result<FileTree> {
    let mut tree = FileTree::new(file_system.root.stat.to_native());
    let mut leaves: HashMap<*const Leaf<ObjectID>, InodeId> = HashMap::new();
    let mut pending = vec![(&file_system.root, InodeId::ROOT)];
    while let Some((directory, at)) = pending.pop() {
        for (name, inode) in &directory.entries {
            let path = name.as_bytes();
            let name = Name::new(path).map_err(|source| refuse(path, source.into()))?;
            let link = |tree: &mut FileTree, id| {
                tree.link(at, name.clone(), id).map_err(|source| refuse(path, source))
            };
            let add = |tree: &mut FileTree, stat: &Stat, kind| {
                let inode = filetree::Inode { stat: stat.to_native(), kind };
                tree.add(inode).map_err(|source| refuse(path, source))
            };
            match inode {
                Inode::Directory(directory) => {
                    let id = add(&mut tree, &directory.stat, InodeKind::Directory(filetree::Entries::new()))?;
                    link(&mut tree, id)?;
                    pending.push((directory, id));
                }
                Inode::Leaf(leaf) => {
                    let id = match leaves.get(&Rc::as_ptr(leaf)) {
                        Some(id) => *id,
                        None => {
                            let kind = leaf.content.to_native();
                            let kind =
                                kind.ok_or_else(|| Error::caller("a device number that no image holds"))?;
                            let id = add(&mut tree, &leaf.stat, kind)?;
                            leaves.insert(Rc::as_ptr(leaf), id);
                            id
                        }
                    };
                    link(&mut tree, id)?;
                }
            }
        }
    }
    Ok(tree)
}
