//! Splitstreams: a byte stream as inline bytes and references to objects, from which the exact stream comes
//! back.
//!
//! [`Builder`] takes the parts and gives the bytes of the file. [`SplitStream`] reads the tables of a file,
//! [`Chunks`] its parts, [`replay`] the original bytes. [`Outline`] says whether two files mean the same:
//! their ids never do, since they depend on the compressor.
//!
//! Files of the 0.3 format are read through the same types, and never written.
//!
//! Nothing here opens a file or looks up an object: bytes come through [`ReadAt`](crate::read_at::ReadAt),
//! objects through a function of the caller. No length found in a file is allocated before it is checked
//! against what is there and against [`Limits`].
//!
//! # Format
//! `docs/formats/splitstream.md`.

mod error;
mod format;
mod id_list;
mod compress;
mod section;
mod named;
mod s3;
mod build;
mod chunks;
mod parse;
mod replay;
mod outline;

pub use build::{Builder, Built, MAX_INLINE_RUN};
pub use chunks::{Chunk, ChunkReader, Chunks, IntoChunks, PIECE_SIZE};
pub use error::{NamedRefFault, Section, SplitstreamError};
pub use format::{ContentType, Layout, Limits};
pub use id_list::IdList;
pub use outline::Outline;
pub use parse::SplitStream;
pub use replay::{ReplayError, Replayed, replay};
pub use s3::MapEntry;

pub use crate::v0_3::splitstream::{
    DigestMap, DigestMapEntry, SplitStreamData, SplitStreamReader, SplitStreamWriter,
};

#[cfg(test)]
mod tests;
