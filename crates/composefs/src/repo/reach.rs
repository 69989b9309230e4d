//! The one walk from the roots: which objects something still needs.
//!
//! What cannot be read is remembered, not passed over: nobody knows what it needs.
//!
//! # Format
//! `docs/formats/repository.md`, section 7.

use std::collections::HashSet;

use super::Repository;
use crate::{
    digest::ObjectId,
    error::{Error, Result},
};

/// The named refs of configs whose name begins so lead to images.
const IMAGE_KEY: &str = "composefs.image";

/// Something reachable that could not be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its id.
    pub id: ObjectId,
    /// Why.
    pub error: Error,
}

/// What was reached so far. Roots may be added between walks; what was walked is not walked again.
#[derive(Debug, Default)]
pub(super) struct Reach {
    live: HashSet<ObjectId>,
    walked: HashSet<ObjectId>,
    pending: Vec<Job>,
    /// What could not be walked; the next walk tries again.
    failed: Vec<Job>,
    unreadable: Vec<Unreadable>,
}

#[derive(Clone, Copy, Debug)]
enum Job {
    Stream(ObjectId),
    Image(ObjectId),
    /// An id named by a stream; what it is must be looked at.
    Named(ObjectId),
}

impl Job {
    const fn id(self) -> ObjectId {
        let (Self::Stream(id) | Self::Image(id) | Self::Named(id)) = self;
        id
    }
}

impl Reach {
    /// Adds a stream that something names.
    pub(super) fn stream(&mut self, id: ObjectId) {
        self.pending.push(Job::Stream(id));
    }

    /// Adds an image that something names.
    pub(super) fn image(&mut self, id: ObjectId) {
        self.pending.push(Job::Image(id));
    }

    /// Tells whether something needs the object.
    pub(super) fn is_live(&self, id: &ObjectId) -> bool {
        self.live.contains(id)
    }

    /// Returns what could not be read.
    pub(super) fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// Takes what could not be read since this was called last.
    pub(super) fn take_unreadable(&mut self) -> Vec<Unreadable> {
        std::mem::take(&mut self.unreadable)
    }

    /// Walks from all roots added. `is_entry` tells whether an entry in `streams/` leads to an id.
    pub(super) fn walk(&mut self, repository: &Repository, is_entry: &dyn Fn(&ObjectId) -> bool) {
        self.unreadable.clear();
        for job in std::mem::take(&mut self.failed) {
            self.walked.remove(&job.id());
            self.pending.push(job);
        }
        while let Some(job) = self.pending.pop() {
            let id = job.id();
            self.live.insert(id);
            if self.walked.contains(&id) {
                continue;
            }
            let result = match job {
                Job::Stream(_) => self.walk_stream(repository, &id),
                Job::Image(_) => self.walk_image(repository, &id),
                Job::Named(_) if is_entry(&id) => self.walk_stream(repository, &id),
                Job::Named(_) => match repository.is_stream(&id) {
                    Ok(true) => self.walk_stream(repository, &id),
                    Ok(false) => continue,
                    Err(error) => Err(error),
                },
            };
            self.walked.insert(id);
            if let Err(error) = result {
                self.failed.push(job);
                self.unreadable.push(Unreadable { id, error });
            }
        }
    }

    fn walk_stream(&mut self, repository: &Repository, id: &ObjectId) -> Result<()> {
        if !repository.is_verified() {
            // The kernel does not vouch for the tables, and by them objects are kept or not.
            repository.check_object(id)?;
        }
        let stream = repository.open_stream(id)?;
        stream
            .for_each_object(&mut |object| {
                self.live.insert(object);
            })
            .map_err(|source| Error::Stream { id: *id, source: Box::new(source) })?;
        self.pending.extend(stream.v03_map().iter().map(|entry| Job::Stream(entry.stream)));
        self.pending.extend(stream.named_refs().map(|(name, named)| {
            if name.starts_with(IMAGE_KEY) { Job::Image(named) } else { Job::Named(named) }
        }));
        // Ids without a name mean nothing to us; they may to somebody else.
        self.live.extend(stream.stream_refs().iter());
        Ok(())
    }

    fn walk_image(&mut self, repository: &Repository, id: &ObjectId) -> Result<()> {
        self.live.extend(repository.image_objects(id)?);
        Ok(())
    }
}
