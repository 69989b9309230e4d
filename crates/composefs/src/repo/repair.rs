//! Mending objects and their fs-verity, and what is known about objects that are no good.
//!
//! A good object is never touched: whatever replaces one looks again first, and replaces it in one step by contents that
//! are on disk already. Where contents come from is not known here; whoever has them stores them.
//!
//! # Format
//! `docs/formats/repository.md`, sections 3 and 8.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    os::unix::fs::FileExt as _,
    sync::{Mutex, PoisonError},
};

use rustix::fs::FileType;
use serde::Serialize;

use super::{
    CheckReport, Repository, Sweeper, Writer,
    check::{Fault, Subject},
    fan_out, layout,
    object::{Opened, hash_file},
};
use crate::{
    digest::ObjectId,
    disk::{
        barrier::Barrier,
        beneath::{self, Listed},
        verity::{self, Measured},
    },
    error::{Category, Error, Result, Step},
    progress::{Event, Observer},
};

/// What is wrong with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// Its contents are right, and it has no fs-verity though it should.
    VerityMissing,
    /// It is there and its contents are not what its name says, or cannot be read.
    Damaged,
    /// It is not there.
    Missing,
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::VerityMissing => "without fs-verity",
            Self::Damaged => "damaged",
            Self::Missing => "missing",
        })
    }
}

/// The objects that are no good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage(BTreeMap<ObjectId, Harm>);

impl Damage {
    /// Collects the objects that findings are about. Those without fs-verity are hashed, and so are those of streams
    /// that could not be read whole.
    ///
    /// # Errors
    /// None today: what cannot be read is damage.
    pub fn new(repository: &Repository, report: &CheckReport, threads: usize) -> Result<Self> {
        let mut damage = Self::default();
        let mut doubtful = BTreeSet::new();
        for finding in &report.findings {
            match (&finding.fault, &finding.subject) {
                (Fault::ObjectVerityMissing, Subject::Object(id)) => {
                    doubtful.insert(*id);
                }
                (_, Subject::Object(id)) => damage.add(*id, Harm::Damaged),
                (Fault::MissingObjectRef(id) | Fault::ImageMissingObject(id), _) => {
                    damage.add(*id, Harm::Missing);
                }
                (Fault::MissingNamedRef { id, .. }, _) => damage.add(*id, Harm::Missing),
                // Which of its objects is the reason is found by reading them all.
                (
                    Fault::StreamRead(_)
                    | Fault::StreamOpen(_)
                    | Fault::StreamContents { .. }
                    | Fault::ImageRead(_)
                    | Fault::ImageOpen(_),
                    Subject::Entry { category, id: Some(id), .. },
                ) => doubtful.extend(objects_behind(repository, *category, id)),
                _ => {}
            }
        }
        let doubtful: Vec<ObjectId> = doubtful.into_iter().filter(|id| damage.of(id).is_none()).collect();
        let found = Mutex::new(Vec::new());
        fan_out::each(&doubtful, threads, |id| {
            if let Some(harm) = repository.examine_thoroughly(id) {
                found.lock().unwrap_or_else(PoisonError::into_inner).push((*id, harm));
            }
            Ok(())
        })?;
        for (id, harm) in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            damage.add(id, harm);
        }
        Ok(damage)
    }

    /// Notes that an object is no good.
    pub fn add(&mut self, id: ObjectId, harm: Harm) {
        let known = self.0.entry(id).or_insert(harm);
        *known = harm.max(*known);
    }

    /// Forgets an object that was mended.
    pub fn mended(&mut self, id: &ObjectId) {
        self.0.remove(id);
    }

    /// Returns what is wrong with an object, if anything is known to be.
    #[must_use]
    pub fn of(&self, id: &ObjectId) -> Option<Harm> {
        self.0.get(id).copied()
    }

    /// Tells whether an object can be used as it is.
    #[must_use]
    pub fn spares(&self, id: &ObjectId) -> bool {
        matches!(self.of(id), None | Some(Harm::VerityMissing))
    }

    /// Walks the objects in order.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectId, Harm)> {
        self.0.iter().map(|(id, harm)| (id, *harm))
    }

    /// Tells whether all is well.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns an object that an entry leads to, and those that it names, as far as that can be read.
fn objects_behind(repository: &Repository, category: Category, id: &ObjectId) -> Vec<ObjectId> {
    let mut behind = vec![*id];
    if category == Category::Streams
        && let Ok(stream) = repository.open_stream(id)
    {
        behind.extend(stream.object_refs().iter());
    }
    behind
}

/// What came of enabling fs-verity on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerityState {
    /// It had it.
    There,
    /// It has it now.
    Enabled,
}

impl Repository {
    /// Computes an object's digest from what is read, whatever the kernel says about it.
    ///
    /// # Errors
    /// [`Error::ObjectMissing`], [`Error::Io`].
    pub fn hash_object(&self, id: &ObjectId) -> Result<ObjectId> {
        let (Opened { fd, size, .. }, _) = self.open_raw(id)?;
        hash_file(fd, size, id).map_err(|error| self.object_error(Step::Read, id, error))
    }

    /// Says what is wrong with an object, after reading all of it.
    fn examine_thoroughly(&self, id: &ObjectId) -> Option<Harm> {
        match self.hash_object(id) {
            Ok(actual) if actual == *id => match self.open_object(id) {
                Ok(_) => None,
                Err(Error::VerityMissing { .. }) => Some(Harm::VerityMissing),
                Err(_) => Some(Harm::Damaged),
            },
            Err(error) if error.is_missing() => Some(Harm::Missing),
            _ => Some(Harm::Damaged),
        }
    }

    /// Calls `found` with each object and its size, in the order of ids within a directory; names that are none of an
    /// object's are passed over.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn each_object(&self, found: &mut dyn FnMut(ObjectId, u64)) -> Result<()> {
        let Some(objects) = self.objects()? else { return Ok(()) };
        let path = self.path_of(layout::OBJECTS);
        for Listed { name: prefix, kind } in beneath::list(objects).map_err(Error::io(Step::List, &path))? {
            if kind != FileType::Directory || prefix.as_bytes().len() != 2 {
                continue;
            }
            let Some(directory) = beneath::open_directory(objects, &path, [prefix.as_bytes()])? else {
                continue;
            };
            let below = path.join(beneath::os(prefix.as_bytes()));
            for Listed { name, .. } in beneath::list(&directory).map_err(Error::io(Step::List, &below))? {
                let hex = [prefix.as_bytes(), name.as_bytes()].concat();
                let Ok(id) = ObjectId::from_hex(self.algorithm(), &hex) else { continue };
                let stat = beneath::stat(&directory, &name)
                    .map_err(|errno| self.object_error(Step::Stat, &id, errno.into()))?;
                if let Some(stat) = stat.filter(|stat| beneath::kind(stat) == FileType::RegularFile) {
                    found(id, beneath::size(&stat));
                }
            }
        }
        Ok(())
    }

    /// Tells whether an object's contents begin with some bytes.
    ///
    /// # Errors
    /// [`Error::ObjectMissing`], [`Error::Io`].
    pub fn begins_with(&self, id: &ObjectId, bytes: &[u8]) -> Result<bool> {
        let (opened, _) = self.open_raw(id)?;
        let mut found = vec![0; bytes.len()];
        match std::fs::File::from(opened.fd).read_exact_at(&mut found, 0) {
            Ok(()) => Ok(found == bytes),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(self.object_error(Step::Read, id, error)),
        }
    }

    /// Switches fs-verity on for an object as it is. Its contents are read first: what is not as the name says is left.
    fn protect(&self, id: &ObjectId) -> Result<VerityState> {
        let (Opened { fd, size, .. }, measured) = self.open_raw(id)?;
        let check = |measured| match measured {
            Measured::Digest(actual) if actual == *id => Ok(()),
            Measured::Digest(actual) => Err(Error::ObjectMismatch { id: *id, actual }),
            Measured::OtherAlgorithm(number) => Err(Error::VerityAlgorithm {
                path: self.path_of(layout::object_path(id)),
                number,
                expected: id.algorithm(),
            }),
            Measured::Missing => Err(Error::VerityUnsupported { path: self.path().to_owned() }),
        };
        if measured != Measured::Missing {
            return check(measured).map(|()| VerityState::There);
        }
        let copy = fd.try_clone().map_err(|error| self.object_error(Step::Open, id, error))?;
        let actual = hash_file(copy, size, id).map_err(|error| self.object_error(Step::Read, id, error))?;
        if actual != *id {
            return Err(Error::ObjectMismatch { id: *id, actual });
        }
        verity::enable_in_place(&fd, id.algorithm())
            .map_err(|error| self.object_error(Step::EnableVerity, id, error))?;
        // Somebody may have written between reading and now; nobody can any more.
        let measured = verity::measure(&fd, id.algorithm())
            .map_err(|error| self.object_error(Step::MeasureVerity, id, error))?;
        check(measured).map(|()| VerityState::Enabled)
    }
}

impl Writer {
    /// Enables fs-verity on an object where it is, after reading it.
    ///
    /// # Errors
    /// [`Error::ObjectMismatch`] if its contents are not what its name says; it is left as it is then, and is to be
    /// stored again. [`Error::VerityUnsupported`]; [`Error::ObjectMissing`]; [`Error::Io`].
    #[doc(alias = "FS_IOC_ENABLE_VERITY")]
    pub fn enable_verity(&self, id: &ObjectId) -> Result<VerityState> {
        let state = self.protect(id)?;
        if state == VerityState::Enabled {
            self.state.barrier.mark();
        }
        Ok(state)
    }
}

impl Sweeper {
    /// Makes the repository a verified one: fs-verity on every object, and then on `meta.json`, by which everybody
    /// knows. Returns on how many objects it was enabled.
    ///
    /// # Errors
    /// As [`Writer::enable_verity`]; the repository is as insecure as before then, and objects that have fs-verity keep
    /// it. [`Error::Io`].
    pub fn make_verified(&self, threads: usize, observer: &dyn Observer) -> Result<usize> {
        let durable = Barrier::open(self.directory(), self.path())?;
        let mut objects = Vec::new();
        self.each_object(&mut |id, _| objects.push(id))?;
        let name = "fs-verity";
        observer.event(&Event::Begin { what: "objects", name, total: u64::try_from(objects.len()).ok() });
        let enabled = Mutex::new(0_usize);
        let outcome = fan_out::each(&objects, threads, |id| {
            if self.protect(id)? == VerityState::Enabled {
                let mut enabled = enabled.lock().unwrap_or_else(PoisonError::into_inner);
                *enabled = enabled.saturating_add(1);
            }
            observer.event(&Event::Advance { name, by: 1 });
            Ok(())
        });
        observer.event(&Event::Done { name });
        outcome?;
        // A sync of `meta.json` alone may be durable before what was done to other files.
        durable.wait()?;
        let path = self.path_of(layout::META);
        let meta =
            beneath::open_file(self.directory(), layout::META).map_err(Error::io(Step::Open, &path))?;
        verity::enable_in_place(&meta, self.algorithm()).map_err(Error::io(Step::EnableVerity, &path))?;
        // All of the file system once more: what a file was given later need not be in its own log.
        durable.wait()?;
        Ok(enabled.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests;
