//! The original bytes of a stream.

use std::io::{self, Read, Write};

use super::{Chunk, SplitStream, SplitstreamError};
use crate::{digest::ObjectId, read_at::ReadAt};

/// How much of an object is copied at once.
const COPY_SIZE: usize = 128 << 10;

/// Why the original bytes did not come out; `E` is what the object lookup fails with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError<E> {
    /// The splitstream is wrong.
    #[error("splitstream")]
    Stream(#[from] SplitstreamError),
    /// An object could not be opened.
    #[error("open object {id}")]
    Open {
        /// The object.
        id: ObjectId,
        /// Why.
        source: E,
    },
    /// An object could not be read.
    #[error("read object {id}")]
    Read {
        /// The object.
        id: ObjectId,
        /// Why.
        source: io::Error,
    },
    /// The output took no more.
    #[error("write")]
    Write(#[source] io::Error),
}

/// What came out of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// How many bytes were written.
    pub size: u64,
    /// How many the file says there are, if it does.
    pub stated: Option<u64>,
}

impl Replayed {
    /// Says whether the size in the file is right; readers before us never looked.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.stated.is_none_or(|stated| stated == self.size)
    }
}

/// Writes the original bytes of `stream` to `output`; `open` gives the contents of an object.
///
/// Holds one piece at a time. Whoever needs to know that the bytes are right hashes them on the way, or opens
/// objects that are verified.
///
/// # Errors
/// As [`ReplayError`] says; part of the output is written then.
pub fn replay<R, O, E>(
    stream: &SplitStream<R>,
    open: &mut dyn FnMut(&ObjectId) -> Result<O, E>,
    output: &mut dyn Write,
) -> Result<Replayed, ReplayError<E>>
where
    R: ReadAt,
    O: Read,
{
    let mut size = 0_u64;
    let mut buffer = Vec::new();
    let mut chunks = stream.chunks()?;
    while let Some(chunk) = chunks.next_chunk()? {
        match chunk {
            Chunk::Inline(bytes) => {
                output.write_all(bytes).map_err(ReplayError::Write)?;
                size = size.saturating_add(bytes.len() as u64);
            }
            Chunk::External(id) => {
                let mut object = open(&id).map_err(|source| ReplayError::Open { id, source })?;
                buffer.resize(COPY_SIZE, 0);
                loop {
                    let read = match object.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(read) => read,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(source) => return Err(ReplayError::Read { id, source }),
                    };
                    output.write_all(buffer.get(..read).unwrap_or_default()).map_err(ReplayError::Write)?;
                    size = size.saturating_add(read as u64);
                }
            }
        }
    }
    Ok(Replayed { size, stated: stream.stream_size() })
}
