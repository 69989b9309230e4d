//! Bytes to tables.
//!
//! # Format
//! `docs/formats/splitstream.md`, sections 1 and 5.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::{
    Chunk, Chunks, ContentType, IdList, IntoChunks, Layout, Limits, MapEntry, Section, SplitstreamError,
    format::{Extent, HEADER_SIZE, Header, INFO_SIZE, Info},
    named::{NamedRefs, resolved},
    s3,
    section::SectionReader,
};
use crate::{
    digest::{Algorithm, ObjectId},
    read_at::ReadAt,
};

/// A splitstream whose tables are read and checked; the stream itself is read by [`SplitStream::chunks`].
#[derive(Debug)]
pub struct SplitStream<R> {
    source: R,
    algorithm: Algorithm,
    layout: Layout,
    content_type: ContentType,
    stream_size: Option<u64>,
    stream: Extent,
    object_refs: IdList,
    stream_refs: IdList,
    named_refs: NamedRefs,
    map: Vec<MapEntry>,
    stream_limit: u64,
}

impl<R: ReadAt> SplitStream<R> {
    /// Reads the tables of a file of `size` bytes, any of the three layouts.
    ///
    /// Memory: the tables, which are in the file, and the names, both bounded by `limits`.
    ///
    /// # Errors
    /// All of [`SplitstreamError`] but those of chunks and of builders.
    pub fn parse(
        source: R,
        size: u64,
        algorithm: Algorithm,
        limits: &Limits,
    ) -> Result<Self, SplitstreamError> {
        let mut header = [0; HEADER_SIZE];
        let there = usize::try_from(size).unwrap_or(usize::MAX).min(HEADER_SIZE);
        let header = header.get_mut(..there).unwrap_or_default();
        read_at(&source, header, 0)?;
        match Header::decode(header, algorithm)? {
            Header::Sections { layout, info } => {
                Self::parse_sections(source, size, algorithm, limits, layout, info)
            }
            Header::V03 => {
                let map = s3::read_map(&source, size, algorithm, limits)?;
                Ok(Self {
                    source,
                    algorithm,
                    layout: Layout::V03,
                    content_type: ContentType::NONE,
                    stream_size: None,
                    stream: Extent { start: 0, end: size },
                    object_refs: IdList::new(algorithm),
                    stream_refs: IdList::new(algorithm),
                    named_refs: NamedRefs::default(),
                    map,
                    stream_limit: limits.stream_bytes,
                })
            }
        }
    }

    fn parse_sections(
        source: R,
        size: u64,
        algorithm: Algorithm,
        limits: &Limits,
        layout: Layout,
        info: Extent,
    ) -> Result<Self, SplitstreamError> {
        let info_size = info.check(Section::Info, size)?;
        if info_size < INFO_SIZE as u64 {
            return Err(SplitstreamError::InfoShort(info_size));
        }
        let mut bytes = [0; INFO_SIZE];
        read_at(&source, &mut bytes, info.start)?;
        let info = Info::decode(&bytes).ok_or(SplitstreamError::InfoShort(info_size))?;
        let table = |section, range: Extent| -> Result<IdList, SplitstreamError> {
            let table_size = range.check(section, size)?;
            if table_size.checked_rem(algorithm.digest_size() as u64) != Some(0) {
                return Err(SplitstreamError::TableSize { section, size: table_size });
            }
            let mut bytes = match usize::try_from(table_size) {
                Ok(length) if table_size <= limits.table_bytes => vec![0; length],
                _ => return Err(SplitstreamError::TooLarge { section, limit: limits.table_bytes }),
            };
            read_at(&source, &mut bytes, range.start)?;
            Ok(IdList::from_bytes(algorithm, bytes))
        };
        let stream_refs = table(Section::StreamRefs, info.stream_refs)?;
        let object_refs = table(Section::ObjectRefs, info.object_refs)?;
        info.stream.check(Section::Stream, size)?;
        info.named_refs.check(Section::NamedRefs, size)?;
        let names =
            SectionReader::new(&source, Section::NamedRefs, info.named_refs, limits.named_refs_bytes)?;
        let named_refs = NamedRefs::parse(names, &stream_refs, limits)?;
        Ok(Self {
            source,
            algorithm,
            layout,
            content_type: info.content_type,
            stream_size: Some(info.stream_size),
            stream: info.stream,
            object_refs,
            stream_refs,
            named_refs,
            map: Vec::new(),
            stream_limit: limits.stream_bytes,
        })
    }

    /// Starts reading the parts of the stream, from its beginning.
    ///
    /// # Errors
    /// [`SplitstreamError::Decompress`] if there is no memory for the decompressor; for the 0.3 format also
    /// what reading its map can say.
    pub fn chunks(&self) -> Result<Chunks<'_, R>, SplitstreamError> {
        Chunks::new(
            &self.source,
            self.stream,
            &self.object_refs,
            self.algorithm,
            self.layout,
            self.map.len() as u64,
            self.stream_limit,
        )
    }

    /// Starts reading the parts of the stream as [`SplitStream::chunks`] does, and keeps nothing else of it.
    ///
    /// # Errors
    /// As [`SplitStream::chunks`].
    pub fn into_chunks(self) -> Result<IntoChunks<R>, SplitstreamError> {
        let map_entries = self.map.len() as u64;
        let Self { source, stream, object_refs, algorithm, layout, stream_limit, .. } = self;
        IntoChunks::new(source, stream, object_refs, algorithm, layout, map_entries, stream_limit)
    }

    /// Calls `found` with every object the stream needs, of any layout; some may come twice.
    ///
    /// The table says it for all but the 0.3 format, whose chunks are read.
    ///
    /// # Errors
    /// Those of [`Chunks::next_chunk`], for the 0.3 format.
    pub fn for_each_object(&self, found: &mut dyn FnMut(ObjectId)) -> Result<(), SplitstreamError> {
        if self.layout != Layout::V03 {
            self.object_refs.iter().for_each(found);
            return Ok(());
        }
        let mut chunks = self.chunks()?;
        while let Some(chunk) = chunks.next_chunk()? {
            if let Chunk::External(id) = chunk {
                found(id);
            }
        }
        Ok(())
    }
}

impl<R> SplitStream<R> {
    /// Returns the algorithm of its ids.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the shape of the file.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns what the stream holds; [`ContentType::NONE`] for the 0.3 format.
    #[must_use]
    pub const fn content_type(&self) -> ContentType {
        self.content_type
    }

    /// Returns the number of bytes the file says the stream has: unchecked, and absent from the 0.3 format.
    #[must_use]
    pub const fn stream_size(&self) -> Option<u64> {
        self.stream_size
    }

    /// Returns the ids of the objects; empty for the 0.3 format, which has them in its chunks
    /// ([`SplitStream::for_each_object`]).
    #[must_use]
    pub const fn object_refs(&self) -> &IdList {
        &self.object_refs
    }

    /// Returns the ids of streams and images; for the 0.3 format see [`SplitStream::v03_map`].
    #[must_use]
    pub const fn stream_refs(&self) -> &IdList {
        &self.stream_refs
    }

    /// Returns the names and what they stand for, sorted by name in byte order.
    pub fn named_refs(&self) -> impl Iterator<Item = (&str, ObjectId)> {
        resolved(&self.named_refs, &self.stream_refs)
    }

    /// Returns the id a name stands for.
    #[must_use]
    pub fn named_ref(&self, name: &str) -> Option<ObjectId> {
        self.stream_refs.get(self.named_refs.find(name)?)
    }

    /// Returns the streams that a stream of the 0.3 format refers to; empty for the others.
    #[must_use]
    pub fn v03_map(&self) -> &[MapEntry] {
        &self.map
    }

    /// Checks the content type.
    ///
    /// # Errors
    /// [`SplitstreamError::ContentType`].
    pub fn expect_type(&self, expected: ContentType) -> Result<(), SplitstreamError> {
        if self.content_type == expected {
            Ok(())
        } else {
            Err(SplitstreamError::ContentType { expected, found: self.content_type })
        }
    }

    /// Returns the object that is all of the stream: what configs, manifests, indexes and blobs have. The
    /// stream is not decoded.
    ///
    /// # Errors
    /// [`SplitstreamError::NotOneObject`].
    pub fn only_object(&self) -> Result<ObjectId, SplitstreamError> {
        match (self.object_refs.get(0), self.object_refs.len()) {
            (Some(id), 1) => Ok(id),
            (_, count) => Err(SplitstreamError::NotOneObject(count)),
        }
    }

    /// Returns the bytes it was parsed from.
    #[must_use]
    pub const fn source(&self) -> &R {
        &self.source
    }
}

fn read_at<R: ReadAt + ?Sized>(source: &R, buffer: &mut [u8], offset: u64) -> Result<(), SplitstreamError> {
    source.read_exact_at(buffer, offset).map_err(|source| SplitstreamError::Read { offset, source })
}
