//! A repository: objects, the entries that name streams and images, and the refs that keep them.
//!
//! [`Repository`] reads, [`Writer`] stores objects and commits names, [`Sweeper`] removes what nothing
//! needs. All share one lock: a handle keeps collectors away for as long as it lives.
//!
//! # Format
//! `docs/formats/repository.md`.

pub mod layout;
pub mod meta;
pub mod open;
pub mod create;
pub mod object;
pub mod store;
pub mod fan_out;
mod presence;
pub mod ingest;
pub mod entry;
pub mod refs;
pub mod commit;
pub mod note;
pub mod contents;
pub mod space;
mod reach;
pub mod lease;
pub mod session;
pub mod unlocked;
mod used;
pub mod referrer;
pub mod gc;
pub mod usage;
pub mod check;
pub mod repair;

pub use crate::disk::lock::Wait;
pub use check::{CheckOptions, CheckReport, MetaState};
pub use commit::Commit;
pub use create::{InitOptions, InitOutcome, init};
pub use entry::Resolved;
pub use gc::{Candidate, GcOptions, GcPlan, GcReport, Limit};
pub use ingest::{BATCH_FILES, Batch, IngestStats, Lane, PoolOptions, StorePool};
pub use meta::{ErofsFormats, Meta, file::supports_verity};
pub use open::{OpenOptions, Origin, system_path, user_path};
pub use repair::{Damage, Harm};
pub use session::Session;
pub use space::FreeSpace;
pub use store::{ObjectFile, ObjectWriter, Stored};
pub use unlocked::{OpenObject, UnlockedObjects};

use std::{
    fmt,
    ops::Deref,
    os::fd::{BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use crate::{
    digest::{Algorithm, ObjectId},
    disk::{beneath, lock::Locked},
    error::{Error, Result},
};

/// Read access to a repository. Cloning is cheap; the shared lock is held until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Repository {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    locked: Arc<Locked>,
    origin: Origin,
    algorithm: Algorithm,
    verified: bool,
    /// Whether this run does without fs-verity, though the repository may be verified.
    insecure: bool,
    /// `objects/`, once it was seen to exist.
    objects: OnceLock<OwnedFd>,
}

impl Repository {
    fn assemble(
        locked: Arc<Locked>,
        origin: Origin,
        algorithm: Algorithm,
        verified: bool,
        insecure: bool,
    ) -> Self {
        let shared = Shared { locked, origin, algorithm, verified, insecure, objects: OnceLock::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the path the repository was opened by, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.locked.path()
    }

    /// Returns the repository's directory.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.shared.locked.directory()
    }

    /// Returns the algorithm of all ids.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.shared.algorithm
    }

    /// Tells whether every object must have fs-verity. If not, contents are checked in user space.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.shared.verified && !self.shared.insecure
    }

    /// Returns where the settings come from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.shared.origin
    }

    /// Tells whether the repository has no `meta.json` and was written before there was one.
    #[must_use]
    pub fn is_old(&self) -> bool {
        matches!(self.shared.origin, Origin::Old { .. })
    }

    /// Returns the EROFS formats of new images.
    #[must_use]
    pub fn erofs_formats(&self) -> ErofsFormats {
        self.shared.origin.erofs_formats()
    }

    fn path_of(&self, below: impl AsRef<Path>) -> PathBuf {
        self.path().join(below)
    }

    /// Returns `objects/`; `None` while it does not exist.
    fn objects(&self) -> Result<Option<BorrowedFd<'_>>> {
        use std::os::fd::AsFd as _;
        if let Some(objects) = self.shared.objects.get() {
            return Ok(Some(objects.as_fd()));
        }
        let opened = beneath::open_directory(self.directory(), self.path(), [layout::OBJECTS.as_bytes()])?;
        Ok(opened.map(|fd| self.shared.objects.get_or_init(|| fd).as_fd()))
    }

    /// Refuses an id of another algorithm.
    fn check_id(&self, id: &ObjectId) -> Result<()> {
        if id.algorithm() == self.algorithm() {
            Ok(())
        } else {
            Err(Error::ForeignId { id: *id, algorithm: self.algorithm() })
        }
    }
}

/// Read and write access to a repository. Cloning is cheap; clones share what they know about objects.
#[derive(Clone)]
pub struct Writer {
    repository: Repository,
    state: Arc<store::State>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("repository", &self.repository).finish_non_exhaustive()
    }
}

impl Deref for Writer {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.repository
    }
}

impl Writer {
    /// Returns the reading side.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Starts a commit of names.
    pub fn begin(&self) -> Commit<'_> {
        Commit::new(self)
    }
}

/// A repository under the exclusive lock: nobody else reads or writes it. The lock is shared again afterwards.
#[derive(Debug)]
pub struct Sweeper {
    repository: Repository,
}

impl Deref for Sweeper {
    type Target = Repository;

    fn deref(&self) -> &Repository {
        &self.repository
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.repository.shared.locked.end_sweeping();
    }
}

impl Repository {
    /// Takes the exclusive lock. What was read before must be read again: the conversion is not atomic, and
    /// while it waits, clones of this handle read without protection from other collectors.
    ///
    /// # Errors
    /// [`Error::InUse`] if others keep the repository longer than `wait`, [`Error::InUseHere`] while a
    /// [`Writer`] made from this handle or its clones lives, [`Error::ReadOnly`] as for a writer. An old
    /// repository gets its `meta.json` here: without objects nothing would tell what it was.
    pub fn sweeper(&self, wait: Wait) -> Result<Sweeper> {
        let repository = self.for_writing()?;
        repository.shared.locked.begin_sweeping(wait)?;
        Ok(Sweeper { repository })
    }
}
