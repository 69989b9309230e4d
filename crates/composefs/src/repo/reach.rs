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

/// Something to be read for what it needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Job {
    /// A stream.
    Stream(ObjectId),
    /// An EROFS image.
    Image(ObjectId),
    /// An id named by a stream; what it is must be looked at.
    Named(ObjectId),
}

/// What a job turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// A stream.
    Stream,
    /// An image whose files have so many bytes.
    Image(u64),
    /// An object that needs no others.
    Plain,
}

impl Job {
    pub(super) const fn id(self) -> ObjectId {
        let (Self::Stream(id) | Self::Image(id) | Self::Named(id)) = self;
        id
    }

    /// Reads it: tells `found` the objects that it names, perhaps more than once, and adds to `pending` what must be
    /// read besides. `is_entry` tells whether an entry in `streams/` leads to an id.
    pub(super) fn read(
        self,
        repository: &Repository,
        is_entry: &dyn Fn(&ObjectId) -> bool,
        found: &mut dyn FnMut(ObjectId),
        pending: &mut Vec<Self>,
    ) -> Result<Met> {
        match self {
            Self::Stream(id) => read_stream(repository, &id, found, pending),
            Self::Image(id) => {
                let contents = repository.image_contents(&id)?;
                contents.objects.into_iter().for_each(found);
                Ok(Met::Image(contents.file_bytes))
            }
            Self::Named(id) if is_entry(&id) || repository.is_stream(&id)? => {
                read_stream(repository, &id, found, pending)
            }
            Self::Named(_) => Ok(Met::Plain),
        }
    }
}

fn read_stream(
    repository: &Repository,
    id: &ObjectId,
    found: &mut dyn FnMut(ObjectId),
    pending: &mut Vec<Job>,
) -> Result<Met> {
    if !repository.is_verified() {
        // The kernel does not vouch for the tables, and by them objects are kept or not.
        repository.check_object(id)?;
    }
    let stream = repository.open_stream(id)?;
    stream.for_each_object(found).map_err(|source| Error::Stream { id: *id, source: Box::new(source) })?;
    pending.extend(stream.v03_map().iter().map(|entry| Job::Stream(entry.stream)));
    pending.extend(stream.named_refs().map(|(name, named)| {
        if name.starts_with(IMAGE_KEY) { Job::Image(named) } else { Job::Named(named) }
    }));
    // Ids without a name mean nothing to us; they may to somebody else.
    stream.stream_refs().iter().for_each(found);
    Ok(Met::Stream)
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
            let live = &mut self.live;
            let mut found = |object| {
                live.insert(object);
            };
            let result = job.read(repository, is_entry, &mut found, &mut self.pending);
            if matches!(result, Ok(Met::Plain)) {
                continue;
            }
            self.walked.insert(id);
            if let Err(error) = result {
                self.failed.push(job);
                self.unreadable.push(Unreadable { id, error });
            }
        }
    }
}
