//! The extended attributes of an inode as they are on disk: references to the shared table, then inline ones.

use crate::erofs::format::{XattrEntry, XattrHeader, split_xattr_name, xattr_prefix};

use super::{Fault, FormatVersion, Image};

/// One attribute on disk: not unescaped, those of overlayfs included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xattr<'i> {
    /// The part of the name that is not stored.
    pub prefix: &'static [u8],
    /// The rest of the name.
    pub suffix: &'i [u8],
    /// The value.
    pub value: &'i [u8],
}

impl Xattr<'_> {
    /// Returns the full name.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        [self.prefix, self.suffix].concat()
    }

    /// Tells whether this is the full name.
    #[must_use]
    pub fn has_name(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.prefix) == Some(self.suffix)
    }
}

/// Walks the attributes of an inode in the order on disk; ends at the first fault.
#[derive(Clone, Debug)]
pub struct Xattrs<'i> {
    bytes: &'i [u8],
    base: u64,
    version: FormatVersion,
    references: &'i [u8],
    inline: &'i [u8],
    /// The area is too short for its own header.
    broken: bool,
}

impl<'i> Xattrs<'i> {
    pub(super) fn new(image: &Image<'i>, area: &'i [u8]) -> Self {
        let parts = XattrHeader::parse_prefix(area).and_then(|header| {
            let references = usize::from(header.shared_count).checked_mul(4)?;
            area.get(XattrHeader::SIZE..)?.split_at_checked(references)
        });
        let (references, inline) = parts.unwrap_or_default();
        Self {
            bytes: image.bytes,
            base: image.xattr_base,
            version: image.version,
            references,
            inline,
            broken: parts.is_none() && !area.is_empty(),
        }
    }

    fn advance(&mut self) -> Result<Option<Xattr<'i>>, Fault> {
        if self.broken {
            return Err(Fault::XattrArea);
        }
        if let Some((reference, rest)) = self.references.split_first_chunk() {
            self.references = rest;
            let at = u64::from(u32::from_le_bytes(*reference)).saturating_mul(4).saturating_add(self.base);
            let shared = usize::try_from(at)
                .ok()
                .and_then(|at| self.bytes.get(at..))
                .ok_or(Fault::OutsideImage("shared extended attributes"))?;
            return Ok(Some(self.entry(shared)?.0));
        }
        if self.inline.is_empty() {
            return Ok(None);
        }
        let (xattr, rest) = self.entry(self.inline)?;
        self.inline = rest;
        Ok(Some(xattr))
    }

    /// Reads one entry; returns what follows its padding too.
    fn entry(&self, bytes: &'i [u8]) -> Result<(Xattr<'i>, &'i [u8]), Fault> {
        let entry = XattrEntry::parse_prefix(bytes).ok_or(Fault::XattrArea)?;
        let rest = bytes.get(XattrEntry::SIZE..).ok_or(Fault::XattrArea)?;
        let (suffix, rest) =
            rest.split_at_checked(usize::from(entry.suffix_length)).ok_or(Fault::XattrArea)?;
        let (value, rest) = rest.split_at_checked(usize::from(entry.value_size)).ok_or(Fault::XattrArea)?;
        let bad_name = || Fault::XattrName(suffix.to_vec());
        let prefix = xattr_prefix(entry.index).ok_or_else(bad_name)?;
        // Under index 0 a name with a prefix would be invisible to kernels, and V0 and V1 write `lustre.` there.
        let bad_index = match entry.index {
            0 => suffix.is_empty() || split_xattr_name(suffix, self.version).0 != 0,
            5 => self.version.is_epoch1(),
            _ => false,
        };
        if bad_index || suffix.contains(&0) {
            return Err(bad_name());
        }
        let used = XattrEntry::SIZE.saturating_add(suffix.len()).saturating_add(value.len());
        let padding = used.next_multiple_of(4).saturating_sub(used);
        let rest = rest.get(padding..).ok_or(Fault::XattrArea)?;
        Ok((Xattr { prefix, suffix, value }, rest))
    }
}

impl<'i> Iterator for Xattrs<'i> {
    type Item = Result<Xattr<'i>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        if matches!(next, Some(Err(_))) {
            (self.references, self.inline, self.broken) = (&[], &[], false);
        }
        next
    }
}
