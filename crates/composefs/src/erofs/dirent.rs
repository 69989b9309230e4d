//! Directories as blocks of entries.
//!
//! In: names in order. Out: blocks of at most 4096 bytes, filled greedily.
//!
//! # Format
//! `docs/formats/erofs.md`, section 5, "Directory data".

use std::collections::btree_map;

use crate::filetree::{Entries, InodeId, Name};

use super::format::{BLOCK_SIZE, Dirent};

/// A last block of at most this many bytes is stored with the inode.
const TAIL_MAX: usize = 2048;

/// What a name in a directory leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Child {
    /// The directory: `.`.
    Itself,
    /// Its parent: `..`.
    Parent,
    /// A stub.
    Stub(u8),
    /// An inode of the tree.
    Inode(InodeId),
}

/// What every directory has besides its entries.
pub(super) static DOTS: [(&[u8], Child); 2] = [(b".", Child::Itself), (b"..", Child::Parent)];

/// The names of a directory in byte order, from its entries and a sorted list of extra ones.
#[derive(Clone)]
pub(super) struct Listing<'a> {
    entries: btree_map::Iter<'a, Name, InodeId>,
    entry: Option<(&'a [u8], Child)>,
    extras: &'a [(&'static [u8], Child)],
}

impl<'a> Listing<'a> {
    pub(super) fn new(entries: &'a Entries, extras: &'a [(&'static [u8], Child)]) -> Self {
        let mut entries = entries.iter();
        let entry = entries.next().map(child);
        Self { entries, entry, extras }
    }
}

fn child<'a>((name, inode): (&'a Name, &'a InodeId)) -> (&'a [u8], Child) {
    (name.as_bytes(), Child::Inode(*inode))
}

impl<'a> Iterator for Listing<'a> {
    type Item = (&'a [u8], Child);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some((extra, rest)) = self.extras.split_first()
            && self.entry.is_none_or(|(name, _)| extra.0 < name)
        {
            self.extras = rest;
            return Some(*extra);
        }
        let next = self.entries.next().map(child);
        std::mem::replace(&mut self.entry, next)
    }
}

/// The names of a directory, block by block.
pub(super) struct Blocks<'a> {
    listing: std::iter::Peekable<Listing<'a>>,
    block: Vec<(&'a [u8], Child)>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(listing: Listing<'a>) -> Self {
        Self { listing: listing.peekable(), block: Vec::new() }
    }

    /// Returns the names of the next block.
    pub(super) fn next_block(&mut self) -> Option<&[(&'a [u8], Child)]> {
        self.block.clear();
        let mut used = 0;
        while let Some((name, _)) = self.listing.peek() {
            used += Dirent::SIZE + name.len();
            if used > BLOCK_SIZE as usize {
                break;
            }
            self.block.extend(self.listing.next());
        }
        if self.block.is_empty() { None } else { Some(&self.block) }
    }
}

/// Returns how many blocks a directory fills and how many bytes remain for the tail.
pub(super) fn measure(listing: Listing<'_>) -> (u64, usize) {
    let (mut blocks, mut used) = (0, 0);
    for (name, _) in listing {
        let cost = Dirent::SIZE + name.len();
        if used + cost > BLOCK_SIZE as usize {
            blocks += 1;
            used = 0;
        }
        used += cost;
    }
    if used > TAIL_MAX { (blocks + 1, 0) } else { (blocks, used) }
}

/// Appends the bytes of one block, without padding; `resolve` gives nid and type.
pub(super) fn append_block(
    out: &mut Vec<u8>,
    block: &[(&[u8], Child)],
    resolve: impl Fn(Child) -> (u64, u8),
) {
    let mut name_offset = block.len() * Dirent::SIZE;
    for (name, child) in block {
        let (nid, file_type) = resolve(*child);
        // A block has 4096 bytes.
        let dirent = Dirent { nid, name_offset: name_offset as u16, file_type };
        out.extend_from_slice(&dirent.to_bytes());
        name_offset += name.len();
    }
    for (name, _) in block {
        out.extend_from_slice(name);
    }
}
