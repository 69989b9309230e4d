//! What a parser tells its caller.

use crate::entry::{Entry, EntryError};

/// Contents of at most this many bytes stay inline; more become an object. Part of the format: another number
/// gives other objects.
pub const INLINE_MAX: u64 = 64;

/// A step through an archive.
///
/// [`Inline`](Self::Inline) and [`Content`](Self::Content) together are the archive, each byte once and in
/// order. A member is either one [`Member`](Self::Member) after its last inline byte, or
/// [`Begin`](Self::Begin) after its headers, `Content` in any number of pieces, [`End`](Self::End).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'i> {
    /// Bytes to keep inline: headers, extension headers, small contents, padding, whatever follows the end
    /// marks. Never empty; one run may come in many pieces.
    Inline(&'i [u8]),
    /// A member whose bytes were all inline has ended.
    Member(Member),
    /// A member begins whose contents, [`Member::external`] bytes, become an object.
    Begin(Member),
    /// Bytes of that object. Never empty.
    Content(&'i [u8]),
    /// That object is complete; the member's padding follows inline.
    End,
}

/// A member of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where its first header, extension headers included, begins in the archive.
    pub offset: u64,
    /// The type byte of its header.
    pub type_flag: u8,
    /// Bytes of data after its headers, without padding; of a sparse member the map, if in front, included.
    pub size: u64,
    /// Size of the object its contents become; `None` if they are inline or there are none.
    pub external: Option<u64>,
    /// The entry of a tree it stands for, or why there is none. An image cannot be built from the latter, but
    /// the archive can be kept.
    pub entry: Result<Entry, EntryError>,
}

impl Member {
    /// The member's name as the archive has it.
    pub fn path(&self) -> &[u8] {
        match &self.entry {
            Ok(entry) => &entry.path,
            Err(error) => &error.path,
        }
    }
}
