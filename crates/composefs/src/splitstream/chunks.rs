//! The parts of a stream, one after the other.
//!
//! # Format
//! `docs/formats/splitstream.md`, sections 1 ("stream") and 5.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::borrow::Borrow;

use super::{
    IdList, Layout, Section, SplitstreamError,
    format::Extent,
    s3::{COUNT_SIZE, map_size},
    section::{BUFFER_SIZE, SectionReader},
};
use crate::{
    digest::{Algorithm, ObjectId},
    read_at::ReadAt,
};

/// The longest piece of inline bytes that [`Chunks`] gives: 64 KiB.
pub const PIECE_SIZE: usize = BUFFER_SIZE;

/// A part of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Bytes of the stream, 1 to [`PIECE_SIZE`] of them. A long inline chunk comes in several pieces, and
    /// where one chunk ends and the next begins means nothing.
    Inline(&'a [u8]),
    /// All of an object.
    External(ObjectId),
}

/// Reads the parts of a stream in order, holding 64 KiB of them and the window of the compression.
///
/// Not an `Iterator`, since inline bytes are borrowed from it.
pub struct ChunkReader<R, I> {
    reader: SectionReader<R>,
    object_refs: I,
    algorithm: Algorithm,
    layout: Layout,
    /// The length of the inline chunk being read, and what is left of it.
    claimed: u64,
    left: u64,
}

/// Reads the parts of a stream that it borrows.
pub type Chunks<'a, R> = ChunkReader<&'a R, &'a IdList>;

/// Reads the parts of a stream that it has taken over, with the table of objects.
pub type IntoChunks<R> = ChunkReader<R, IdList>;

impl<R: ReadAt, I: Borrow<IdList>> ChunkReader<R, I> {
    /// Starts at the beginning; `range` is checked, a 0.3 map has `map_entries` entries.
    pub(super) fn new(
        source: R,
        range: Extent,
        object_refs: I,
        algorithm: Algorithm,
        layout: Layout,
        map_entries: u64,
        limit: u64,
    ) -> Result<Self, SplitstreamError> {
        let mut reader = SectionReader::new(source, Section::Stream, range, limit)?;
        if layout == Layout::V03 {
            let map = map_size(map_entries, algorithm).and_then(|size| size.checked_add(COUNT_SIZE as u64));
            if !reader.skip(map.unwrap_or(u64::MAX))? {
                return Err(SplitstreamError::Incomplete(Section::Map));
            }
        }
        Ok(Self { reader, object_refs, algorithm, layout, claimed: 0, left: 0 })
    }

    /// Returns the stream's table of objects; empty for the 0.3 format.
    #[must_use]
    pub fn object_refs(&self) -> &IdList {
        self.object_refs.borrow()
    }

    /// Returns the next part, or nothing at the end of the stream.
    ///
    /// # Errors
    /// [`SplitstreamError::Read`], [`SplitstreamError::Decompress`], [`SplitstreamError::Incomplete`],
    /// [`SplitstreamError::ChunkCut`], [`SplitstreamError::InlineCut`], [`SplitstreamError::ObjectIndex`],
    /// [`SplitstreamError::TooLarge`]. After an error the stream is of no use.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk<'_>>, SplitstreamError> {
        if self.left == 0 {
            let mut header = [0; 8];
            match self.reader.read_full(&mut header)? {
                0 => return Ok(None),
                8 => {}
                _ => return Err(SplitstreamError::ChunkCut),
            }
            match self.layout {
                Layout::Current | Layout::Old => {
                    let number = i64::from_le_bytes(header);
                    if number >= 0 {
                        return self.by_index(number.unsigned_abs()).map(Some);
                    }
                    self.claimed = number.unsigned_abs();
                }
                Layout::V03 => match u64::from_le_bytes(header) {
                    0 => return self.by_id().map(Some),
                    length => self.claimed = length,
                },
            }
            self.left = self.claimed;
        }
        let max = usize::try_from(self.left).unwrap_or(usize::MAX);
        let piece = self.reader.take(max)?;
        if piece.is_empty() {
            return Err(SplitstreamError::InlineCut { claimed: self.claimed, missing: self.left });
        }
        self.left = self.left.saturating_sub(piece.len() as u64);
        Ok(Some(Chunk::Inline(piece)))
    }

    fn by_index(&self, index: u64) -> Result<Chunk<'static>, SplitstreamError> {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.object_refs().get(index))
            .map(Chunk::External)
            .ok_or(SplitstreamError::ObjectIndex { index, count: self.object_refs().len() })
    }

    fn by_id(&mut self) -> Result<Chunk<'static>, SplitstreamError> {
        let mut digest = [0; 64];
        let digest = digest.get_mut(..self.algorithm.digest_size()).unwrap_or_default();
        if self.reader.read_full(digest)? < digest.len() {
            return Err(SplitstreamError::ChunkCut);
        }
        ObjectId::from_bytes(self.algorithm, digest)
            .map(Chunk::External)
            .map_err(|_| SplitstreamError::ChunkCut)
    }
}

impl<R, I> std::fmt::Debug for ChunkReader<R, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChunkReader")
            .field("layout", &self.layout)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
