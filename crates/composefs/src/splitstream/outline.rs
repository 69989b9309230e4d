//! What a splitstream means, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};

use super::{Chunk, ContentType, SplitStream, SplitstreamError};
use crate::{digest::ObjectId, read_at::ReadAt};

/// The meaning of a splitstream: equal for two files exactly if they refer to the same and stand for the same
/// bytes in the same way.
///
/// Left out is what a writer may choose: compression, the order of tables and sections, duplicates in the
/// tables, where one inline chunk ends and the next begins. Inline bytes and the order of chunks are held
/// as a hash, so its size is that of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outline {
    /// What the stream holds.
    pub content_type: ContentType,
    /// How many bytes the file says the stream has.
    pub stream_size: Option<u64>,
    /// Names and what they stand for.
    pub named_refs: BTreeMap<String, ObjectId>,
    /// All streams and images referred to, named or not; of the 0.3 format those of the map.
    pub stream_refs: BTreeSet<ObjectId>,
    /// All objects referred to.
    pub object_refs: BTreeSet<ObjectId>,
    /// How many inline runs and objects there are.
    pub parts: u64,
    /// A SHA-256 over the parts: for an inline run its length and hash, for an object its id.
    pub parts_sha256: [u8; 32],
}

impl Outline {
    /// Reads all of a stream; objects are not looked at.
    ///
    /// # Errors
    /// Those of [`Chunks::next_chunk`](super::Chunks::next_chunk).
    pub fn of<R: ReadAt>(stream: &SplitStream<R>) -> Result<Self, SplitstreamError> {
        let mut object_refs: BTreeSet<ObjectId> = stream.object_refs().iter().collect();
        let mut parts = PartsHash::default();
        let mut chunks = stream.chunks()?;
        while let Some(chunk) = chunks.next_chunk()? {
            match chunk {
                Chunk::Inline(bytes) => parts.inline(bytes),
                Chunk::External(id) => {
                    parts.external(&id);
                    object_refs.insert(id);
                }
            }
        }
        let (parts, parts_sha256) = parts.finish();
        Ok(Self {
            content_type: stream.content_type(),
            stream_size: stream.stream_size(),
            named_refs: stream.named_refs().map(|(name, id)| (name.to_owned(), id)).collect(),
            stream_refs: stream
                .stream_refs()
                .iter()
                .chain(stream.v03_map().iter().map(|entry| entry.stream))
                .collect(),
            object_refs,
            parts,
            parts_sha256,
        })
    }
}

#[derive(Default)]
struct PartsHash {
    all: Sha256,
    run: Sha256,
    run_length: u64,
    parts: u64,
}

impl PartsHash {
    fn inline(&mut self, bytes: &[u8]) {
        self.run.update(bytes);
        self.run_length = self.run_length.saturating_add(bytes.len() as u64);
    }

    fn end_run(&mut self) {
        if self.run_length > 0 {
            self.all.update(b"inline");
            self.all.update(self.run_length.to_le_bytes());
            self.all.update(self.run.finalize_reset());
            self.parts = self.parts.saturating_add(1);
            self.run_length = 0;
        }
    }

    fn external(&mut self, id: &ObjectId) {
        self.end_run();
        self.all.update(b"object");
        self.all.update(id.as_bytes());
        self.parts = self.parts.saturating_add(1);
    }

    fn finish(mut self) -> (u64, [u8; 32]) {
        self.end_run();
        (self.parts, self.all.finalize().into())
    }
}
