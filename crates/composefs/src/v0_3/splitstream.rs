//! Streams as 0.3 reads and writes them.
//!
//! What is read may be of either format; what is written is today's.
//!
//! # Format
//! `docs/formats/splitstream.md`; `docs/formats/oci.md`, section 8, "Mapping".

mod read;
mod write;

pub use read::{SplitStreamData, SplitStreamReader};
pub use write::SplitStreamWriter;

pub(in crate::v0_3) use read::references;

use super::{fsverity::FsVerityHashValue, util::Sha256Digest};

/// A stream that another one refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestMapEntry<ObjectID: FsVerityHashValue> {
    /// The SHA-256 of its contents.
    pub body: Sha256Digest,
    /// Its id.
    pub verity: ObjectID,
}

/// The streams that a stream refers to, sorted by the SHA-256 of their contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestMap<ObjectID: FsVerityHashValue> {
    /// The entries; sorted, each digest once.
    pub map: Vec<DigestMapEntry<ObjectID>>,
}

impl<ObjectID: FsVerityHashValue> Default for DigestMap<ObjectID> {
    fn default() -> Self {
        Self::new()
    }
}

impl<ObjectID: FsVerityHashValue> DigestMap<ObjectID> {
    /// Makes an empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self { map: Vec::new() }
    }

    /// Finds the id of a stream.
    #[must_use]
    pub fn lookup(&self, body: &Sha256Digest) -> Option<&ObjectID> {
        let at = self.map.binary_search_by_key(body, |entry| entry.body).ok()?;
        self.map.get(at).map(|entry| &entry.verity)
    }

    /// Adds a stream. One that is there keeps its id; another id for it is a mistake of the caller.
    pub fn insert(&mut self, body: &Sha256Digest, verity: &ObjectID) {
        match self.map.binary_search_by_key(body, |entry| entry.body) {
            Ok(at) => {
                debug_assert_eq!(
                    self.map.get(at).map(|entry| &entry.verity),
                    Some(verity),
                    "two ids of one stream"
                );
            }
            Err(at) => self.map.insert(at, DigestMapEntry { body: *body, verity: verity.clone() }),
        }
    }
}
