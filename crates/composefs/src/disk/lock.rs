//! The repository's one lock: `flock` on its directory, shared by every user, exclusive for the sweep.
//!
//! # Format
//! `docs/formats/repository.md`, section 5.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Result, Step};

/// A directory with a lock on it, held until this is dropped.
///
/// The lock belongs to the descriptor, so all handles made from one opening share it; who writes and who
/// sweeps among them is kept count of here.
#[derive(Debug)]
pub(crate) struct Locked {
    directory: OwnedFd,
    path: PathBuf,
    users: Mutex<Users>,
}

#[derive(Debug, Default)]
struct Users {
    writers: usize,
    sweeping: bool,
}

/// How long to wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Until it is free.
    Forever,
    /// So long, then [`Error::InUse`].
    AtMost(Duration),
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

impl Locked {
    /// Takes the shared lock on an open directory.
    pub(crate) fn shared(directory: OwnedFd, path: &Path, wait: Wait) -> Result<Self> {
        let locked = Self { directory, path: path.to_owned(), users: Mutex::default() };
        locked.acquire(FlockOperation::LockShared, FlockOperation::NonBlockingLockShared, wait)?;
        Ok(locked)
    }

    /// Returns the directory.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Returns the path the directory was opened by, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn acquire(&self, blocking: FlockOperation, trying: FlockOperation, wait: Wait) -> Result<()> {
        let Wait::AtMost(limit) = wait else {
            return retry_interrupted(|| flock(&self.directory, blocking))
                .map_err(Error::io(Step::Lock, &self.path));
        };
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match retry_interrupted(|| flock(&self.directory, trying)) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(Error::io(Step::Lock, &self.path)(io::Error::from(error))),
            }
            let waited = begin.elapsed();
            let Some(left) = limit.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Err(Error::InUse { path: self.path.clone(), waited });
            };
            std::thread::sleep(pause.min(left));
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// Counts one more writer among the handles of this descriptor.
    pub(crate) fn begin_writing(&self) -> Result<()> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.sweeping {
            return Err(Error::InUseHere { path: self.path.clone() });
        }
        users.writers = users.writers.saturating_add(1);
        Ok(())
    }

    /// Counts one writer less.
    pub(crate) fn end_writing(&self) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.writers = users.writers.saturating_sub(1);
    }

    /// Makes the lock exclusive. Not atomic: what was read before may have changed.
    ///
    /// # Errors
    /// [`Error::InUseHere`] while a handle of this descriptor writes or sweeps, [`Error::InUse`] if other
    /// processes keep it longer than `wait`; the shared lock is held again then.
    pub(crate) fn begin_sweeping(&self, wait: Wait) -> Result<()> {
        {
            let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            if users.sweeping || users.writers > 0 {
                return Err(Error::InUseHere { path: self.path.clone() });
            }
            users.sweeping = true;
        }
        self.acquire(FlockOperation::LockExclusive, FlockOperation::NonBlockingLockExclusive, wait)
            .inspect_err(|_| self.end_sweeping())
    }

    /// Makes the lock shared again.
    pub(crate) fn end_sweeping(&self) {
        // The kernel drops a lock that could not be converted, so this waits for it like an opener does.
        if let Err(error) = retry_interrupted(|| flock(&self.directory, FlockOperation::LockShared)) {
            tracing::warn!(path = %self.path.display(), %error, "shared lock was not taken back");
        }
        self.users.lock().unwrap_or_else(PoisonError::into_inner).sweeping = false;
    }
}

fn retry_interrupted(mut call: impl FnMut() -> rustix::io::Result<()>) -> rustix::io::Result<()> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            result => return result,
        }
    }
}
