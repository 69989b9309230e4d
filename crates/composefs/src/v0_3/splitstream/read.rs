//! A stream to its parts.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    marker::PhantomData,
};

use crate::{
    digest::ObjectId,
    error::{Error, Result},
    repo::Repository,
    splitstream::{Chunk, ContentType, IntoChunks, SplitStream},
    v0_3::{
        fsverity::FsVerityHashValue,
        splitstream::DigestMap,
        util::{Sha256Digest, hex, parse_sha256},
    },
};

/// Contents that are either in the stream or in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitStreamData<ObjectID: FsVerityHashValue> {
    /// The bytes.
    Inline(Box<[u8]>),
    /// The object that holds them.
    External(ObjectID),
}

/// The most inline bytes that are taken into memory for one call.
const INLINE_MAX: usize = 1 << 30;

/// Reads a stream from its beginning.
///
/// `R` is what 0.3 read from; streams of a repository are files.
pub struct SplitStreamReader<R, ObjectID: FsVerityHashValue> {
    /// The streams this one refers to.
    pub refs: DigestMap<ObjectID>,
    id: ObjectId,
    repository: Repository,
    /// Whether this is one object whose bytes 0.3 had inline, so that [`Read`] gives them.
    is_document: bool,
    is_v03: bool,
    chunks: IntoChunks<File>,
    /// Inline bytes at hand, and how many of them are used up.
    inline: Vec<u8>,
    used: usize,
    external: Option<ObjectId>,
    document: Option<File>,
    source: PhantomData<fn() -> R>,
}

/// What comes next.
enum Next {
    Inline,
    External(ObjectId),
    End,
}

impl<R, ObjectID: FsVerityHashValue> SplitStreamReader<R, ObjectID> {
    pub(in crate::v0_3) fn new(
        repository: Repository,
        id: ObjectId,
        stream: SplitStream<File>,
    ) -> Result<Self> {
        let refs = references(&stream)?;
        let is_document = matches!(
            stream.content_type(),
            ContentType::OCI_CONFIG | ContentType::OCI_MANIFEST | ContentType::OCI_BLOB
        );
        let is_v03 = stream.layout() == crate::splitstream::Layout::V03;
        let chunks = stream.into_chunks().map_err(|source| Error::Stream { id, source: Box::new(source) })?;
        Ok(Self {
            refs,
            id,
            repository,
            is_document,
            is_v03,
            chunks,
            inline: Vec::new(),
            used: 0,
            external: None,
            document: None,
            source: PhantomData,
        })
    }

    fn shape(&self, reason: &'static str) -> Error {
        Error::StreamShape { id: self.id, reason }
    }

    /// Returns the native handle of the repository the stream is from.
    #[must_use]
    pub const fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Looks at what comes next.
    fn peek(&mut self) -> Result<Next> {
        if let Some(id) = self.external {
            return Ok(Next::External(id));
        }
        if self.used < self.inline.len() {
            return Ok(Next::Inline);
        }
        let id = self.id;
        match self.chunks.next_chunk().map_err(|source| Error::Stream { id, source: Box::new(source) })? {
            None => Ok(Next::End),
            Some(Chunk::Inline(bytes)) => {
                self.inline.clear();
                self.inline.extend_from_slice(bytes);
                self.used = 0;
                Ok(Next::Inline)
            }
            Some(Chunk::External(object)) => {
                self.external = Some(object);
                Ok(Next::External(object))
            }
        }
    }

    /// Copies inline bytes at hand; how many.
    fn copy_inline(&mut self, buffer: &mut [u8]) -> usize {
        let rest = self.inline.get(self.used..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.used += count;
        count
    }

    /// Fills the buffer with inline bytes; false, and nothing taken, at the end of the stream.
    ///
    /// # Errors
    /// [`Error::StreamShape`] if the stream ends or an object begins inside; [`Error::Stream`].
    pub fn read_inline_exact(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.peek()? {
                Next::Inline => {
                    filled += self.copy_inline(buffer.get_mut(filled..).unwrap_or_default());
                }
                Next::End if filled == 0 => return Ok(false),
                Next::End => return Err(self.shape("ends inside of what should be inline")),
                Next::External(_) => return Err(self.shape("an object stands where bytes should be inline")),
            }
        }
        Ok(true)
    }

    /// Reads contents of `actual_size` bytes that take `stored_size` with their padding: an object followed by the
    /// padding, or inline.
    ///
    /// # Errors
    /// As [`SplitStreamReader::read_inline_exact`], also at the end of the stream.
    pub fn read_exact(
        &mut self,
        actual_size: usize,
        stored_size: usize,
    ) -> Result<SplitStreamData<ObjectID>> {
        let Some(padding) = stored_size.checked_sub(actual_size) else {
            return Err(self.shape("stored in less than its size"));
        };
        if let Next::External(object) = self.peek()? {
            self.external = None;
            let mut left = padding;
            let mut skipped = [0; 512];
            while left > 0 {
                let now = left.min(skipped.len());
                if !self.read_inline_exact(skipped.get_mut(..now).unwrap_or_default())? {
                    return Err(self.shape("ends before the padding does"));
                }
                left -= now;
            }
            return ObjectID::from_native(&object).map(SplitStreamData::External).map_err(Error::caller);
        }
        if stored_size > INLINE_MAX {
            return Err(self.shape("more inline bytes than are taken into memory"));
        }
        // The size is only the caller's word: memory grows with what is there.
        let mut contents = Vec::new();
        while contents.len() < stored_size {
            let have = contents.len();
            match self.peek()? {
                Next::Inline => {
                    contents.resize(stored_size.min(have.saturating_add(64 * 1024)), 0);
                    let got = self.copy_inline(contents.get_mut(have..).unwrap_or_default());
                    contents.truncate(have + got);
                }
                Next::End => return Err(self.shape("ends inside of a file")),
                Next::External(_) => return Err(self.shape("an object stands inside of an inline file")),
            }
        }
        contents.truncate(actual_size);
        Ok(SplitStreamData::Inline(contents.into_boxed_slice()))
    }

    /// Writes what is left of the original bytes; `load_data` gives the contents of an object.
    ///
    /// # Errors
    /// [`Error::Stream`], [`Error::Output`], what `load_data` gives.
    pub fn cat(
        &mut self,
        output: &mut impl Write,
        mut load_data: impl FnMut(&ObjectID) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let failed = |source| Error::Output { source };
        loop {
            match self.peek()? {
                Next::End => return Ok(()),
                Next::Inline => {
                    output.write_all(self.inline.get(self.used..).unwrap_or_default()).map_err(failed)?;
                    self.used = self.inline.len();
                }
                Next::External(object) => {
                    self.external = None;
                    let object = ObjectID::from_native(&object).map_err(Error::caller)?;
                    output.write_all(&load_data(&object)?).map_err(failed)?;
                }
            }
        }
    }

    /// Calls the function with every object of the stream.
    ///
    /// # Errors
    /// [`Error::Stream`].
    pub fn get_object_refs(&mut self, mut callback: impl FnMut(&ObjectID)) -> Result<()> {
        let mut found = |object: &ObjectId| {
            ObjectID::from_native(object).map(|object| callback(&object)).map_err(Error::caller)
        };
        if !self.is_v03 {
            return self.chunks.object_refs().iter().try_for_each(|object| found(&object));
        }
        loop {
            match self.peek()? {
                Next::End => return Ok(()),
                Next::Inline => self.used = self.inline.len(),
                Next::External(object) => {
                    self.external = None;
                    found(&object)?;
                }
            }
        }
    }

    /// Calls the function with the digest of every stream this one refers to.
    pub fn get_stream_refs(&mut self, mut callback: impl FnMut(&Sha256Digest)) {
        for entry in &self.refs.map {
            callback(&entry.body);
        }
    }

    /// Finds the id of a stream this one refers to.
    ///
    /// # Errors
    /// [`Error::StreamShape`] if it does not.
    pub fn lookup(&self, body: &Sha256Digest) -> Result<&ObjectID> {
        self.refs.lookup(body).ok_or_else(|| self.shape("refers to no stream of this digest"))
    }
}

/// The streams that a stream refers to by the SHA-256 of their contents.
pub(in crate::v0_3) fn references<ObjectID: FsVerityHashValue>(
    stream: &SplitStream<File>,
) -> Result<DigestMap<ObjectID>> {
    let mut refs = DigestMap::new();
    let mut insert = |body: &Sha256Digest, id: &ObjectId| {
        // Two ids for one digest can only be in a damaged stream: the first holds.
        if refs.lookup(body).is_none() {
            refs.insert(body, &ObjectID::from_native(id).map_err(Error::caller)?);
        }
        Ok::<_, Error>(())
    };
    for entry in stream.v03_map() {
        insert(&entry.body_sha256, &entry.stream)?;
    }
    for (name, id) in stream.named_refs() {
        if let Some(digest) = name.strip_prefix("sha256:").and_then(|digest| parse_sha256(digest).ok())
            && name.get(7..) == Some(hex(&digest).as_str())
        {
            insert(&digest, &id)?;
        }
    }
    Ok(refs)
}

/// Reads inline bytes; of a config, manifest or blob all of it, though today it is an object.
impl<R, ObjectID: FsVerityHashValue> Read for SplitStreamReader<R, ObjectID> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(document) = &mut self.document {
                match document.read(buffer)? {
                    0 => self.document = None,
                    got => return Ok(got),
                }
            }
            match self.peek().map_err(io::Error::other)? {
                Next::End => return Ok(0),
                Next::Inline => return Ok(self.copy_inline(buffer)),
                Next::External(object) if self.is_document => {
                    self.external = None;
                    self.repository.check_object(&object).map_err(io::Error::other)?;
                    let object = self.repository.open_object(&object).map_err(io::Error::other)?;
                    self.document = Some(object.into());
                }
                Next::External(_) => {
                    return Err(io::Error::other(
                        self.shape("an object stands where bytes should be inline"),
                    ));
                }
            }
        }
    }
}

impl<R, ObjectID: FsVerityHashValue> fmt::Debug for SplitStreamReader<R, ObjectID> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitStreamReader")
            .field("id", &self.id)
            .field("refs", &self.refs)
            .finish_non_exhaustive()
    }
}
