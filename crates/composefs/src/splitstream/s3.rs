//! The 0.3 format: no header, all of it one compressed stream; read only.
//!
//! # Format
//! `docs/formats/splitstream.md`, section 5.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{Limits, Section, SplitstreamError, format::Extent, section::SectionReader};
use crate::{
    digest::{Algorithm, ObjectId},
    read_at::ReadAt,
};

/// Size of the count in front of the map.
pub(super) const COUNT_SIZE: usize = 8;
const SHA256_SIZE: usize = 32;

/// A stream that a 0.3 stream refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapEntry {
    /// The SHA-256 of the stream's contents.
    pub body_sha256: [u8; SHA256_SIZE],
    /// The id of the stream.
    pub stream: ObjectId,
}

/// Reads the map that stands before the chunks.
pub(super) fn read_map<R: ReadAt + ?Sized>(
    source: &R,
    size: u64,
    algorithm: Algorithm,
    limits: &Limits,
) -> Result<Vec<MapEntry>, SplitstreamError> {
    let extent = Extent { start: 0, end: size };
    let mut reader = SectionReader::new(source, Section::Map, extent, limits.stream_bytes)?;
    let mut count = [0; COUNT_SIZE];
    if reader.read_full(&mut count)? < count.len() {
        return Err(SplitstreamError::Incomplete(Section::Map));
    }
    let count = u64::from_le_bytes(count);
    let bytes = map_size(count, algorithm);
    if bytes.is_none_or(|bytes| bytes > limits.named_refs_bytes) {
        return Err(SplitstreamError::TooLarge { section: Section::Map, limit: limits.named_refs_bytes });
    }
    // The count is only a claim: the map grows with what is there.
    let mut map = Vec::new();
    let mut pair = [0; SHA256_SIZE + 64];
    let pair = pair.get_mut(..SHA256_SIZE.saturating_add(algorithm.digest_size())).unwrap_or_default();
    for _ in 0..count {
        if reader.read_full(pair)? < pair.len() {
            return Err(SplitstreamError::Incomplete(Section::Map));
        }
        let entry = pair.split_first_chunk().and_then(|(body_sha256, id)| {
            let stream = ObjectId::from_bytes(algorithm, id).ok()?;
            Some(MapEntry { body_sha256: *body_sha256, stream })
        });
        map.extend(entry);
    }
    Ok(map)
}

/// Returns the size of the pairs of a map, in bytes.
pub(super) fn map_size(count: u64, algorithm: Algorithm) -> Option<u64> {
    count.checked_mul(SHA256_SIZE.checked_add(algorithm.digest_size())? as u64)
}
