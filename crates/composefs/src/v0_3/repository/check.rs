//! Checking a stream, and all it refers to, by contents.

use std::{collections::HashSet, io};

use sha2::{Digest as _, Sha256};

use super::Repository;
use crate::{
    digest::ObjectId,
    error::{Category, Error, Result},
    v0_3::{
        fsverity::FsVerityHashValue,
        splitstream::{DigestMap, references},
        util::{Sha256Digest, hex},
    },
};

/// The names that a stream of a given SHA-256 may have, without the digest.
const PREFIXES: [&str; 5] =
    ["", "oci-layer-sha256:", "oci-config-sha256:", "oci-manifest-sha256:", "oci-blob-sha256:"];

impl<ObjectID: FsVerityHashValue> Repository<ObjectID> {
    /// Checks a stream in full: that it, and every stream it refers to, is what its id says, has the promised
    /// contents, and is named by the digest it is referred to by. Returns its id; `None` if it is not here.
    ///
    /// # Errors
    /// [`Error::ReferenceMismatch`], [`Error::ContentMismatch`], [`Error::ObjectMismatch`], what reading gives.
    pub fn check_stream(&self, sha256: &Sha256Digest) -> Result<Option<ObjectID>> {
        let Some(found) = self.find(sha256)? else { return Ok(None) };
        let mut pending = vec![(*sha256, found.id)];
        let mut done: HashSet<(Sha256Digest, ObjectId)> = HashSet::new();
        while let Some((body, id)) = pending.pop() {
            if !done.insert((body, id)) {
                continue;
            }
            for entry in self.check_one(&body, &id)?.map {
                let linked = entry.verity.to_native();
                self.check_named(&entry.body, &linked)?;
                pending.push((entry.body, linked));
            }
        }
        ObjectID::from_native(&found.id).map(Some).map_err(Error::caller)
    }

    /// Checks that one of the names for a digest leads to an id.
    fn check_named(&self, body: &Sha256Digest, id: &ObjectId) -> Result<()> {
        let (reader, hex) = (self.reader(), hex(body));
        for prefix in PREFIXES {
            if reader.entry(Category::Streams, &format!("{prefix}{hex}"))? == Some(*id) {
                return Ok(());
            }
        }
        Err(Error::ReferenceMismatch { body: hex, expected: *id })
    }

    /// Checks the bytes of one stream; returns what it refers to.
    fn check_one(&self, body: &Sha256Digest, id: &ObjectId) -> Result<DigestMap<ObjectID>> {
        let reader = self.reader();
        reader.check_object(id)?;
        let stream = reader.open_stream(id)?;
        let mut hash = Hashing(Sha256::new());
        reader.replay_stream(id, &stream, &mut hash)?;
        let actual: Sha256Digest = hash.0.finalize().into();
        if actual != *body {
            return Err(Error::ContentMismatch { expected: hex(body), actual: hex(&actual) });
        }
        references(&stream)
    }
}

struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
