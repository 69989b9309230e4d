//! A compressed section read in pieces.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use zstd::stream::raw::{DParameter, Decoder, Operation as _};

use super::{Section, SplitstreamError, format::Extent};
use crate::read_at::ReadAt;

/// Size of the output buffer, and the most of the input buffer.
pub(super) const BUFFER_SIZE: usize = 64 << 10;
/// log2 of the largest window: what libzstd takes unless told otherwise.
const WINDOW_LOG_MAX: u32 = 27;

/// Decompresses a range of the file: any number of frames, skippable ones among them.
///
/// An empty range is an empty section.
pub(super) struct SectionReader<R> {
    source: R,
    section: Section,
    /// What of the file is not read yet.
    rest: Extent,
    decoder: Decoder<'static>,
    /// Whether the decoder is inside a frame, or holds output back.
    busy: bool,
    input: Buffer,
    output: Buffer,
    /// How many decompressed bytes may still come.
    allowed: u64,
    limit: u64,
}

/// Bytes of which the first `start` are used up and only those before `end` are there.
struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size].into_boxed_slice(), start: 0, end: 0 }
    }

    const fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }
}

impl<R: ReadAt> SectionReader<R> {
    /// Starts reading; `range` must have been checked, `limit` bounds the decompressed bytes.
    pub(super) fn new(
        source: R,
        section: Section,
        range: Extent,
        limit: u64,
    ) -> Result<Self, SplitstreamError> {
        let fail = |source| SplitstreamError::Decompress { section, source };
        let mut decoder = Decoder::new().map_err(fail)?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(fail)?;
        let compressed = range.end.saturating_sub(range.start);
        Ok(Self {
            source,
            section,
            rest: range,
            decoder,
            busy: false,
            // Most names sections have a dozen bytes.
            input: Buffer::new(usize::try_from(compressed).unwrap_or(BUFFER_SIZE).min(BUFFER_SIZE)),
            output: Buffer::new(BUFFER_SIZE),
            allowed: limit,
            limit,
        })
    }

    /// Returns the next bytes, at most `max`, and goes past them; none at the end.
    pub(super) fn take(&mut self, max: usize) -> Result<&[u8], SplitstreamError> {
        if self.output.is_empty() {
            self.fill()?;
        }
        let start = self.output.start;
        let length = self.output.filled().len().min(max);
        self.output.start = start.saturating_add(length);
        Ok(self.output.bytes.get(start..self.output.start).unwrap_or_default())
    }

    /// Fills `to`; returns how many bytes there were.
    pub(super) fn read_full(&mut self, to: &mut [u8]) -> Result<usize, SplitstreamError> {
        let mut filled = 0_usize;
        while let Some(room) = to.get_mut(filled..)
            && !room.is_empty()
        {
            let bytes = self.take(room.len())?;
            if bytes.is_empty() {
                break;
            }
            for (to, from) in room.iter_mut().zip(bytes) {
                *to = *from;
            }
            filled = filled.saturating_add(bytes.len());
        }
        Ok(filled)
    }

    /// Goes past `bytes` bytes; says whether there were that many.
    pub(super) fn skip(&mut self, mut bytes: u64) -> Result<bool, SplitstreamError> {
        while bytes > 0 {
            let now = self.take(usize::try_from(bytes).unwrap_or(usize::MAX))?.len() as u64;
            if now == 0 {
                return Ok(false);
            }
            bytes = bytes.saturating_sub(now);
        }
        Ok(true)
    }

    fn fill(&mut self) -> Result<(), SplitstreamError> {
        loop {
            if self.input.is_empty() {
                self.refill()?;
            }
            let last = self.input.is_empty();
            if last && !self.busy {
                return Ok(());
            }
            let status = self
                .decoder
                .run_on_buffers(self.input.filled(), &mut self.output.bytes)
                .map_err(|source| SplitstreamError::Decompress { section: self.section, source })?;
            self.input.start = self.input.start.saturating_add(status.bytes_read);
            self.busy = status.remaining != 0;
            if status.bytes_written > 0 {
                self.allowed = self
                    .allowed
                    .checked_sub(status.bytes_written as u64)
                    .ok_or(SplitstreamError::TooLarge { section: self.section, limit: self.limit })?;
                (self.output.start, self.output.end) = (0, status.bytes_written);
                return Ok(());
            }
            if last && self.busy {
                return Err(SplitstreamError::Incomplete(self.section));
            }
        }
    }

    fn refill(&mut self) -> Result<(), SplitstreamError> {
        let left = self.rest.end.saturating_sub(self.rest.start);
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.bytes.len());
        if let Some(room) = self.input.bytes.get_mut(..size) {
            self.source
                .read_exact_at(room, self.rest.start)
                .map_err(|source| SplitstreamError::Read { offset: self.rest.start, source })?;
        }
        self.rest.start = self.rest.start.saturating_add(size as u64);
        (self.input.start, self.input.end) = (0, size);
        Ok(())
    }
}
