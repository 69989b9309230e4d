//! The names in a directory: blocks of entries, each with the names behind them.

use std::cmp::Ordering;

use crate::{
    erofs::format::{BLOCK_SIZE, Dirent},
    filetree::Name,
};

use super::{Contents, Fault};

/// One name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'i> {
    /// The name: 1 to 255 bytes without `/` and NUL; may be `.` or `..`.
    pub name: &'i [u8],
    /// The inode it names.
    pub nid: u64,
    /// The inode's type by the entry.
    pub file_type: u8,
}

impl Entry<'_> {
    /// Tells whether this is `.` or `..`.
    #[must_use]
    pub fn is_dots(&self) -> bool {
        self.name == b"." || self.name == b".."
    }
}

/// One block of entries whose number is known.
#[derive(Clone, Copy, Debug, Default)]
struct Block<'i> {
    bytes: &'i [u8],
    count: usize,
    nul_ends_names: bool,
}

impl<'i> Block<'i> {
    fn new(bytes: &'i [u8], nul_ends_names: bool) -> Result<Self, Fault> {
        let first = Dirent::parse_prefix(bytes).ok_or(Fault::DirectoryBlock)?;
        let names_at = usize::from(first.name_offset);
        if names_at == 0 || names_at > bytes.len() || !names_at.is_multiple_of(Dirent::SIZE) {
            return Err(Fault::DirectoryBlock);
        }
        Ok(Self { bytes, count: names_at / Dirent::SIZE, nul_ends_names })
    }

    fn dirent(&self, index: usize) -> Option<Dirent> {
        self.bytes.get(index.checked_mul(Dirent::SIZE)?..).and_then(Dirent::parse_prefix)
    }

    /// Reads the entry at `index`, which is below the count.
    fn entry(&self, index: usize) -> Result<Entry<'i>, Fault> {
        let dirent = self.dirent(index).ok_or(Fault::DirectoryBlock)?;
        let rest = self.bytes.get(usize::from(dirent.name_offset)..).ok_or(Fault::DirectoryBlock)?;
        let next = index.saturating_add(1);
        let name = if next < self.count {
            let end = self.dirent(next).ok_or(Fault::DirectoryBlock)?.name_offset;
            let length = end.checked_sub(dirent.name_offset).ok_or(Fault::DirectoryBlock)?;
            rest.get(..usize::from(length)).ok_or(Fault::DirectoryBlock)?
        } else {
            // Only the end of the block or a NUL ends the last name.
            rest.split(|byte| *byte == 0).next().unwrap_or_default()
        };
        let name =
            if self.nul_ends_names { name.split(|byte| *byte == 0).next().unwrap_or_default() } else { name };
        if name.is_empty() || name.len() > Name::MAX || name.iter().any(|byte| matches!(byte, b'/' | 0)) {
            return Err(Fault::Name(name.iter().copied().take(Name::MAX).collect()));
        }
        Ok(Entry { name, nid: dirent.nid, file_type: dirent.file_type })
    }
}

/// Walks the names of a directory in byte order; ends at the first fault.
#[derive(Clone, Debug)]
pub struct Entries<'i> {
    contents: Contents<'i>,
    next_block: usize,
    block: Block<'i>,
    next: usize,
    previous: &'i [u8],
    failed: bool,
}

impl<'i> Entries<'i> {
    pub(super) const fn new(contents: Contents<'i>, nul_ends_names: bool) -> Self {
        Self {
            contents,
            next_block: 0,
            block: Block { bytes: &[], count: 0, nul_ends_names },
            next: 0,
            previous: &[],
            failed: false,
        }
    }

    /// Returns where the walk stands: 0 at the beginning, and a number to go on from with [`Entries::resume`].
    #[must_use]
    pub const fn position(&self) -> u64 {
        (self.next_block as u64) << 16 | self.next as u64
    }

    /// Goes on where another walk of the same directory stood. The order of names is checked from there on.
    ///
    /// # Errors
    /// [`Fault::DirectoryBlock`] for a number that no walk has given, or a damaged block.
    pub fn resume(mut self, position: u64) -> Result<Self, Fault> {
        self.next_block = usize::try_from(position >> 16).map_err(|_| Fault::DirectoryBlock)?;
        self.next = usize::from(position as u16);
        if let Some(index) = self.next_block.checked_sub(1) {
            let bytes = self.block(index).ok_or(Fault::DirectoryBlock)?;
            self.block = Block::new(bytes, self.block.nul_ends_names)?;
        }
        if self.next > self.block.count {
            return Err(Fault::DirectoryBlock);
        }
        Ok(self)
    }

    /// Cuts out the block at `index`; the tail counts as one.
    fn block(&self, index: usize) -> Option<&'i [u8]> {
        const SIZE: usize = BLOCK_SIZE as usize;
        let (blocks, tail) = (self.contents.blocks, self.contents.tail);
        let at = index.checked_mul(SIZE)?;
        match blocks.get(at..) {
            Some(rest) if !rest.is_empty() => Some(rest.get(..SIZE).unwrap_or(rest)),
            _ if !tail.is_empty() && index == blocks.len().div_ceil(SIZE) => Some(tail),
            _ => None,
        }
    }

    fn advance(&mut self) -> Result<Option<Entry<'i>>, Fault> {
        if self.next >= self.block.count {
            let Some(bytes) = self.block(self.next_block) else { return Ok(None) };
            self.block = Block::new(bytes, self.block.nul_ends_names)?;
            self.next_block = self.next_block.saturating_add(1);
            self.next = 0;
        }
        let entry = self.block.entry(self.next)?;
        self.next = self.next.saturating_add(1);
        if entry.name <= self.previous {
            return Err(Fault::NameOrder(entry.name.to_vec()));
        }
        self.previous = entry.name;
        Ok(Some(entry))
    }

    /// Finds a name other than `.` and `..` in the block that has it if the order is kept.
    pub(super) fn find(&self, name: &[u8]) -> Result<Option<Entry<'i>>, Fault> {
        let count = self.contents.blocks.len().div_ceil(BLOCK_SIZE as usize);
        let (mut low, mut high) = (0, count.saturating_add(usize::from(!self.contents.tail.is_empty())));
        while low < high {
            let middle = low.midpoint(high);
            let Some(bytes) = self.block(middle) else { break };
            if Block::new(bytes, self.block.nul_ends_names)?.entry(0)?.name <= name {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        let Some(bytes) = low.checked_sub(1).and_then(|index| self.block(index)) else { return Ok(None) };
        let block = Block::new(bytes, self.block.nul_ends_names)?;
        let (mut low, mut high) = (0, block.count);
        while low < high {
            let middle = low.midpoint(high);
            let entry = block.entry(middle)?;
            match entry.name.cmp(name) {
                Ordering::Less => low = middle.saturating_add(1),
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(Some(entry).filter(|entry| !entry.is_dots())),
            }
        }
        Ok(None)
    }
}

impl<'i> Iterator for Entries<'i> {
    type Item = Result<Entry<'i>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let entry = self.advance().transpose();
        self.failed = !matches!(entry, Some(Ok(_)));
        entry
    }
}
