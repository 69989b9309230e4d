//! GNU's own ways: long names in members of their own, and sparse maps in header blocks.
//!
//! # Format
//! `docs/formats/tree.md` section 4 (`L`, `K`), `docs/formats/splitstream.md` section 4 (`S`).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::header::{Block, NumberError, unsigned};
use crate::sparse::{Segment, SegmentList, SparseError};

/// Bytes of one slot of a sparse map: offset and length, twelve bytes each.
const SLOT: usize = 24;

/// Takes the terminator off a long name; GNU tar counts it as part of the data.
pub(crate) fn trim_long_name(name: &mut Vec<u8>) {
    if name.last() == Some(&0) {
        name.pop();
    }
}

/// Reads the four slots of a header of type `S`; true when blocks of more slots follow.
pub(crate) fn header_slots(block: &Block, list: &mut SegmentList) -> bool {
    push_slots(&block[386..482], list);
    block[482] != 0
}

/// Reads the 21 slots of an extension block; true when another one follows.
pub(crate) fn extension_slots(block: &Block, list: &mut SegmentList) -> bool {
    push_slots(&block[..504], list);
    block[504] != 0
}

/// Size of the file that a header of type `S` stands for.
pub(crate) fn real_size(block: &Block) -> Result<u64, NumberError> {
    unsigned(&block[483..495])
}

fn push_slots(slots: &[u8], list: &mut SegmentList) {
    for slot in slots.chunks_exact(SLOT) {
        let (offset, len) = slot.split_at_checked(SLOT / 2).unwrap_or_default();
        match (unsigned(offset), unsigned(len)) {
            (Ok(offset), Ok(len)) => list.push(Segment { offset, len }),
            _ => list.fail(SparseError::Malformed),
        }
    }
}
