//! The state machine: pieces of an archive in, [`Event`]s out.
//!
//! It copies header blocks that a split cuts in two, contents of at most 64 bytes and what extension headers say;
//! everything else passes through as a sub-slice of the input.
//!
//! # Format
//! `docs/formats/splitstream.md` section 3, `docs/formats/tree.md` section 4.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::entry::Extensions;
use crate::error::Error;
use crate::event::{Event, INLINE_MAX, Member};
use crate::gnu;
use crate::header::{BLOCK_SIZE, Block, Format, Header, NumberError, padding};
use crate::limits::{Mode, Options};
use crate::pax::{Records, extend_up_to};
use crate::sparse::{MapLines, SegmentList, SparseError, split_front};

const BLOCK: u64 = BLOCK_SIZE as u64;

/// Reads an archive that is pushed in pieces.
///
/// Reading back from a splitstream works the same way: push the inline chunks, and call
/// [`skip_external`](Self::skip_external) for each object.
#[derive(Debug)]
pub struct Parser {
    options: Options,
    /// Bytes read, skipped objects included.
    offset: u64,
    phase: Phase,
    block: Block,
    filled: usize,
    /// The last block was one of zeros.
    zeros: bool,
    extensions: Extensions,
    headers: u32,
    extension_bytes: u64,
    /// Where the member's first header begins; set by its first extension header.
    start: Option<u64>,
    /// Where the last extension header begins.
    extension_start: u64,
    records: Option<Box<Records>>,
    member: Option<Member>,
    sparse: Option<Box<Sparse>>,
    contents: Vec<u8>,
    /// Name of the last member, for errors.
    path: Vec<u8>,
    failed: Option<Error>,
}

/// What the next byte is.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Of a header block, or of one of zeros.
    Header,
    /// Of something inline that nobody looks at: padding, or a global header's data.
    Skip { left: u64 },
    /// Of an extension header's data.
    Extension { kind: Extension, data: u64, padding: u64 },
    /// Of a block with slots of a sparse map.
    SparseSlots,
    /// Of a block with lines of a sparse map; that much of the member follows.
    SparseLines { left: u64 },
    /// Of a member's inline data.
    Body { data: u64, padding: u64 },
    /// Of an object that was not announced yet.
    Begin { size: u64 },
    /// Of an object.
    Content { left: u64, size: u64 },
    /// Behind the end marks.
    Trailer,
}

#[derive(Debug, Clone, Copy)]
enum Extension {
    Name,
    Link,
    Pax,
}

/// A sparse member whose map is being read.
#[derive(Debug)]
struct Sparse {
    list: SegmentList,
    lines: MapLines,
    size: Option<u64>,
}

impl Parser {
    /// Makes a parser at the start of an archive.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            offset: 0,
            phase: Phase::Header,
            block: [0; BLOCK_SIZE],
            filled: 0,
            zeros: false,
            extensions: Extensions::default(),
            headers: 0,
            extension_bytes: 0,
            start: None,
            extension_start: 0,
            records: None,
            member: None,
            sparse: None,
            contents: Vec::new(),
            path: Vec::new(),
            failed: None,
        }
    }

    /// Bytes of the archive read so far, skipped objects included.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads on, taking what it uses off the front of `input`. `None` means that `input` is empty and
    /// everything in it was told: push more, or [`finish`](Self::finish).
    ///
    /// # Errors
    /// An archive that cannot be read; the parser then repeats that error for ever.
    pub fn parse<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.step(input);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// The size of the object that stands next in the archive, after [`Event::Begin`] and before any of its
    /// bytes.
    pub fn external_size(&self) -> Option<u64> {
        match self.phase {
            Phase::Content { left, size } if left == size && self.failed.is_none() => Some(size),
            _ => None,
        }
    }

    /// Goes past the contents of the member that [`Event::Begin`] announced, as one object instead of pushed
    /// bytes; [`Event::End`] follows.
    ///
    /// # Errors
    /// [`Error::External`] anywhere else, or for an object of another size.
    pub fn skip_external(&mut self, size: u64) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let expected = self.external_size();
        if expected != Some(size) {
            let error = Error::External { offset: self.offset, size, expected };
            self.failed = Some(error.clone());
            return Err(error);
        }
        self.offset = self.offset.saturating_add(size);
        self.phase = Phase::Content { left: 0, size };
        Ok(())
    }

    /// Checks that the archive may end here. End marks are not needed, whole members are.
    ///
    /// # Errors
    /// [`Error::Cut`] inside a header or member, [`Error::NoMember`] after extension headers, or what
    /// [`parse`](Self::parse) failed with.
    pub fn finish(&self) -> Result<(), Error> {
        match (&self.failed, self.phase) {
            (Some(error), _) => Err(error.clone()),
            (None, Phase::Trailer) => Ok(()),
            (None, Phase::Header) if self.filled == 0 => self.no_extensions(self.offset),
            _ => Err(Error::Cut { offset: self.offset, path: self.path.clone() }),
        }
    }

    fn step<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Event<'i>>, Error> {
        loop {
            match self.phase {
                Phase::Header => return self.block(input, Self::header),
                Phase::SparseSlots => return self.block(input, Self::sparse_slots),
                Phase::SparseLines { left } if left >= BLOCK => return self.block(input, Self::sparse_lines),
                Phase::SparseLines { left } => self.sparse_data(left, Some(SparseError::Malformed)),
                Phase::Skip { left: 0 } => self.phase = Phase::Header,
                Phase::Skip { left } => {
                    let Some(piece) = self.take(input, left) else { return Ok(None) };
                    self.phase = Phase::Skip { left: left.saturating_sub(piece.len() as u64) };
                    return Ok(Some(Event::Inline(piece)));
                }
                Phase::Extension { kind, data: 0, padding: 0 } => self.end_extension(kind)?,
                Phase::Extension { kind, data, padding } => {
                    let Some((piece, used)) = self.take_padded(input, data, padding) else { return Ok(None) };
                    self.extension_data(kind, used)?;
                    let (data, padding) = remaining(data, padding, piece, used);
                    self.phase = Phase::Extension { kind, data, padding };
                    return Ok(Some(Event::Inline(piece)));
                }
                Phase::Body { data: 0, padding: 0 } => {
                    self.phase = Phase::Header;
                    if let Some(member) = self.end_body() {
                        return Ok(Some(Event::Member(member)));
                    }
                }
                Phase::Body { data, padding } => {
                    let Some((piece, used)) = self.take_padded(input, data, padding) else { return Ok(None) };
                    // Only what may be a small file's contents is kept.
                    if data.saturating_add(self.contents.len() as u64) <= INLINE_MAX {
                        self.contents.extend_from_slice(used);
                    }
                    let (data, padding) = remaining(data, padding, piece, used);
                    self.phase = Phase::Body { data, padding };
                    return Ok(Some(Event::Inline(piece)));
                }
                Phase::Begin { size } => {
                    self.phase = Phase::Content { left: size, size };
                    if let Some(member) = self.member.take() {
                        return Ok(Some(Event::Begin(member)));
                    }
                }
                Phase::Content { left: 0, size } => {
                    self.phase = Phase::Skip { left: padding(size) };
                    return Ok(Some(Event::End));
                }
                Phase::Content { left, size } => {
                    let Some(piece) = self.take(input, left) else { return Ok(None) };
                    self.phase = Phase::Content { left: left.saturating_sub(piece.len() as u64), size };
                    return Ok(Some(Event::Content(piece)));
                }
                Phase::Trailer => return Ok(self.take(input, u64::MAX).map(Event::Inline)),
            }
        }
    }

    fn take<'i>(&mut self, input: &mut &'i [u8], most: u64) -> Option<&'i [u8]> {
        let piece = split_front(input, most);
        self.offset = self.offset.saturating_add(piece.len() as u64);
        (!piece.is_empty()).then_some(piece)
    }

    /// Takes data together with their padding; the second slice is the data alone.
    fn take_padded<'i>(
        &mut self,
        input: &mut &'i [u8],
        data: u64,
        padding: u64,
    ) -> Option<(&'i [u8], &'i [u8])> {
        let piece = self.take(input, data.saturating_add(padding))?;
        Some((piece, split_front(&mut &*piece, data)))
    }

    /// Takes a block, or what there is of it, and judges it when it is whole.
    fn block<'i>(
        &mut self,
        input: &mut &'i [u8],
        judge: fn(&mut Self, &Block) -> Result<(), Error>,
    ) -> Result<Option<Event<'i>>, Error> {
        if self.filled == 0
            && let Some((block, rest)) = input.split_first_chunk()
        {
            *input = rest;
            self.offset = self.offset.saturating_add(BLOCK);
            judge(self, block)?;
            return Ok(Some(Event::Inline(block)));
        }
        let Some(piece) = self.take(input, BLOCK_SIZE.saturating_sub(self.filled) as u64) else {
            return Ok(None);
        };
        for (to, from) in self.block.iter_mut().skip(self.filled).zip(piece) {
            *to = *from;
        }
        self.filled = self.filled.saturating_add(piece.len());
        if self.filled == BLOCK_SIZE {
            self.filled = 0;
            let block = self.block;
            judge(self, &block)?;
        }
        Ok(Some(Event::Inline(piece)))
    }

    fn header(&mut self, block: &Block) -> Result<(), Error> {
        let offset = self.offset.saturating_sub(BLOCK);
        if block.first() == Some(&0) && block.iter().all(|&byte| byte == 0) {
            if self.zeros {
                self.no_extensions(offset)?;
                self.phase = Phase::Trailer;
            }
            self.zeros = true;
            return Ok(());
        }
        self.zeros = false;
        let header = Header(block);
        let (claimed, actual) = header.checksums();
        if claimed != Some(actual) {
            return Err(Error::Checksum { offset, claimed, actual });
        }
        let named = header.format() != Format::V7;
        match header.type_flag() {
            b'g' => {
                let size = self.own_size(header, offset)?;
                self.phase = Phase::Skip { left: size.saturating_add(padding(size)) };
                Ok(())
            }
            b'x' if named => self.begin_extension(header, offset, Extension::Pax),
            b'L' if named => self.begin_extension(header, offset, Extension::Name),
            b'K' if named => self.begin_extension(header, offset, Extension::Link),
            _ => self.begin_member(header, offset),
        }
    }

    fn own_size(&self, header: Header<'_>, offset: u64) -> Result<u64, Error> {
        let size = header.size().and_then(fits);
        size.map_err(|source| Error::Size { offset, path: header.path(), source })
    }

    fn no_extensions(&self, offset: u64) -> Result<(), Error> {
        if self.headers == 0 { Ok(()) } else { Err(Error::NoMember { offset }) }
    }

    fn begin_extension(&mut self, header: Header<'_>, offset: u64, kind: Extension) -> Result<(), Error> {
        let size = self.own_size(header, offset)?;
        let (bytes, headers) = (self.options.extension_bytes(), self.options.limits.extension_headers);
        self.headers = self.headers.saturating_add(1);
        if self.headers > headers {
            return Err(Error::ExtensionHeaders { offset, limit: headers });
        }
        self.extension_bytes = self.extension_bytes.saturating_add(size);
        if self.extension_bytes > bytes {
            return Err(Error::ExtensionBytes { offset, limit: bytes });
        }
        self.start.get_or_insert(offset);
        self.extension_start = offset;
        // Of two for one member the last counts, and nothing of the first.
        let duplicate = match kind {
            Extension::Name => self.extensions.long_name.replace(Vec::new()).is_some(),
            Extension::Link => self.extensions.long_link.replace(Vec::new()).is_some(),
            Extension::Pax => {
                self.records = Some(Box::new(Records::new(self.options.limits)));
                self.extensions.pax.take().is_some()
            }
        };
        if duplicate && self.options.mode == Mode::Strict {
            return Err(Error::DuplicateExtension { offset, type_flag: header.type_flag() });
        }
        self.phase = Phase::Extension { kind, data: size, padding: padding(size) };
        Ok(())
    }

    fn extension_data(&mut self, kind: Extension, data: &[u8]) -> Result<(), Error> {
        match (kind, &mut self.extensions, &mut self.records) {
            (Extension::Name, Extensions { long_name: Some(name), .. }, _)
            | (Extension::Link, Extensions { long_link: Some(name), .. }, _) => {
                self.extensions.cut |= !extend_up_to(name, data, self.options.limits.name_bytes);
            }
            (Extension::Pax, _, Some(records)) => {
                records.push(data).map_err(|source| Error::Pax { offset: self.extension_start, source })?;
            }
            _ => {}
        }
        Ok(())
    }

    fn end_extension(&mut self, kind: Extension) -> Result<(), Error> {
        match kind {
            Extension::Name => self.extensions.long_name.iter_mut().for_each(gnu::trim_long_name),
            Extension::Link => self.extensions.long_link.iter_mut().for_each(gnu::trim_long_name),
            Extension::Pax => {
                let pax = self.records.take().map(|records| records.finish()).transpose();
                let pax = pax.map_err(|source| Error::Pax { offset: self.extension_start, source })?;
                self.extensions.pax = pax.map(Box::new);
            }
        }
        self.phase = Phase::Header;
        Ok(())
    }
}

/// Sizes that leave room for padding and for offsets of files.
fn fits(size: u64) -> Result<u64, NumberError> {
    if i64::try_from(size).is_ok() { Ok(size) } else { Err(NumberError::TooLarge) }
}

fn remaining(data: u64, padding: u64, piece: &[u8], used: &[u8]) -> (u64, u64) {
    let filler = piece.len().saturating_sub(used.len()) as u64;
    (data.saturating_sub(used.len() as u64), padding.saturating_sub(filler))
}

mod member;
#[cfg(test)]
mod tests;
