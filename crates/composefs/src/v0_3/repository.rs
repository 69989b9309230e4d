//! A repository as 0.3 uses it: one handle for reading and writing, names as text.
//!
//! # Format
//! `docs/formats/oci.md`, section 8, "Mapping of this API".

mod check;
mod image;
mod stream;

use std::{
    fmt,
    marker::PhantomData,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::fs::CWD;

use super::fsverity::{self, FsVerityHashValue};
use crate::{
    error::{Error, Result, Step},
    progress::Silent,
    repo::{self, GcOptions, GcPlan, OpenOptions, Wait, Writer},
};

/// A repository whose ids are of one algorithm. Nothing is written before it has to be.
pub struct Repository<ObjectID: FsVerityHashValue> {
    state: Mutex<State>,
    ids: PhantomData<ObjectID>,
}

struct State {
    /// What is known about the repository: as it was opened, or as the first write left it.
    reader: repo::Repository,
    writer: Option<Writer>,
}

impl<ObjectID: FsVerityHashValue> Repository<ObjectID> {
    /// Opens the repository at a path, taken from `dirfd` if relative, and takes the shared lock. An empty directory
    /// is one, and gets its `meta.json` with the first write.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such directory; [`Error::Meta`], [`Error::AlgorithmMismatch`].
    pub fn open_path(dirfd: impl AsFd, path: impl AsRef<Path>) -> Result<Self> {
        let algorithm = Some(fsverity::algorithm::<ObjectID>());
        let options = OpenOptions::default().algorithm(algorithm).allow_empty(true);
        Ok(Self::over(repo::Repository::open(dirfd, path, &options)?))
    }

    /// Opens the user's repository, `$HOME/.var/lib/composefs`.
    ///
    /// # Errors
    /// As [`Repository::open_path`]; [`Error::Caller`] without `$HOME`.
    pub fn open_user() -> Result<Self> {
        let home = std::env::var_os("HOME").ok_or_else(|| Error::caller("HOME is not set"))?;
        Self::open_path(CWD, repo::user_path(Path::new(&home)))
    }

    /// Opens the system's repository, `/sysroot/composefs`.
    ///
    /// # Errors
    /// As [`Repository::open_path`].
    pub fn open_system() -> Result<Self> {
        Self::open_path(CWD, repo::system_path())
    }

    /// Wraps a native handle, whose algorithm must be that of `ObjectID`: other ids are refused when they are met.
    #[must_use]
    pub const fn over(reader: repo::Repository) -> Self {
        Self { state: Mutex::new(State { reader, writer: None }), ids: PhantomData }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the native handle for reading.
    #[must_use]
    pub fn reader(&self) -> repo::Repository {
        self.state().reader.clone()
    }

    /// Returns the native handle for writing; an empty or old repository gets its `meta.json` here.
    ///
    /// # Errors
    /// As [`repo::Repository::writer`].
    pub fn writer(&self) -> Result<Writer> {
        let mut state = self.state();
        if let Some(writer) = &state.writer {
            return Ok(writer.clone());
        }
        let writer = state.reader.writer()?;
        state.reader = writer.repository().clone();
        state.writer = Some(writer.clone());
        Ok(writer)
    }

    /// Stores contents as an object and returns their id.
    ///
    /// # Errors
    /// As [`Writer::store_bytes`].
    pub fn ensure_object(&self, data: &[u8]) -> Result<ObjectID> {
        let stored = self.writer()?.store_bytes(data)?;
        ObjectID::from_native(&stored.id).map_err(Error::caller)
    }

    /// As [`Repository::ensure_object`], and on the calling thread: the core has no runtime.
    ///
    /// # Errors
    /// As [`Repository::ensure_object`].
    #[allow(clippy::unused_async)]
    pub async fn ensure_object_async(&self, data: Vec<u8>) -> Result<ObjectID> {
        self.ensure_object(&data)
    }

    /// Opens an object whose contents are what its id says: without fs-verity they are hashed first.
    ///
    /// # Errors
    /// As [`repo::Repository::check_object`].
    pub fn open_object(&self, id: &ObjectID) -> Result<OwnedFd> {
        let (reader, id) = (self.reader(), id.to_native());
        if !reader.is_verified() {
            reader.check_object(&id)?;
        }
        reader.open_object(&id)
    }

    /// Removes what no ref needs. 0.3 only said what it would remove.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::InUseHere`] while streams are being written; if something reachable cannot be read
    /// nothing is removed, and that is the error.
    pub fn gc(&self) -> Result<()> {
        let reader = {
            let mut state = self.state();
            state.writer = None;
            state.reader.clone()
        };
        let mut plan = GcPlan::new(&reader, &GcOptions::default())?;
        if let Some(first) = plan.unreadable.drain(..).next() {
            return Err(first.error);
        }
        let report = plan.apply(&reader.sweeper(Wait::Forever)?, &Silent)?;
        report.unreadable.into_iter().next().map_or(Ok(()), |first| Err(first.error))
    }

    /// Flushes what was written to the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<()> {
        let reader = self.reader();
        rustix::fs::syncfs(reader.directory()).map_err(Error::io(Step::Sync, reader.path()))
    }
}

impl<ObjectID: FsVerityHashValue> fmt::Debug for Repository<ObjectID> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Repository").field(&self.state().reader).finish()
    }
}

#[cfg(test)]
mod tests;
