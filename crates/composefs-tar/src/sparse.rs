//! Sparse members: which parts of a file are stored, and how to get the file back.
//!
//! # Format
//! `docs/formats/splitstream.md` section 4.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use thiserror::Error;

use crate::header::decimal;

/// A stored part of a sparse file; what lies between parts is zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Segment {
    /// Where in the file the part begins, in bytes.
    pub offset: u64,
    /// How many bytes it has; never zero in a [`SparseMap`].
    pub len: u64,
}

/// Why a sparse member cannot be expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SparseError {
    /// The map has something else than numbers, or an odd number of them, or ends early.
    #[error("malformed sparse map")]
    Malformed,
    /// Segments overlap, go backwards or lie outside the file.
    #[error("segments of the sparse map overlap or leave the file")]
    Order,
    /// The stored data are not as long as the segments together.
    #[error("sparse map describes {described} stored bytes, the member has {stored}")]
    StoredSize {
        /// Sum of the segments.
        described: u64,
        /// Bytes in the archive.
        stored: u64,
    },
    /// Nothing says how large the file is.
    #[error("sparse member without its real size")]
    NoSize,
    /// The file would be larger than [`Limits::sparse_size`](crate::Limits::sparse_size).
    #[error("sparse file of {size} bytes")]
    TooLarge {
        /// The size of the expanded file.
        size: u64,
    },
    /// More segments than [`Limits::sparse_segments`](crate::Limits::sparse_segments).
    #[error("too many segments in the sparse map")]
    TooManySegments,
    /// A PAX sparse format nobody has defined.
    #[error("unknown sparse format {major}.{minor}")]
    Version {
        /// `GNU.sparse.major`
        major: u64,
        /// `GNU.sparse.minor`
        minor: u64,
    },
}

/// Where the stored data of a sparse member belong in the file it stands for.
///
/// Segments are ascending, do not touch, are not empty and lie within the file; the stored data are their bytes
/// one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparseMap {
    size: u64,
    segments: Vec<Segment>,
    stored: Option<Vec<u8>>,
}

impl SparseMap {
    /// Makes the map of a file of `size` bytes; empty segments vanish, touching ones become one.
    ///
    /// # Errors
    /// [`SparseError::Order`] when segments overlap, go backwards or leave the file.
    pub fn new(size: u64, segments: impl IntoIterator<Item = Segment>) -> Result<Self, SparseError> {
        let mut list = SegmentList::new(usize::MAX);
        for segment in segments {
            list.push(segment);
        }
        let stored = list.stored;
        list.finish(size, stored)
    }

    /// Size of the expanded file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The stored parts in file order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Bytes the archive has of the file.
    pub fn stored_size(&self) -> u64 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.len))
    }

    /// The stored data, if they are too few to be an object and went inline.
    pub fn inline_data(&self) -> Option<&[u8]> {
        self.stored.as_deref()
    }

    /// Whether the stored data are the file, without a hole.
    pub fn is_whole(&self) -> bool {
        self.stored_size() == self.size
    }

    /// Starts expanding the stored data into the file.
    pub fn into_expander(self) -> Expander {
        Expander { segments: self.segments.into_iter(), size: self.size, position: 0 }
    }

    pub(crate) fn set_inline_data(&mut self, data: Vec<u8>) {
        self.stored = Some(data);
    }
}

/// A part of the expanded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'i> {
    /// That many zero bytes.
    Hole(u64),
    /// Stored bytes.
    Data(&'i [u8]),
}

/// Expands the stored data of a sparse member, pushed in any split, into pieces of the file in order.
#[derive(Debug, Clone)]
pub struct Expander {
    segments: std::vec::IntoIter<Segment>,
    size: u64,
    position: u64,
}

impl Expander {
    /// Returns the next piece of the file; `None` when more stored data are needed or the file is complete.
    pub fn next<'i>(&mut self, stored: &mut &'i [u8]) -> Option<Piece<'i>> {
        let next = self.segments.as_slice().first().copied();
        let start = next.map_or(self.size, |segment| segment.offset);
        if self.position < start {
            let hole = start.saturating_sub(self.position);
            self.position = start;
            return Some(Piece::Hole(hole));
        }
        let segment = next?;
        let end = segment.offset.saturating_add(segment.len);
        let piece = split_front(stored, end.saturating_sub(self.position));
        if piece.is_empty() {
            return None;
        }
        self.position = self.position.saturating_add(piece.len() as u64);
        if self.position == end {
            self.segments.next();
        }
        Some(Piece::Data(piece))
    }

    /// Whether the whole file has been given out.
    pub fn is_done(&self) -> bool {
        self.segments.as_slice().is_empty() && self.position == self.size
    }
}

/// Takes up to `most` bytes off the front of `input`.
pub(crate) fn split_front<'i>(input: &mut &'i [u8], most: u64) -> &'i [u8] {
    let len = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
    let (front, rest) = input.split_at_checked(len).unwrap_or((input, &[]));
    *input = rest;
    front
}

/// Collects the segments of a map as its forms list them, bounded; the first fault is kept for the end.
#[derive(Debug, Clone)]
pub(crate) struct SegmentList {
    segments: Vec<Segment>,
    most: usize,
    end: u64,
    stored: u64,
    fault: Option<SparseError>,
}

impl SegmentList {
    pub(crate) fn new(most: usize) -> Self {
        Self { segments: Vec::new(), most, end: 0, stored: 0, fault: None }
    }

    pub(crate) fn fail(&mut self, fault: SparseError) {
        self.fault.get_or_insert(fault);
    }

    pub(crate) fn fault(&self) -> Option<SparseError> {
        self.fault
    }

    pub(crate) fn push(&mut self, segment: Segment) {
        // Writers close a map with an empty segment at the end of the file, and GNU headers have unused slots.
        if segment.len == 0 || self.fault.is_some() {
            return;
        }
        let Some(end) = segment.offset.checked_add(segment.len).filter(|_| segment.offset >= self.end) else {
            return self.fail(SparseError::Order);
        };
        let count = self.segments.len();
        match self.segments.last_mut() {
            Some(last) if segment.offset == self.end => last.len = last.len.saturating_add(segment.len),
            _ if count >= self.most => return self.fail(SparseError::TooManySegments),
            _ => self.segments.push(segment),
        }
        self.end = end;
        self.stored = self.stored.saturating_add(segment.len);
    }

    /// Pushes the pairs of a PAX 0.1 map, `offset,len,offset,len`.
    pub(crate) fn push_text(&mut self, map: &[u8]) {
        let mut numbers = map.split(|&b| b == b',').map(decimal);
        while let Some(offset) = numbers.next() {
            match (offset, numbers.next()) {
                (Ok(offset), Some(Ok(len))) => self.push(Segment { offset, len }),
                _ => return self.fail(SparseError::Malformed),
            }
        }
    }

    /// Closes the map of a file of `size` bytes of which the archive has `stored`.
    pub(crate) fn finish(self, size: u64, stored: u64) -> Result<SparseMap, SparseError> {
        match self.fault {
            Some(fault) => Err(fault),
            None if self.end > size => Err(SparseError::Order),
            None if self.stored != stored => Err(SparseError::StoredSize { described: self.stored, stored }),
            None => Ok(SparseMap { size, segments: self.segments, stored: None }),
        }
    }
}

/// The map of a PAX 1.0 member, decimal lines in front of its data: a count, then offset and length of each.
#[derive(Debug, Clone, Default)]
pub(crate) struct MapLines {
    number: Option<u64>,
    digits: u8,
    /// Segments still to come; `None` before the count was read.
    left: Option<u64>,
    offset: Option<u64>,
}

impl MapLines {
    /// Reads one block of the map; true when the map is complete (the rest of its block is padding).
    pub(crate) fn push(&mut self, block: &[u8], list: &mut SegmentList) -> Result<bool, SparseError> {
        for &byte in block {
            if byte != b'\n' {
                // No number has more than twenty digits, so the map's length is bounded by its segments.
                self.digits = self.digits.saturating_add(1);
                let digit = match byte {
                    b'0'..=b'9' if self.digits <= 20 => u64::from(byte & 15),
                    _ => return Err(SparseError::Malformed),
                };
                let number = self.number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit));
                self.number = Some(number.ok_or(SparseError::Malformed)?);
                continue;
            }
            self.digits = 0;
            let number = self.number.take().ok_or(SparseError::Malformed)?;
            match (self.left, self.offset.take()) {
                (None, _) => self.left = Some(number),
                (Some(_), None) => self.offset = Some(number),
                (Some(left), Some(offset)) => {
                    list.push(Segment { offset, len: number });
                    self.left = Some(left.saturating_sub(1));
                }
            }
            if let Some(fault) = list.fault() {
                return Err(fault);
            }
            if self.left == Some(0) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(offset: u64, len: u64) -> Segment {
        Segment { offset, len }
    }

    fn expand(map: &SparseMap, stored: &[u8], split: usize) -> Vec<u8> {
        let (mut file, mut expander) = (Vec::new(), map.clone().into_expander());
        for mut chunk in stored.chunks(split).chain([&[][..]]) {
            while let Some(piece) = expander.next(&mut chunk) {
                match piece {
                    Piece::Hole(len) => file.extend(std::iter::repeat_n(0, len as usize)),
                    Piece::Data(data) => file.extend_from_slice(data),
                }
            }
            assert!(chunk.is_empty());
        }
        assert!(expander.is_done());
        file
    }

    #[test]
    fn expands_in_any_split() {
        let map =
            SparseMap::new(20, [segment(2, 3), segment(5, 1), segment(9, 0), segment(10, 4), segment(20, 0)]);
        let map = map.unwrap();
        assert_eq!(map.segments(), [segment(2, 4), segment(10, 4)]);
        assert_eq!(map.stored_size(), 8);
        for split in 1..9 {
            assert_eq!(expand(&map, b"abcdefgh", split), b"\0\0abcd\0\0\0\0efgh\0\0\0\0\0\0");
        }
        assert_eq!(expand(&SparseMap::new(4, []).unwrap(), b"", 1), [0; 4]);
        assert_eq!(expand(&SparseMap::new(2, [segment(0, 2)]).unwrap(), b"ab", 1), b"ab");
    }

    #[test]
    fn refuses_maps_that_overlap_or_leave_the_file() {
        for segments in [
            vec![segment(0, 2), segment(1, 2)],
            vec![segment(4, 2), segment(0, 2)],
            vec![segment(9, 2)],
            vec![segment(u64::MAX, 2)],
        ] {
            assert_eq!(SparseMap::new(10, segments), Err(SparseError::Order));
        }
    }

    #[test]
    fn map_lines_stop_where_the_map_ends() {
        let mut list = SegmentList::new(10);
        let mut lines = MapLines::default();
        assert_eq!(lines.push(b"2\n0\n51", &mut list), Ok(false));
        assert_eq!(lines.push(b"2\n1024\n7\n\0\0garbage", &mut list), Ok(true));
        assert_eq!(list.finish(2000, 519).unwrap().segments(), [segment(0, 512), segment(1024, 7)]);
        assert_eq!(MapLines::default().push(b"0\n", &mut SegmentList::new(1)), Ok(true));
        for bad in [&b"\n"[..], b"1\n\0", b"1\n-1\n", b"000000000000000000001\n", b"99999999999999999999\n"] {
            assert_eq!(MapLines::default().push(bad, &mut SegmentList::new(1)), Err(SparseError::Malformed));
        }
        let many = b"3\n0\n1\n2\n1\n4\n1\n";
        assert_eq!(
            MapLines::default().push(many, &mut SegmentList::new(2)),
            Err(SparseError::TooManySegments)
        );
    }

    #[test]
    fn map_text_is_pairs() {
        let mut list = SegmentList::new(10);
        list.push_text(b"0,5,10,5");
        assert_eq!(list.finish(15, 10).unwrap().segments().len(), 2);
        for bad in [&b""[..], b"1", b"0,5,", b"0,5,7", b"a,b"] {
            let mut list = SegmentList::new(10);
            list.push_text(bad);
            assert_eq!(list.fault(), Some(SparseError::Malformed), "{}", bad.escape_ascii());
        }
    }
}
