//! Why bytes are no splitstream, or cannot become one.

use std::{fmt, io};

use super::ContentType;
use crate::digest::{Algorithm, ObjectId};

/// A part of the file that errors speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Section {
    /// The ranges of the other sections, content type and size.
    Info,
    /// The ids of streams and images that names refer to.
    StreamRefs,
    /// The ids of the objects that chunks refer to.
    ObjectRefs,
    /// The names.
    NamedRefs,
    /// The chunks.
    Stream,
    /// The map in front of a 0.3 stream.
    Map,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::StreamRefs => "stream refs",
            Self::ObjectRefs => "object refs",
            Self::NamedRefs => "named refs",
            Self::Stream => "stream",
            Self::Map => "map",
        })
    }
}

/// What is wrong with a named ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamedRefFault {
    /// No colon between index and name.
    #[error("no colon")]
    NoColon,
    /// What stands before the colon is no number.
    #[error("the index is not a number")]
    Index,
    /// The index is past the end of the stream refs.
    #[error("the index is out of range")]
    OutOfRange,
    /// The name is not UTF-8.
    #[error("the name is not UTF-8")]
    Utf8,
    /// The name contains a NUL.
    #[error("the name contains a NUL")]
    Nul,
    /// The name is longer than the limit.
    #[error("the name is too long")]
    TooLong,
    /// The last record is not ended by a NUL.
    #[error("the last record has no end")]
    Unterminated,
}

/// Why bytes are no splitstream, or cannot become one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SplitstreamError {
    /// The file begins like no splitstream.
    #[error("not a splitstream")]
    NotASplitstream,
    /// The version of the header is not 0.
    #[error("splitstream version {0} is not supported")]
    Version(u8),
    /// The file is made for ids of another algorithm.
    #[error("made for fs-verity algorithm {found}, expected {expected}")]
    Algorithm {
        /// The algorithm of the repository.
        expected: Algorithm,
        /// The kernel's number found in the header.
        found: u8,
    },
    /// The block size is not 2^12.
    #[error("block size 2^{0} is not supported, only 2^12")]
    BlockSize(u8),
    /// A section ends before it begins, or past the end of the file.
    #[error("{section} section {start}..{end} is not inside the file of {file_size} bytes")]
    Range {
        /// Which section.
        section: Section,
        /// Its first byte.
        start: u64,
        /// The byte after its last.
        end: u64,
        /// The size of the file.
        file_size: u64,
    },
    /// The info section has less than 80 bytes.
    #[error("info section has {0} bytes, at least 80 are needed")]
    InfoShort(u64),
    /// The size of a table of ids is no multiple of the digest size.
    #[error("{section} section of {size} bytes holds no whole number of ids")]
    TableSize {
        /// Which table.
        section: Section,
        /// Its size in bytes.
        size: u64,
    },
    /// More in it than [`Limits`](super::Limits) allow.
    #[error("{section} section is larger than the limit of {limit}")]
    TooLarge {
        /// Which section.
        section: Section,
        /// The limit: bytes, or number of names.
        limit: u64,
    },
    /// A record of the named refs is wrong.
    #[error("named ref {record}")]
    NamedRef {
        /// Which record, counted from 0.
        record: u64,
        /// What is wrong.
        #[source]
        fault: NamedRefFault,
    },
    /// Compressed data are damaged, or ask for a window larger than 128 MiB.
    #[error("{section} section cannot be decompressed")]
    Decompress {
        /// Which section.
        section: Section,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The compressed data end inside a frame.
    #[error("{0} section is cut short")]
    Incomplete(Section),
    /// The stream ends inside the header of a chunk.
    #[error("stream ends inside a chunk header")]
    ChunkCut,
    /// The stream ends inside an inline chunk.
    #[error("stream ends {missing} bytes before its inline chunk of {claimed} bytes does")]
    InlineCut {
        /// The length in the chunk's header.
        claimed: u64,
        /// How many bytes are missing.
        missing: u64,
    },
    /// A chunk refers to an object that is not in the table.
    #[error("chunk refers to object {index} of {count}")]
    ObjectIndex {
        /// The index in the chunk.
        index: u64,
        /// The length of the table.
        count: usize,
    },
    /// The stream has another content type than the caller needs.
    #[error("content type is {found}, expected {expected}")]
    ContentType {
        /// What the caller needs.
        expected: ContentType,
        /// What the stream is.
        found: ContentType,
    },
    /// A stream that stands for one object refers to none or to several.
    #[error("refers to {0} objects, expected one")]
    NotOneObject(usize),
    /// The bytes could not be read.
    #[error("read at offset {offset}")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The compressor gave up.
    #[error("compress")]
    Compress(#[source] io::Error),
    /// An id of another algorithm was given to a builder.
    #[error("id {id:?} does not belong in a stream of {expected} ids")]
    ForeignId {
        /// The id.
        id: ObjectId,
        /// The algorithm of the stream.
        expected: Algorithm,
    },
    /// A name was given to a builder that no reader would take.
    #[error("named ref {name:?}")]
    Name {
        /// The name, cut to its first characters.
        name: String,
        /// What is wrong.
        #[source]
        fault: NamedRefFault,
    },
    /// The whole file is asked for after parts of it were handed out.
    #[error("parts of the stream were taken already")]
    Taken,
}
