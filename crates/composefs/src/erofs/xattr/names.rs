//! Xattr names as numbers: each distinct name is escaped, split and hashed once.

use std::collections::HashMap;

use super::super::format::{self, FormatVersion};

/// Number of the metacopy name.
pub(super) const METACOPY: u32 = 0;
/// Number of the redirect name.
pub(super) const REDIRECT: u32 = 1;

/// A name on disk.
pub(in crate::erofs) struct Name {
    /// The full name, escaped.
    pub(super) full: Box<[u8]>,
    /// The prefix index.
    pub(super) index: u8,
    /// Length of the suffix, which ends the full name.
    suffix_length: usize,
    /// The bit it clears in name filters.
    pub(super) filter_bit: u32,
}

impl Name {
    /// Returns the name without its prefix.
    pub(in crate::erofs) fn suffix(&self) -> &[u8] {
        &self.full[self.full.len() - self.suffix_length..]
    }
}

/// All names of an image.
pub(super) struct Names<'a> {
    version: FormatVersion,
    pub(super) names: Vec<Name>,
    given: HashMap<&'a [u8], u32>,
    full: HashMap<Box<[u8]>, u32>,
}

impl<'a> Names<'a> {
    pub(super) fn new(version: FormatVersion) -> Self {
        let mut names = Self { version, names: Vec::new(), given: HashMap::new(), full: HashMap::new() };
        names.on_disk(format::XATTR_METACOPY);
        names.on_disk(format::XATTR_REDIRECT);
        names
    }

    /// Returns the number of a name as an inode of the tree has it; `None` if it is no xattr name.
    pub(super) fn given(&mut self, name: &'a [u8]) -> Option<u32> {
        if let Some(number) = self.given.get(name) {
            return Some(*number);
        }
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return None;
        }
        let number = match name.strip_prefix(format::XATTR_OVERLAY) {
            Some(rest) => self.add([format::XATTR_ESCAPED, rest].concat().into()),
            None => self.add(name.into()),
        };
        self.given.insert(name, number);
        Some(number)
    }

    /// Returns the number of a name that is not escaped.
    pub(super) fn on_disk(&mut self, full: &[u8]) -> u32 {
        match self.full.get(full) {
            Some(number) => *number,
            None => self.add(full.into()),
        }
    }

    fn add(&mut self, full: Box<[u8]>) -> u32 {
        if let Some(number) = self.full.get(&full) {
            return *number;
        }
        // Below the number of xattrs, which `lists` bounds.
        let number = self.names.len() as u32;
        let (index, suffix) = format::split_xattr_name(&full, self.version);
        let filter_bit = format::xattr_filter_bit(index, suffix);
        let suffix_length = suffix.len();
        self.names.push(Name { full: full.clone(), index, suffix_length, filter_bit });
        self.full.insert(full, number);
        number
    }
}
