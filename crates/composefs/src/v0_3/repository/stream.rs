//! Streams by the SHA-256 of their contents, and by their refs.

use std::{fs::File, io::Write};

use super::Repository;
use crate::{
    digest::ObjectId,
    error::{Category, Error, Result},
    name::{RefName, StreamName},
    repo::Resolved,
    splitstream::ContentType,
    v0_3::{
        fsverity::FsVerityHashValue,
        splitstream::{DigestMap, SplitStreamReader, SplitStreamWriter},
        util::{Sha256Digest, hex},
    },
};

impl<ObjectID: FsVerityHashValue> Repository<ObjectID> {
    /// Starts a stream that refers to `maps`. With a digest, what is written must have it.
    #[allow(clippy::needless_pass_by_value)]
    pub fn create_stream(
        &self,
        sha256: Option<Sha256Digest>,
        maps: Option<DigestMap<ObjectID>>,
    ) -> SplitStreamWriter<ObjectID> {
        SplitStreamWriter::new(self.writer(), maps.as_ref(), sha256, ContentType::NONE)
    }

    /// Finds a stream by the SHA-256 of its contents; looks at names only.
    pub(super) fn find(&self, sha256: &Sha256Digest) -> Result<Option<Resolved>> {
        match self.reader().resolve_stream(&hex(sha256)) {
            Ok(resolved) => Ok(Some(resolved)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the id of a stream by the SHA-256 of its contents; `None` if it is not here. Looks at names only.
    ///
    /// # Errors
    /// [`Error::BadLink`], [`Error::Io`].
    pub fn has_stream(&self, sha256: &Sha256Digest) -> Result<Option<ObjectID>> {
        self.find(sha256)?.map(|found| ObjectID::from_native(&found.id).map_err(Error::caller)).transpose()
    }

    /// Stores a stream that was begun with a digest, names it by that, and gives it a ref that is new, if one is given.
    ///
    /// A stream that has the name already keeps it, and its id is returned.
    ///
    /// # Errors
    /// [`Error::NoDigest`], [`Error::ContentMismatch`], [`Error::RefExists`], what storing gives.
    pub fn write_stream(
        &self,
        writer: SplitStreamWriter<ObjectID>,
        reference: Option<&str>,
    ) -> Result<ObjectID> {
        let Some((_, sha256)) = writer.sha256 else { return Err(Error::NoDigest) };
        let reference = reference.map(RefName::new).transpose()?;
        if let Some(name) = &reference
            && self.reader().read_ref(Category::Streams, name)?.is_some()
        {
            return Err(Error::RefExists { category: Category::Streams, name: name.to_string() });
        }
        self.commit_stream(writer, &sha256, reference)
    }

    fn commit_stream(
        &self,
        stream: SplitStreamWriter<ObjectID>,
        sha256: &Sha256Digest,
        reference: Option<RefName>,
    ) -> Result<ObjectID> {
        let id = stream.done()?;
        let name = StreamName::new(hex(sha256))?;
        let native = self.writer()?;
        let kept = match native.stream_entry(&name)? {
            Some(there) if native.has_object(&there)? => Some(there),
            _ => None,
        };
        let mut commit = native.begin();
        if kept.is_none() {
            commit.stream(name.clone(), id.to_native());
        }
        if let Some(reference) = reference {
            commit.stream_ref(reference, &name);
        }
        commit.finish()?;
        kept.map_or(Ok(id), |kept| ObjectID::from_native(&kept).map_err(Error::caller))
    }

    /// Gives a stream a ref, by the SHA-256 of its contents; a ref of that name is moved.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such stream, [`Error::Name`].
    pub fn name_stream(&self, sha256: Sha256Digest, name: &str) -> Result<()> {
        let reference = RefName::new(name)?;
        let found = self.find(&sha256)?;
        let found =
            found.ok_or_else(|| Error::NotFound { category: Category::Streams, name: hex(&sha256) })?;
        let writer = self.writer()?;
        let mut commit = writer.begin();
        commit.stream_ref(reference, &StreamName::new(found.entry)?);
        commit.finish()
    }

    /// Makes sure that a stream is here: calls the function to write it if it is not. Then gives it a ref, if one is
    /// given; a ref of that name is moved.
    ///
    /// # Errors
    /// [`Error::ContentMismatch`], what the function or storing gives.
    pub fn ensure_stream(
        &self,
        sha256: &Sha256Digest,
        callback: impl FnOnce(&mut SplitStreamWriter<ObjectID>) -> Result<()>,
        reference: Option<&str>,
    ) -> Result<ObjectID> {
        if let Some(id) = self.has_stream(sha256)? {
            if let Some(reference) = reference {
                self.name_stream(*sha256, reference)?;
            }
            return Ok(id);
        }
        let reference = reference.map(RefName::new).transpose()?;
        let mut stream = self.create_stream(Some(*sha256), None);
        callback(&mut stream)?;
        self.commit_stream(stream, sha256, reference)
    }

    /// Finds a stream by its path below `streams/`, and checks its id if one is given.
    fn resolve(&self, name: &str, verity: Option<&ObjectID>) -> Result<ObjectId> {
        let reader = self.reader();
        let found = reader.resolve_stream(name)?.id;
        if let Some(expected) = verity.map(FsVerityHashValue::to_native) {
            if found != expected {
                return Err(Error::ObjectMismatch { id: expected, actual: found });
            }
            reader.check_object(&found)?;
        }
        Ok(found)
    }

    /// Opens a stream by its path below `streams/`: hex of a SHA-256, an identifier, or `refs/…`. With an id, the
    /// stream must have it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ObjectMismatch`], [`Error::Stream`].
    pub fn open_stream(
        &self,
        name: &str,
        verity: Option<&ObjectID>,
    ) -> Result<SplitStreamReader<File, ObjectID>> {
        let id = self.resolve(name, verity)?;
        let reader = self.reader();
        let stream = reader.open_stream(&id)?;
        SplitStreamReader::new(reader, id, stream)
    }

    /// Writes the original bytes of a stream.
    ///
    /// # Errors
    /// As [`Repository::open_stream`]; [`Error::Output`].
    pub fn merge_splitstream(
        &self,
        name: &str,
        verity: Option<&ObjectID>,
        output: &mut impl Write,
    ) -> Result<()> {
        let id = self.resolve(name, verity)?;
        let reader = self.reader();
        let stream = reader.open_stream(&id)?;
        reader.replay_stream(&id, &stream, output)?;
        Ok(())
    }
}
