//! The uncompressed bytes of a layer, whatever it was compressed with.
//!
//! What a blob is, is told by its first bytes, never by its media type alone: media types lie.

mod gzip;
mod zstd;
pub mod toc;

use std::io::{self, BufRead, BufReader, Read};

use crate::model::media_type::Compression;

/// Bytes read from the medium, and given out, at a time.
pub const BUFFER: usize = 256 * 1024;

/// Tells the compression by the first bytes: gzip, a zstd frame, a skippable zstd frame, else a plain tar.
#[must_use]
pub fn sniff(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// A reader of the uncompressed bytes.
///
/// It reports its end only after the compressed input has ended: every byte of the blob has been read by then.
pub struct Decompressor<'a> {
    compression: Compression,
    inner: Box<dyn Read + Send + 'a>,
}

impl<'a> Decompressor<'a> {
    /// Looks at the first bytes of `blob` and decompresses accordingly.
    ///
    /// # Errors
    /// What reading the first bytes gives.
    pub fn new(mut blob: impl Read + Send + 'a) -> io::Result<Self> {
        let start = first_bytes(&mut blob)?;
        let compression = sniff(&start);
        let blob = BufReader::with_capacity(BUFFER, io::Cursor::new(start).chain(blob));
        let inner: Box<dyn Read + Send + 'a> = match compression {
            Compression::None => Box::new(blob),
            Compression::Gzip => Box::new(gzip::Members::new(blob)),
            Compression::Zstd => Box::new(zstd::Frames::new(blob)?),
        };
        Ok(Self { compression, inner })
    }

    /// Returns what the blob is compressed with.
    #[must_use]
    pub const fn compression(&self) -> Compression {
        self.compression
    }
}

impl std::fmt::Debug for Decompressor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompressor").field("compression", &self.compression).finish_non_exhaustive()
    }
}

impl Read for Decompressor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

/// Reads as many bytes as [`sniff`] looks at, however few a medium hands out at a time.
fn first_bytes(blob: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(4);
    blob.take(4).read_to_end(&mut start)?;
    Ok(start)
}

/// The input of a decoder, as the decoders need it: buffered, and with a look at what comes.
trait Input: BufRead {
    /// Skips zero bytes; tells whether the input ended.
    fn skip_zeros(&mut self) -> io::Result<bool> {
        loop {
            let buffer = self.fill_buf()?;
            if buffer.is_empty() {
                return Ok(true);
            }
            let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
            let all = zeros == buffer.len();
            self.consume(zeros);
            if !all {
                return Ok(false);
            }
        }
    }
}

impl<R: BufRead> Input for R {}

#[cfg(test)]
mod tests;
