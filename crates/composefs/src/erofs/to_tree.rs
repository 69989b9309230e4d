//! From an image back to the tree it was written from.
//!
//! # Format
//! `docs/formats/erofs.md`, section 9, "Back to the tree".
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    digest::Algorithm,
    filetree::{self, FileTree, InodeId, InodeKind, Name, Stat},
};

use super::{
    format::S_IFCHR,
    overlay::{self, Meter},
    read::{Fault, Image, Inode, ReadError},
    walk::{Visitor, walk},
};

/// The number of stubs in a root of V0 and V1 that has none of their names itself.
const STUBS: u32 = 256;

/// Makes the tree that an image was written from; `algorithm` is that of the objects' ids.
///
/// Writing the tree in the same version gives the same image, if one of our writers made it; except that a
/// value of the owner's on a directory with whiteouts was lost to a marker of the same name.
///
/// # Errors
/// [`ReadError::At`] or [`ReadError::Inode`] for the first fault, with path and number of the inode; those of
/// [`super::check()`], exactly.
pub fn to_tree(image: &Image<'_>, algorithm: Algorithm) -> Result<FileTree, ReadError> {
    let mut back = Back::new(image, algorithm, Build { tree: None, entries: Vec::new() });
    walk(image, &mut back)?;
    Ok(back.keep.tree.unwrap_or_else(|| FileTree::new(Stat::default())))
}

/// What becomes of the inodes made.
pub(super) trait Keep {
    /// What stands for an inode.
    type Tag: Copy;

    /// Takes an inode before its name; the root first, as an empty directory.
    fn add(&mut self, inode: filetree::Inode) -> Result<Self::Tag, Fault>;

    /// Takes a name in the directory that is closed next.
    fn name(&mut self, name: &[u8], inode: Self::Tag) -> Result<(), Fault>;

    /// Ends the names of a directory and gives it its metadata.
    fn close(&mut self, directory: Self::Tag, stat: Stat);
}

/// Keeps them in a tree.
struct Build {
    tree: Option<FileTree>,
    entries: Vec<(Name, InodeId)>,
}

impl Keep for Build {
    type Tag = InodeId;

    fn add(&mut self, inode: filetree::Inode) -> Result<InodeId, Fault> {
        match &mut self.tree {
            Some(tree) => tree.add(inode).map_err(|_| Fault::TooManyInodes),
            None => {
                self.tree = Some(FileTree::new(inode.stat));
                Ok(InodeId::ROOT)
            }
        }
    }

    fn name(&mut self, name: &[u8], inode: InodeId) -> Result<(), Fault> {
        let checked = Name::new(name).map_err(|_| Fault::Name(name.to_vec()))?;
        self.entries.push((checked, inode));
        Ok(())
    }

    fn close(&mut self, directory: InodeId, stat: Stat) {
        let entries = std::mem::take(&mut self.entries);
        if let Some(tree) = &mut self.tree {
            *tree.inode_mut(directory) =
                filetree::Inode { stat, kind: InodeKind::Directory(entries.into_iter().collect()) };
        }
    }
}

/// Turns what the walk meets into inodes of a tree.
pub(super) struct Back<K> {
    algorithm: Algorithm,
    meter: Meter,
    root_nid: u64,
    epoch1: bool,
    /// The directory being read has an escaped whiteout.
    whiteouts: bool,
    /// Names in the root that a stub would have.
    stub_names: u32,
    keep: K,
}

impl<K: Keep> Back<K> {
    pub(super) const fn new(image: &Image<'_>, algorithm: Algorithm, keep: K) -> Self {
        Self {
            algorithm,
            meter: Meter::new(image.tree_bytes()),
            root_nid: image.root_nid(),
            epoch1: image.version().is_epoch1(),
            whiteouts: false,
            stub_names: 0,
            keep,
        }
    }
}

impl<'i, K: Keep> Visitor<'i> for Back<K> {
    /// `None` for a stub.
    type Tag = Option<K::Tag>;

    fn directory(&mut self, _: &Inode<'i>) -> Result<Self::Tag, Fault> {
        let placeholder =
            filetree::Inode { stat: Stat::default(), kind: InodeKind::Directory(filetree::Entries::new()) };
        self.keep.add(placeholder).map(Some)
    }

    fn leaf(&mut self, inode: &Inode<'i>, parent: &Inode<'i>, name: &'i [u8]) -> Result<Self::Tag, Fault> {
        let native = inode.type_bits() == S_IFCHR && inode.device_number() == 0;
        let leaf = overlay::leaf(inode, self.algorithm, &mut self.meter)?;
        if self.epoch1 && native {
            if parent.nid() == self.root_nid && is_stub_name(name) {
                return Ok(None);
            }
            return Err(Fault::NativeWhiteout);
        }
        self.whiteouts |= leaf.kind.is_whiteout();
        self.keep.add(leaf).map(Some)
    }

    fn name(&mut self, parent: &Inode<'i>, name: &'i [u8], tag: Self::Tag) -> Result<(), Fault> {
        if parent.nid() == self.root_nid && is_stub_name(name) {
            self.stub_names = self.stub_names.saturating_add(1);
        }
        tag.map_or(Ok(()), |tag| self.keep.name(name, tag))
    }

    fn end(&mut self, inode: &Inode<'i>, tag: Self::Tag) -> Result<(), Fault> {
        if self.epoch1 && inode.nid() == self.root_nid && self.stub_names != STUBS {
            return Err(Fault::Stubs(self.stub_names));
        }
        let whiteouts = std::mem::take(&mut self.whiteouts) && self.epoch1;
        let stat = overlay::directory(inode, whiteouts, &mut self.meter)?;
        if let Some(tag) = tag {
            self.keep.close(tag, stat);
        }
        Ok(())
    }
}

/// Tells whether this is one of `00` to `ff`.
fn is_stub_name(name: &[u8]) -> bool {
    name.len() == 2 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
