//! Parts to bytes.
//!
//! # Format
//! `docs/formats/splitstream.md`, sections 1 and 6.

use std::collections::BTreeMap;

use super::{
    ContentType, Limits, NamedRefFault, Section, SplitstreamError,
    compress::Compressor,
    format::{Extent, HEADER_SIZE, Header, INFO_SIZE, Info},
    id_list::IdTable,
};
use crate::digest::{Algorithm, ObjectId};

/// The longest inline chunk that is written, in bytes: 8 MiB.
///
/// A chunk's length stands in front of it, so a whole chunk is held before it is compressed. A longer run
/// becomes several chunks, which every reader takes; only the id differs from one by a writer that holds it
/// all.
pub const MAX_INLINE_RUN: usize = 8 << 20;

/// How many bytes are gathered for one call of the compressor.
const STAGE_SIZE: usize = 128 << 10;
/// How much of the buffer is kept after a long run.
const KEEP_SIZE: usize = 512 << 10;
/// Size of a chunk's header.
const CHUNK_HEADER: usize = 8;

/// Writes a splitstream of the current layout from its parts, in order.
///
/// Compressed bytes of the stream section come out while parts go in ([`Builder::take_output`]); the head of
/// the file is known only at the end. Held are the tables, the open inline run (at most
/// [`MAX_INLINE_RUN`]) and what nobody took.
pub struct Builder {
    algorithm: Algorithm,
    content_type: ContentType,
    level: i32,
    stream_refs: IdTable,
    object_refs: IdTable,
    names: BTreeMap<String, u32>,
    names_bytes: usize,
    /// Chunks not compressed yet, the open one last.
    stage: Vec<u8>,
    /// Where the header of the open inline chunk is in `stage`, to be filled in when the run ends.
    run_at: Option<usize>,
    compressor: Compressor,
    stream_size: u64,
}

impl Builder {
    /// The compression level splitstreams have unless told otherwise; ids depend on it.
    pub const DEFAULT_LEVEL: i32 = 3;

    /// Starts a stream at the default compression level.
    ///
    /// # Errors
    /// [`SplitstreamError::Compress`] if there is no memory for the compressor.
    pub fn new(algorithm: Algorithm, content_type: ContentType) -> Result<Self, SplitstreamError> {
        Self::with_level(algorithm, content_type, Self::DEFAULT_LEVEL)
    }

    /// Starts a stream at zstd level `level`.
    ///
    /// # Errors
    /// [`SplitstreamError::Compress`] if there is no memory for the compressor, or no such level.
    pub fn with_level(
        algorithm: Algorithm,
        content_type: ContentType,
        level: i32,
    ) -> Result<Self, SplitstreamError> {
        Ok(Self {
            algorithm,
            content_type,
            level,
            stream_refs: IdTable::new(algorithm),
            object_refs: IdTable::new(algorithm),
            names: BTreeMap::new(),
            names_bytes: 0,
            stage: Vec::new(),
            run_at: None,
            compressor: Compressor::new(level)?,
            stream_size: 0,
        })
    }

    /// Adds a name for a stream or an image; a name given again gets the new id.
    ///
    /// Ids get their places in the table in the order of first mention, which decides the bytes of the file.
    ///
    /// # Errors
    /// [`SplitstreamError::Name`] if the name has a NUL or more than 4096 bytes, [`SplitstreamError::TooLarge`]
    /// if all names together are more than readers take, [`SplitstreamError::ForeignId`].
    pub fn named_ref(&mut self, name: &str, id: &ObjectId) -> Result<(), SplitstreamError> {
        let limits = Limits::default();
        let fault = |fault| SplitstreamError::Name { name: name.chars().take(64).collect(), fault };
        if name.contains('\0') {
            return Err(fault(NamedRefFault::Nul));
        }
        if name.len() > limits.name_bytes {
            return Err(fault(NamedRefFault::TooLong));
        }
        self.check(id)?;
        // The longest index, colon and NUL.
        self.names_bytes += name.len() + 12;
        if self.names_bytes as u64 > limits.named_refs_bytes || self.names.len() as u64 >= limits.named_refs {
            return Err(SplitstreamError::TooLarge {
                section: Section::NamedRefs,
                limit: limits.named_refs_bytes,
            });
        }
        let index = self.stream_refs.insert(id);
        self.names.insert(name.to_owned(), index);
        Ok(())
    }

    /// Adds an id to the stream refs without a name, which keeps its place in the table.
    ///
    /// # Errors
    /// [`SplitstreamError::ForeignId`].
    pub fn stream_ref(&mut self, id: &ObjectId) -> Result<(), SplitstreamError> {
        self.check(id)?;
        self.stream_refs.insert(id);
        Ok(())
    }

    /// Adds an object that no chunk refers to, so that it lives as long as the stream.
    ///
    /// # Errors
    /// [`SplitstreamError::ForeignId`].
    pub fn object_ref(&mut self, id: &ObjectId) -> Result<(), SplitstreamError> {
        self.check(id)?;
        self.object_refs.insert(id);
        Ok(())
    }

    /// Adds inline bytes; neighbouring ones become one chunk.
    ///
    /// # Errors
    /// [`SplitstreamError::Compress`].
    pub fn inline(&mut self, mut bytes: &[u8]) -> Result<(), SplitstreamError> {
        self.stream_size += bytes.len() as u64;
        while !bytes.is_empty() {
            let at = match self.run_at {
                Some(at) => at,
                None => {
                    let at = self.stage.len();
                    self.stage.extend_from_slice(&[0; CHUNK_HEADER]);
                    self.run_at = Some(at);
                    at
                }
            };
            let room = MAX_INLINE_RUN - (self.stage.len() - at - CHUNK_HEADER);
            let (now, rest) = bytes.split_at(bytes.len().min(room));
            self.stage.extend_from_slice(now);
            if now.len() == room {
                self.end_run()?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Adds all of an object, which has `size` bytes.
    ///
    /// # Errors
    /// [`SplitstreamError::ForeignId`], [`SplitstreamError::Compress`].
    pub fn external(&mut self, id: &ObjectId, size: u64) -> Result<(), SplitstreamError> {
        self.check(id)?;
        self.end_run()?;
        let index = self.object_refs.insert(id);
        self.stage.extend_from_slice(&i64::from(index).to_le_bytes());
        self.stream_size += size;
        self.compress_full_stage()
    }

    /// Returns how many bytes the parts so far stand for.
    #[must_use]
    pub const fn stream_size(&self) -> u64 {
        self.stream_size
    }

    /// Returns how many bytes [`Builder::take_output`] would give.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.compressor.pending()
    }

    /// Takes the compressed bytes of the stream section that are there; they belong, in order, between
    /// [`Built::head`] and [`Built::tail`].
    pub fn take_output(&mut self) -> Vec<u8> {
        self.compressor.take()
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// [`SplitstreamError::Compress`].
    pub fn finish(mut self) -> Result<Built, SplitstreamError> {
        self.end_run()?;
        self.compressor.push(&self.stage)?;
        let (tail, taken) = self.compressor.finish()?;
        let stream_len = taken + tail.len() as u64;

        let mut names = Compressor::new(self.level)?;
        let mut records = String::new();
        for (name, index) in &self.names {
            records.push_str(&index.to_string());
            records.push(':');
            records.push_str(name);
            records.push('\0');
        }
        names.push(records.as_bytes())?;
        let (names, _) = names.finish()?;

        let (stream_refs, object_refs) =
            (self.stream_refs.list().as_bytes(), self.object_refs.list().as_bytes());
        let mut end = (HEADER_SIZE + INFO_SIZE) as u64;
        let mut place = |size: u64| {
            let start = end;
            end += size;
            Extent { start, end }
        };
        let info = Info {
            stream_refs: place(stream_refs.len() as u64),
            object_refs: place(object_refs.len() as u64),
            named_refs: place(names.len() as u64),
            stream: place(stream_len),
            content_type: self.content_type,
            stream_size: self.stream_size,
        };
        let mut head = Vec::with_capacity(
            HEADER_SIZE + INFO_SIZE + stream_refs.len() + object_refs.len() + names.len() + tail.len(),
        );
        let info_extent = Extent { start: HEADER_SIZE as u64, end: (HEADER_SIZE + INFO_SIZE) as u64 };
        Header::encode(self.algorithm, info_extent, &mut head);
        info.encode(&mut head);
        head.extend_from_slice(stream_refs);
        head.extend_from_slice(object_refs);
        head.extend_from_slice(&names);
        Ok(Built { head, tail, stream_len, stream_size: self.stream_size })
    }

    fn check(&self, id: &ObjectId) -> Result<(), SplitstreamError> {
        if id.algorithm() == self.algorithm {
            Ok(())
        } else {
            Err(SplitstreamError::ForeignId { id: *id, expected: self.algorithm })
        }
    }

    /// Writes the length of the open inline run into its header.
    fn end_run(&mut self) -> Result<(), SplitstreamError> {
        let Some(at) = self.run_at.take() else { return Ok(()) };
        let start = at + CHUNK_HEADER;
        let length = (self.stage.len() - start) as i64;
        if let Some(header) = self.stage.get_mut(at..start) {
            header.copy_from_slice(&(-length).to_le_bytes());
        }
        self.compress_full_stage()
    }

    #[cfg(test)]
    pub(super) fn stage_len(&self) -> usize {
        self.stage.len()
    }

    fn compress_full_stage(&mut self) -> Result<(), SplitstreamError> {
        if self.stage.len() >= STAGE_SIZE {
            self.compressor.push(&self.stage)?;
            self.stage.clear();
            self.stage.shrink_to(KEEP_SIZE);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("algorithm", &self.algorithm)
            .field("content_type", &self.content_type)
            .field("stream_size", &self.stream_size)
            .field("objects", &self.object_refs.list().len())
            .finish_non_exhaustive()
    }
}

/// A finished splitstream: `head`, then all that was taken, then `tail`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Built {
    /// Header, info and the three tables.
    pub head: Vec<u8>,
    /// The end of the stream section: what [`Builder::take_output`] did not give.
    pub tail: Vec<u8>,
    /// The size of the whole stream section in the file, in bytes.
    pub stream_len: u64,
    /// How many bytes the stream stands for.
    pub stream_size: u64,
}

impl Built {
    /// Returns the size of the file in bytes.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        self.head.len() as u64 + self.stream_len
    }

    /// Returns the whole file, if nothing of it was taken before.
    ///
    /// # Errors
    /// [`SplitstreamError::Taken`].
    pub fn into_bytes(mut self) -> Result<Vec<u8>, SplitstreamError> {
        if self.tail.len() as u64 != self.stream_len {
            return Err(SplitstreamError::Taken);
        }
        self.head.append(&mut self.tail);
        Ok(self.head)
    }
}
