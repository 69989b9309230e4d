//! Names of the streams and images that a stream refers to.
//!
//! # Format
//! `docs/formats/splitstream.md`, section 1, "named_refs": records `INDEX:NAME\0`, compressed.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use super::{IdList, Limits, NamedRefFault, Section, SplitstreamError, section::SectionReader};
use crate::{digest::ObjectId, read_at::ReadAt};

/// The most digits of an index, a plus sign included: what a u64 takes.
const INDEX_DIGITS: usize = 21;

/// Named refs, sorted by name in byte order, each name once.
///
/// All names are in one string: 16 bytes beside each name.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct NamedRefs {
    names: String,
    records: Vec<Record>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Record {
    start: u32,
    length: u32,
    index: u32,
}

impl NamedRefs {
    /// Returns the names with their indexes into the stream refs.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, usize)> {
        self.records.iter().map(|record| (self.name(record), record.index as usize))
    }

    /// Returns the index a name stands for.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let at = self.records.binary_search_by(|record| self.name(record).cmp(name)).ok()?;
        self.records.get(at).map(|record| record.index as usize)
    }

    fn name(&self, record: &Record) -> &str {
        let start = record.start as usize;
        self.names.get(start..start.saturating_add(record.length as usize)).unwrap_or_default()
    }

    pub(super) fn parse<R: ReadAt>(
        mut reader: SectionReader<R>,
        stream_refs: &IdList,
        limits: &Limits,
    ) -> Result<Self, SplitstreamError> {
        let mut refs = Self::default();
        let mut record = Vec::new();
        let longest = limits.name_bytes.saturating_add(INDEX_DIGITS).saturating_add(1);
        loop {
            let bytes = reader.take(usize::MAX)?;
            if bytes.is_empty() {
                break;
            }
            for piece in bytes.split_inclusive(|&byte| byte == 0) {
                let (text, ended) = match piece.split_last() {
                    Some((0, text)) => (text, true),
                    _ => (piece, false),
                };
                if record.len().saturating_add(text.len()) > longest {
                    return Err(refs.fault(NamedRefFault::TooLong));
                }
                record.extend_from_slice(text);
                if ended {
                    refs.push(&record, stream_refs.len(), limits)?;
                    record.clear();
                }
            }
        }
        if !record.is_empty() {
            return Err(refs.fault(NamedRefFault::Unterminated));
        }
        refs.sort();
        Ok(refs)
    }

    fn push(&mut self, record: &[u8], count: usize, limits: &Limits) -> Result<(), SplitstreamError> {
        let colon = record.iter().position(|&byte| byte == b':');
        let (index, name) = colon
            .and_then(|at| record.split_at_checked(at))
            .ok_or_else(|| self.fault(NamedRefFault::NoColon))?;
        let name = name.get(1..).unwrap_or_default();
        let index = std::str::from_utf8(index)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or_else(|| self.fault(NamedRefFault::Index))?;
        let index = u32::try_from(index)
            .ok()
            .filter(|&index| (index as usize) < count)
            .ok_or_else(|| self.fault(NamedRefFault::OutOfRange))?;
        if name.len() > limits.name_bytes {
            return Err(self.fault(NamedRefFault::TooLong));
        }
        let name = std::str::from_utf8(name).map_err(|_| self.fault(NamedRefFault::Utf8))?;
        if self.records.len() as u64 >= limits.named_refs {
            return Err(SplitstreamError::TooLarge { section: Section::NamedRefs, limit: limits.named_refs });
        }
        let (Ok(start), Ok(length)) = (u32::try_from(self.names.len()), u32::try_from(name.len())) else {
            return Err(SplitstreamError::TooLarge {
                section: Section::NamedRefs,
                limit: u64::from(u32::MAX),
            });
        };
        self.names.push_str(name);
        self.records.push(Record { start, length, index });
        Ok(())
    }

    /// Sorts by name; of records with one name the last stays.
    fn sort(&mut self) {
        let mut records = std::mem::take(&mut self.records);
        // The sort is stable: the latest record of a name comes first, and is the one dedup keeps.
        records.reverse();
        records.sort_by(|a, b| self.name(a).cmp(self.name(b)));
        records.dedup_by(|later, kept| self.name(later) == self.name(kept));
        self.records = records;
    }

    fn fault(&self, fault: NamedRefFault) -> SplitstreamError {
        SplitstreamError::NamedRef { record: self.records.len() as u64, fault }
    }
}

impl fmt::Debug for NamedRefs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The named refs of one stream with the ids they stand for.
pub(super) fn resolved<'a>(
    refs: &'a NamedRefs,
    ids: &'a IdList,
) -> impl Iterator<Item = (&'a str, ObjectId)> {
    refs.iter().filter_map(|(name, index)| Some((name, ids.get(index)?)))
}
