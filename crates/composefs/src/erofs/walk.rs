//! One walk over everything the root leads to, with the checks that concern several inodes.
//!
//! Breadth first, by a table of the directories met, so that nothing recurses. A bit for each possible inode
//! remembers what was met; as the inodes of an image never overlap, what they take together is at most the
//! image, and an image that says otherwise is refused before it costs more time than its length.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::HashMap;

use crate::filetree::DEPTH_MAX;

use super::{
    format::SLOT_SIZE,
    read::{Fault, Image, Inode, ReadError},
};

/// What is told of the inodes met.
pub(super) trait Visitor<'i> {
    /// What stands for an inode.
    type Tag: Copy;

    /// Takes a directory, the first time and before its name; the root first of all.
    fn directory(&mut self, inode: &Inode<'i>) -> Result<Self::Tag, Fault>;

    /// Takes a leaf, the first time and before its name, which is in the directory `parent`.
    fn leaf(&mut self, inode: &Inode<'i>, parent: &Inode<'i>, name: &'i [u8]) -> Result<Self::Tag, Fault>;

    /// Takes a name in `parent`; all names of a directory come in one run, in order.
    fn name(&mut self, parent: &Inode<'i>, name: &'i [u8], tag: Self::Tag) -> Result<(), Fault>;

    /// Ends the names of a directory.
    fn end(&mut self, inode: &Inode<'i>, tag: Self::Tag) -> Result<(), Fault>;
}

/// A directory met: how to get back to it, and to its path.
#[derive(Clone, Copy)]
struct Met<'i, T> {
    name: &'i [u8],
    parent: usize,
    nid: u64,
    depth: usize,
    tag: T,
}

/// A leaf with several names: how many were met.
struct Links<T> {
    said: u32,
    met: u32,
    tag: T,
}

struct Walk<'i, T> {
    image: Image<'i>,
    met: Vec<Met<'i, T>>,
    seen: Vec<u64>,
    links: HashMap<u64, Links<T>>,
    bytes_left: u64,
}

/// Walks the whole image.
///
/// # Errors
/// [`ReadError::At`] for the first fault, with the path where it was met.
pub(super) fn walk<'i, V: Visitor<'i>>(image: &Image<'i>, visitor: &mut V) -> Result<(), ReadError> {
    let mut walk = Walk {
        image: *image,
        met: Vec::new(),
        seen: Vec::new(),
        links: HashMap::new(),
        bytes_left: image.bytes().len() as u64,
    };
    let nid = image.root_nid();
    walk.root(visitor).map_err(|source| ReadError::At { path: Vec::new(), nid, source })?;
    let mut next = 0;
    while let Some(directory) = walk.met.get(next).copied() {
        walk.directory(next, &directory, visitor)?;
        next = next.saturating_add(1);
    }
    let lacking = walk.links.iter().filter(|(_, links)| links.met != links.said);
    if let Some((nid, links)) = lacking.min_by_key(|(nid, _)| **nid) {
        let source = Fault::LinkCount { said: links.said, actual: links.met };
        return Err(ReadError::Inode { nid: *nid, source });
    }
    Ok(())
}

impl<'i, T: Copy> Walk<'i, T> {
    fn root<V: Visitor<'i, Tag = T>>(&mut self, visitor: &mut V) -> Result<(), Fault> {
        let nid = self.image.root_nid();
        let inode = Inode::parse(self.image, nid)?;
        if !inode.is_directory() {
            return Err(Fault::NotADirectory);
        }
        let slots = (self.image.bytes().len() as u64 / SLOT_SIZE).div_ceil(64);
        self.seen = vec![0; usize::try_from(slots).map_err(|_| Fault::OutsideInodes)?];
        self.first_time(&inode)?;
        let tag = visitor.directory(&inode)?;
        self.met.push(Met { name: b"", parent: 0, nid, depth: 0, tag });
        Ok(())
    }

    fn directory<V: Visitor<'i, Tag = T>>(
        &mut self,
        index: usize,
        directory: &Met<'i, T>,
        visitor: &mut V,
    ) -> Result<(), ReadError> {
        let nid = directory.nid;
        let inode = self.at(index, None, nid, Inode::parse(self.image, nid))?;
        let parent = self.met.get(directory.parent).map_or(nid, |parent| parent.nid);
        let (mut subdirectories, mut dots) = (0_u32, 0_u32);
        for entry in inode.entries() {
            let entry = self.at(index, None, nid, entry)?;
            if entry.is_dots() {
                let to = if entry.name == b"." { nid } else { parent };
                if entry.nid != to || entry.file_type != inode.entry_type() {
                    return self.at(index, None, nid, Err(Fault::Dots));
                }
                dots = dots.saturating_add(1);
                continue;
            }
            let child = Inode::parse(self.image, entry.nid).and_then(|child| {
                if child.entry_type() != entry.file_type {
                    return Err(Fault::EntryType { entry: entry.file_type, inode: child.entry_type() });
                }
                subdirectories = subdirectories.saturating_add(u32::from(child.is_directory()));
                let tag = self.child(index, directory, &inode, &child, entry.name, visitor)?;
                visitor.name(&inode, entry.name, tag)
            });
            self.at(index, Some(entry.name), entry.nid, child)?;
        }
        let actual = subdirectories.saturating_add(2);
        let ended = match (dots, inode.nlink()) {
            (2, said) if said == actual => visitor.end(&inode, directory.tag),
            (2, said) => Err(Fault::LinkCount { said, actual }),
            _ => Err(Fault::Dots),
        };
        self.at(index, None, nid, ended)
    }

    fn child<V: Visitor<'i, Tag = T>>(
        &mut self,
        index: usize,
        directory: &Met<'i, T>,
        parent: &Inode<'i>,
        child: &Inode<'i>,
        name: &'i [u8],
        visitor: &mut V,
    ) -> Result<T, Fault> {
        let (nid, said) = (child.nid(), child.nlink());
        let first_time = self.first_time(child)?;
        if child.is_directory() {
            if !first_time {
                return Err(Fault::DirectoryTwice);
            }
            let depth = directory.depth.saturating_add(1);
            if depth > DEPTH_MAX {
                return Err(Fault::TooDeep);
            }
            let tag = visitor.directory(child)?;
            self.met.push(Met { name, parent: index, nid, depth, tag });
            return Ok(tag);
        }
        if first_time {
            if said == 0 {
                return Err(Fault::LinkCount { said, actual: 1 });
            }
            let tag = visitor.leaf(child, parent, name)?;
            if said > 1 {
                self.links.insert(nid, Links { said, met: 1, tag });
            }
            return Ok(tag);
        }
        let Some(links) = self.links.get_mut(&nid) else { return Err(Fault::LinkCount { said, actual: 2 }) };
        links.met = links.met.saturating_add(1);
        if links.met > said {
            return Err(Fault::LinkCount { said, actual: links.met });
        }
        Ok(links.tag)
    }

    /// Marks an inode as met; tells whether it was not before.
    fn first_time(&mut self, inode: &Inode<'i>) -> Result<bool, Fault> {
        let word = usize::try_from(inode.nid() / 64).ok().and_then(|index| self.seen.get_mut(index));
        let (word, bit) = (word.ok_or(Fault::OutsideInodes)?, 1_u64 << (inode.nid() % 64));
        if *word & bit != 0 {
            return Ok(false);
        }
        *word |= bit;
        self.bytes_left = self.bytes_left.checked_sub(inode.footprint()).ok_or(Fault::Overlap)?;
        Ok(true)
    }

    /// Adds to a fault the place it was met at: a directory, or a name in it.
    fn at<R>(
        &self,
        directory: usize,
        name: Option<&[u8]>,
        nid: u64,
        result: Result<R, Fault>,
    ) -> Result<R, ReadError> {
        result.map_err(|source| {
            let mut names: Vec<&[u8]> = name.into_iter().collect();
            let mut index = directory;
            while let Some(met) = self.met.get(index).filter(|_| index != 0) {
                names.push(met.name);
                index = met.parent;
            }
            names.reverse();
            ReadError::At { path: names.join(&b'/'), nid, source }
        })
    }
}
