//! Tar events of a layer to objects and a splitstream.
//!
//! One pass: every byte of the tar goes through the diff_id's hash; contents of files also through the fs-verity
//! hash, with the same instructions if both are SHA-256, then to the store. Members up to 1 MiB are hashed in memory and stored in batches by the pool;
//! larger ones are written while they are hashed.

use std::io::{self, Read};

use composefs::{
    digest::{Algorithm, ObjectId, VerityHasher, object_ids_of},
    progress::Observer,
    repo::{BATCH_FILES, Batch, IngestStats, Lane, ObjectFile, ObjectWriter, StorePool, Writer},
    splitstream::{Builder, ContentType},
};
use composefs_tar::{
    Content, EntryError, EntryKind, Event, Member, Mode, Options, Parser, SparseMap, clean_path,
};

use crate::{
    digest::{DiffId, Digest, DigestHasher},
    error::Error,
    model::media_type::Compression,
};

use super::{
    backlog::Backlog,
    pipeline::{self, Blob, Chunks, Stop},
    shared_files::SharedFiles,
    sparse::Expanding,
    spool::{StreamSpool, stream_error},
};

/// Files up to this size are held in memory until they are stored.
const WHOLE_MAX: u64 = 1 << 20;
/// All expanded sparse files of a layer together; an archive gets them for next to nothing.
const SPARSE_TOTAL_MAX: u64 = 256 << 30;

/// What a layer's contents must hash to.
#[derive(Clone, Debug)]
pub enum LayerDigest {
    /// The tar's digest, from the config.
    DiffId(DiffId),
    /// Nothing is known before; the digest is computed with SHA-256.
    Unknown,
}

/// A layer whose objects are stored and whose digests agree. Nothing names it yet.
#[derive(Clone, Debug)]
pub struct ImportedLayer {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// The id of its stream, which is stored as an object.
    pub stream: ObjectId,
    /// What it holds.
    pub stats: LayerStats,
    /// What was stored of its files.
    pub objects: IngestStats,
}

/// Sizes of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerStats {
    /// Bytes of the tar.
    pub tar_bytes: u64,
    /// Of these, bytes that are inline in the stream.
    pub inline_bytes: u64,
    /// What the blob was compressed with.
    pub compression: Option<Compression>,
}

/// Imports layers into one repository.
#[derive(Clone, Copy, Debug)]
pub struct LayerImporter<'a> {
    writer: &'a Writer,
    pool: &'a StorePool,
    mode: Mode,
    for_image: bool,
    shared: Option<&'a SharedFiles<'a>>,
}

impl<'a> LayerImporter<'a> {
    /// Makes an importer that stores through `pool`.
    #[must_use]
    pub const fn new(writer: &'a Writer, pool: &'a StorePool, mode: Mode) -> Self {
        Self { writer, pool, mode, for_image: false, shared: None }
    }

    /// Refuses layers with members that no tree can hold; without this, any archive can be stored.
    #[must_use]
    pub const fn for_image(mut self) -> Self {
        self.for_image = true;
        self
    }

    /// Takes objects from there where files of the blob wait to become some; the blob must be an uncompressed tar.
    #[must_use]
    pub const fn shared(mut self, files: &'a SharedFiles<'a>) -> Self {
        self.shared = Some(files);
        self
    }

    /// Imports a blob: checks it against its digest and size, and its contents against `expected`.
    ///
    /// # Errors
    /// [`Error::BlobMismatch`], [`Error::LayerMismatch`], [`Error::LayerTar`], and what storing gives. Objects may
    /// have been stored then; nothing names them.
    pub fn import<R: Read + Send>(
        &self,
        reader: R,
        digest: &Digest,
        size: Option<u64>,
        expected: &LayerDigest,
        observer: &dyn Observer,
    ) -> Result<ImportedLayer, Error> {
        let blob = Blob { reader, digest, size, observer };
        let name = match expected {
            LayerDigest::DiffId(diff_id) => diff_id.digest().clone(),
            LayerDigest::Unknown => digest.clone(),
        };
        let hasher = name.hasher().ok_or_else(|| {
            Error::blob(&name, crate::digest::BlobFault::Algorithm(name.algorithm().to_owned()))
        })?;
        let split = pipeline::with_contents(blob, |chunks, compression| {
            let splitter = Splitter::new(self, name.clone(), hasher)?;
            splitter.run(chunks, digest).map(|mut split| {
                split.stats.compression = Some(compression);
                split
            })
        })?;
        self.finish(split, expected)
    }

    /// Imports an uncompressed or compressed tar that comes without a descriptor.
    ///
    /// # Errors
    /// As [`LayerImporter::import`].
    pub fn import_tar<R: Read>(&self, mut reader: R, expected: &LayerDigest) -> Result<ImportedLayer, Error> {
        let name = match expected {
            LayerDigest::DiffId(diff_id) => diff_id.digest().clone(),
            LayerDigest::Unknown => Digest::sha256(b""),
        };
        let hasher = name.hasher().ok_or_else(|| {
            Error::blob(&name, crate::digest::BlobFault::Algorithm(name.algorithm().to_owned()))
        })?;
        let mut chunks = Plain { reader: &mut reader, buffer: vec![0; crate::decompress::BUFFER] };
        let split = Splitter::new(self, name.clone(), hasher)
            .and_then(|splitter| splitter.run(&mut chunks, &name))
            .map_err(|stop| match stop {
                Stop::Bytes(error) | Stop::Other(error) => error,
            })?;
        self.finish(split, expected)
    }

    fn finish(&self, split: Split, expected: &LayerDigest) -> Result<ImportedLayer, Error> {
        if let LayerDigest::DiffId(diff_id) = expected
            && *diff_id != split.diff_id
        {
            return Err(Error::LayerMismatch { diff_id: diff_id.clone(), actual: split.diff_id });
        }
        let objects = split.lane.finish()?;
        let stream = split.spool.finish(self.writer, split.builder, split.diff_id.digest())?;
        Ok(ImportedLayer { diff_id: split.diff_id, stream, stats: split.stats, objects })
    }
}

struct Plain<'a, R> {
    reader: &'a mut R,
    buffer: Vec<u8>,
}

impl<R: Read> Chunks for Plain<'_, R> {
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            match self.reader.read(&mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(got) => return Ok(self.buffer.get(..got)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A tar that was split whole.
struct Split {
    diff_id: DiffId,
    builder: Builder,
    spool: StreamSpool,
    lane: Lane,
    stats: LayerStats,
}

/// The file that is being received.
enum Current {
    None,
    /// In the batch's buffer, from this offset on. Without a hasher its id is computed with those of the batch.
    Small {
        start: usize,
        hasher: Option<VerityHasher>,
    },
    /// Written while it is hashed.
    Large(ObjectWriter),
    /// Hashed only: the object has its contents already.
    Shared(ObjectFile, VerityHasher),
}

struct Splitter<'a> {
    importer: &'a LayerImporter<'a>,
    name: Digest,
    parser: Parser,
    diff: DigestHasher,
    builder: Builder,
    spool: StreamSpool,
    lane: Lane,
    batch: Batch,
    backlog: Backlog,
    current: Current,
    external_size: u64,
    /// Bytes of contents so far: with those that are inline, the offset in the tar.
    content_bytes: u64,
    /// The expanded file of a sparse member, written beside its stored data.
    sparse: Option<Expanding>,
    sparse_left: u64,
    stats: LayerStats,
}

fn other(error: impl Into<Error>) -> Stop {
    Stop::Other(error.into())
}

impl<'a> Splitter<'a> {
    fn new(importer: &'a LayerImporter<'a>, name: Digest, diff: DigestHasher) -> Result<Self, Stop> {
        let builder = Builder::new(importer.writer.algorithm(), ContentType::OCI_LAYER)
            .map_err(|e| other(stream_error(&name, e)))?;
        let lane = importer.pool.lane();
        Ok(Self {
            importer,
            parser: Parser::new(Options::default().mode(importer.mode)),
            diff,
            builder,
            spool: StreamSpool::default(),
            batch: lane.batch(),
            lane,
            backlog: Backlog::default(),
            current: Current::None,
            external_size: 0,
            content_bytes: 0,
            sparse: None,
            sparse_left: SPARSE_TOTAL_MAX,
            stats: LayerStats::default(),
            name,
        })
    }

    fn run(mut self, chunks: &mut dyn Chunks, blob: &Digest) -> Result<Split, Stop> {
        loop {
            let chunk = chunks.next().map_err(|error| Stop::Bytes(Error::blob_io(blob, error)))?;
            let Some(mut input) = chunk else { break };
            self.stats.tar_bytes += input.len() as u64;
            while let Some(event) = self.parser.parse(&mut input).map_err(|source| self.tar_error(source))? {
                self.event(event)?;
            }
            self.spool.take(&mut self.builder, self.importer.writer).map_err(other)?;
        }
        self.parser.finish().map_err(|source| self.tar_error(source))?;
        self.flush()?;
        let diff_id = DiffId::new(self.diff.finish());
        Ok(Split { diff_id, builder: self.builder, spool: self.spool, lane: self.lane, stats: self.stats })
    }

    fn tar_error(&self, source: composefs_tar::Error) -> Stop {
        Stop::Bytes(Error::LayerTar { layer: self.name.clone(), source })
    }

    fn event(&mut self, event: Event<'_>) -> Result<(), Stop> {
        match event {
            Event::Inline(bytes) => {
                self.diff.update(bytes);
                self.stats.inline_bytes += bytes.len() as u64;
                if self.backlog.is_empty() {
                    return self
                        .builder
                        .inline(bytes)
                        .map_err(|error| other(stream_error(&self.name, error)));
                }
                self.backlog.inline(bytes);
                if self.backlog.is_full() { self.settle() } else { Ok(()) }
            }
            Event::Member(member) => {
                self.check_entry(&member)?;
                if let Some(map) = sparse_map(&member) {
                    let stored = map.inline_data().unwrap_or_default().to_vec();
                    self.begin_sparse(map.clone())?;
                    self.expand(&stored)?;
                    self.end_sparse()?;
                }
                Ok(())
            }
            Event::Begin(member) => {
                self.check_entry(&member)?;
                self.begin(&member)
            }
            Event::Content(bytes) => self.content(bytes),
            Event::End => self.end(),
        }
    }

    /// Refuses what could never be merged, so that such a layer gets no name.
    fn check_entry(&self, member: &Member) -> Result<(), Stop> {
        if !self.importer.for_image {
            return Ok(());
        }
        let fault = match &member.entry {
            Err(error) => error.clone(),
            Ok(entry) => match &entry.kind {
                EntryKind::Hardlink { target } => match clean_path(target) {
                    Ok(_) => return Ok(()),
                    Err(fault) => EntryError { path: entry.path.clone(), fault: fault.into() },
                },
                _ => return Ok(()),
            },
        };
        Err(Stop::Bytes(Error::Entry { layer: self.name.clone(), source: fault }))
    }

    fn begin(&mut self, member: &Member) -> Result<(), Stop> {
        let size = member.external.unwrap_or_default();
        self.external_size = size;
        let offset = self.stats.inline_bytes + self.content_bytes;
        let shared = self.importer.shared.and_then(|files| files.claim(offset, size));
        self.current = if let Some(object) = shared {
            Current::Shared(object, VerityHasher::new(self.importer.writer.algorithm()))
        } else if size <= WHOLE_MAX {
            let algorithm = self.importer.writer.algorithm();
            // SHA-256 of the file and of the tar together take the time of one; SHA-512 gains by many files at once.
            let hasher = (algorithm == Algorithm::Sha256).then(|| VerityHasher::new(algorithm));
            Current::Small { start: self.batch.buffer.len(), hasher }
        } else {
            Current::Large(self.importer.writer.object_writer(size).map_err(other)?)
        };
        if let Some(map) = sparse_map(member) {
            self.begin_sparse(map.clone())?;
        }
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.content_bytes += bytes.len() as u64;
        match &mut self.current {
            Current::Small { hasher, .. } => {
                match hasher {
                    Some(hasher) => self.diff.update_with(hasher, bytes),
                    None => self.diff.update(bytes),
                }
                self.batch.buffer.extend_from_slice(bytes);
            }
            Current::Large(object) => {
                match &mut self.diff {
                    DigestHasher::Sha256(tar) => object.append_with(tar, bytes),
                    diff => {
                        diff.update(bytes);
                        object.append(bytes)
                    }
                }
                .map_err(other)?;
            }
            Current::Shared(_, hasher) => self.diff.update_with(hasher, bytes),
            Current::None => self.diff.update(bytes),
        }
        if self.sparse.is_some() {
            self.expand(bytes)?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let id = match std::mem::replace(&mut self.current, Current::None) {
            Current::None => return Ok(()),
            Current::Small { start, hasher: None } => {
                self.backlog.file(start..self.batch.buffer.len(), self.external_size);
                None
            }
            Current::Small { start, hasher: Some(hasher) } => {
                let id = hasher.finish();
                self.batch.items.push((id, start..self.batch.buffer.len()));
                Some(id)
            }
            Current::Large(object) => {
                let stored = object.finish().map_err(other)?;
                self.lane.count(stored.size, stored.new);
                Some(stored.id)
            }
            Current::Shared(object, hasher) => {
                let stored = object.finish(hasher.finish()).map_err(other)?;
                self.lane.count_shared(stored.size, stored.new);
                Some(stored.id)
            }
        };
        if let Some(id) = id {
            self.settle()?;
            self.builder
                .external(&id, self.external_size)
                .map_err(|error| other(stream_error(&self.name, error)))?;
        }
        if self.sparse.is_some() {
            self.end_sparse()?;
        }
        let full = self.batch.is_full() || self.backlog.files() >= BATCH_FILES;
        if full { self.flush() } else { Ok(()) }
    }

    /// Computes the ids that the backlog waits for, and hands it to the stream.
    fn settle(&mut self) -> Result<(), Stop> {
        if self.backlog.is_empty() {
            return Ok(());
        }
        let buffer = &self.batch.buffer;
        let files = self.backlog.contents().map(|range| buffer.get(range).unwrap_or_default());
        let files: Vec<&[u8]> = files.collect();
        let ids = object_ids_of(self.importer.writer.algorithm(), &files);
        self.batch.items.extend(ids.iter().copied().zip(self.backlog.contents()));
        let settled = self.backlog.settle(&ids, &mut self.builder);
        settled.map_err(|error| other(stream_error(&self.name, error)))
    }

    fn flush(&mut self) -> Result<(), Stop> {
        self.settle()?;
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, self.lane.batch());
        self.lane.submit(batch).map_err(other)
    }

    fn begin_sparse(&mut self, map: SparseMap) -> Result<(), Stop> {
        self.sparse_left = self.sparse_left.checked_sub(map.size()).ok_or_else(|| {
            Stop::Other(Error::Damaged {
                subject: format!("layer {}", self.name),
                reason: format!("its sparse files together are larger than {SPARSE_TOTAL_MAX} bytes"),
            })
        })?;
        let object = self.importer.writer.object_writer(map.stored_size()).map_err(other)?;
        self.sparse = Some(Expanding::new(map, object));
        Ok(())
    }

    fn expand(&mut self, stored: &[u8]) -> Result<(), Stop> {
        self.sparse.as_mut().map_or(Ok(()), |sparse| sparse.push(stored).map_err(other))
    }

    fn end_sparse(&mut self) -> Result<(), Stop> {
        let Some(sparse) = self.sparse.take() else { return Ok(()) };
        self.settle()?;
        let stored = sparse.finish().map_err(other)?;
        self.builder.object_ref(&stored.id).map_err(|error| other(stream_error(&self.name, error)))
    }
}

/// The map of a member whose file must be expanded.
fn sparse_map(member: &Member) -> Option<&SparseMap> {
    match &member.entry.as_ref().ok()?.kind {
        EntryKind::Regular { content: Content::Sparse(map), .. } => Some(map),
        _ => None,
    }
}
