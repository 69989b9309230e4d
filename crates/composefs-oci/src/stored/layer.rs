//! The bytes of a stored stream, such as the exact tar of a layer, to be read.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
};

use composefs::{
    digest::ObjectId,
    repo::Repository,
    splitstream::{Chunk, IntoChunks, SplitStream, SplitstreamError},
};

use crate::{error::Error, transport::FileTaker};

/// The original bytes of a layer's stream, piece by piece.
///
/// In an insecure repository nothing has checked them: whoever needs them right compares their digest.
pub struct LayerReader<'a> {
    repo: &'a Repository,
    chunks: IntoChunks<File>,
    current: Current,
    taker: Option<&'a dyn FileTaker>,
    offset: u64,
}

enum Current {
    Inline { bytes: Vec<u8>, taken: usize },
    Object { id: ObjectId, file: File },
}

impl fmt::Debug for LayerReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerReader").field("offset", &self.offset).finish_non_exhaustive()
    }
}

/// Returns how many bytes a stream has: what it says, or what is counted where it is 0.3's, which does not say.
///
/// # Errors
/// What opening and reading the stream give.
pub(crate) fn size(repo: &Repository, id: &ObjectId) -> Result<u64, Error> {
    let stream = repo.open_stream(id)?;
    match stream.stream_size() {
        Some(size) => Ok(size),
        None => Ok(repo.replay_stream(id, &stream, &mut io::sink())?.size),
    }
}

impl<'a> LayerReader<'a> {
    /// Opens the stream of a layer, or of whatever else is one.
    ///
    /// # Errors
    /// What opening the stream gives.
    pub fn open(repo: &'a Repository, stream: &ObjectId) -> Result<Self, Error> {
        let opened = repo.open_stream(stream)?;
        let wrap = |source| composefs::Error::Stream { id: *stream, source: Box::new(source) }.into();
        Self::of(repo, opened).map_err(wrap)
    }

    /// Reads a stream that is open.
    pub(crate) fn of(repo: &'a Repository, stream: SplitStream<File>) -> Result<Self, SplitstreamError> {
        let chunks = stream.into_chunks()?;
        let current = Current::Inline { bytes: Vec::new(), taken: 0 };
        Ok(Self { repo, chunks, current, taker: None, offset: 0 })
    }

    /// Offers the objects that the bytes come from to somebody who may take them whole.
    #[must_use]
    pub fn offered_to(mut self, taker: Option<&'a dyn FileTaker>) -> Self {
        self.taker = taker;
        self
    }

    /// Goes on to the next part; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        match self.chunks.next_chunk().map_err(io::Error::other)? {
            None => return Ok(false),
            Some(Chunk::Inline(piece)) => {
                let mut bytes = match &mut self.current {
                    Current::Inline { bytes, .. } => std::mem::take(bytes),
                    Current::Object { .. } => Vec::new(),
                };
                bytes.clear();
                bytes.extend_from_slice(piece);
                self.current = Current::Inline { bytes, taken: 0 };
            }
            Some(Chunk::External(id)) => {
                let fd = self.repo.open_object(&id).map_err(io::Error::other)?;
                let mut file = File::from(fd);
                if let Some(taker) = self.taker {
                    let size = self.repo.object_size(&id).map_err(io::Error::other)?;
                    if let Some(taken) = taker.take(std::os::fd::AsFd::as_fd(&file), self.offset, size)? {
                        file = taken;
                    }
                }
                self.current = Current::Object { id, file };
            }
        }
        Ok(true)
    }
}

impl Read for LayerReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let got = match &mut self.current {
                Current::Inline { bytes, taken } => {
                    let rest = bytes.get(*taken..).unwrap_or_default();
                    let count = rest.len().min(buffer.len());
                    if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
                        to.copy_from_slice(from);
                    }
                    *taken = taken.saturating_add(count);
                    count
                }
                Current::Object { id, file } => file
                    .read(buffer)
                    .map_err(|error| io::Error::new(error.kind(), format!("read object {id}: {error}")))?,
            };
            if got > 0 {
                self.offset = self.offset.saturating_add(got as u64);
                return Ok(got);
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}
