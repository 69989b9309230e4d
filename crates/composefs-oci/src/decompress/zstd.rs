//! zstd: any number of frames, skippable ones among them, zeros after the last.
//!
//! The window a frame asks for is bounded by libzstd's own default, 128 MiB.

use std::io::{self, BufRead, Read};

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::Input as _;

/// The contents of all frames, one after the other.
pub(super) struct Frames<R> {
    input: R,
    decoder: Decoder<'static>,
    /// A frame has begun and not ended.
    inside: bool,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(input: R) -> io::Result<Self> {
        Ok(Self { input, decoder: Decoder::new()?, inside: false })
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.input.fill_buf()?;
            if input.is_empty() && !self.inside {
                return Ok(0);
            }
            // Zeros can be padding only where a frame might begin.
            if !self.inside && input.starts_with(&[0]) {
                if self.input.skip_zeros()? {
                    return Ok(0);
                }
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "after the last zstd frame stand bytes that are neither a frame nor zeros",
                ));
            }
            let mut from = InBuffer::around(input);
            let mut to = OutBuffer::around(&mut *buffer);
            let left = self.decoder.run(&mut from, &mut to)?;
            let (read, wrote, ended) = (from.pos(), to.pos(), input.is_empty());
            self.input.consume(read);
            self.inside = left != 0;
            if wrote > 0 {
                return Ok(wrote);
            }
            if ended && self.inside {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the last zstd frame is cut"));
            }
        }
    }
}
