//! zstd as splitstreams are written: one frame, streaming, size unknown.
//!
//! Which bytes come out depends on the level and on libzstd alone, not on how the input is cut.
//!
//! # Format
//! `docs/formats/splitstream.md`, section 1, "Compression".

use zstd::stream::raw::{Encoder, Operation as _, OutBuffer};

use super::SplitstreamError;

/// How much room is made for output before each call.
const STEP: usize = 32 << 10;

/// A frame being written.
pub(super) struct Compressor {
    encoder: Encoder<'static>,
    /// Compressed bytes nobody has taken yet.
    output: Vec<u8>,
    /// Compressed bytes that were taken.
    taken: u64,
}

impl Compressor {
    pub(super) fn new(level: i32) -> Result<Self, SplitstreamError> {
        let encoder = Encoder::new(level).map_err(SplitstreamError::Compress)?;
        Ok(Self { encoder, output: Vec::new(), taken: 0 })
    }

    /// Compresses `bytes`; best given in pieces of 64 KiB and more.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), SplitstreamError> {
        // Nothing is not a push: a frame that never saw data states its size 0, another does not.
        while !bytes.is_empty() {
            let start = self.output.len();
            self.output.resize(start + STEP, 0);
            let room = self.output.get_mut(start..).unwrap_or_default();
            let status = self.encoder.run_on_buffers(bytes, room).map_err(SplitstreamError::Compress)?;
            self.output.truncate(start + status.bytes_written);
            bytes = bytes.get(status.bytes_read..).unwrap_or_default();
        }
        Ok(())
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        self.taken += self.output.len() as u64;
        std::mem::take(&mut self.output)
    }

    pub(super) fn pending(&self) -> usize {
        self.output.len()
    }

    /// Ends the frame; returns what was not taken, and how many bytes were.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, u64), SplitstreamError> {
        loop {
            self.output.reserve(STEP);
            let start = self.output.len();
            let mut room = OutBuffer::around_pos(&mut self.output, start);
            if self.encoder.finish(&mut room, true).map_err(SplitstreamError::Compress)? == 0 {
                break;
            }
        }
        Ok((self.output, self.taken))
    }
}
