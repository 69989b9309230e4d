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
    /// Those that say themselves when they need the lock; without any, it is always needed.
    sessions: usize,
    /// Of these, how many need it now.
    pins: usize,
    /// Whether the lock was given up, since no one needs it.
    released: bool,
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

    /// Counts one more session, which needs the lock for now.
    ///
    /// # Errors
    /// [`Error::InUseHere`] while a handle of this descriptor sweeps, [`Error::Io`] if another session has given the
    /// lock up and it cannot be taken again.
    pub(crate) fn begin_session(&self) -> Result<()> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if users.sweeping {
            return Err(Error::InUseHere { path: self.path.clone() });
        }
        self.take_back(&mut users)?;
        users.sessions = users.sessions.saturating_add(1);
        users.pins = users.pins.saturating_add(1);
        Ok(())
    }

    /// Counts one session less, which needs the lock (`pinned`) or has lost it.
    pub(crate) fn end_session(&self, pinned: bool) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.sessions = users.sessions.saturating_sub(1);
        users.pins = users.pins.saturating_sub(usize::from(pinned));
        if users.sessions > 0 {
            self.give_up(&mut users);
        } else if let Err(error) = self.take_back(&mut users) {
            // What is left is a handle that counts on the lock for as long as it lives.
            tracing::warn!(path = %self.path.display(), %error, "shared lock was not taken back");
        }
    }

    /// Says that a session needs the lock, and takes it if it was given up.
    ///
    /// # Errors
    /// [`Error::Io`]; the session does without it then.
    pub(crate) fn pin(&self) -> Result<()> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_back(&mut users)?;
        users.pins = users.pins.saturating_add(1);
        Ok(())
    }

    /// Says that a session does without the lock for now; the last one gives it up.
    pub(crate) fn unpin(&self) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.pins = users.pins.saturating_sub(1);
        self.give_up(&mut users);
    }

    /// Gives the lock up unless a session needs it.
    fn give_up(&self, users: &mut Users) {
        if users.pins == 0 && !users.released {
            // A lock that stays is no harm to anybody but to collectors, who wait.
            match retry_interrupted(|| flock(&self.directory, FlockOperation::Unlock)) {
                Ok(()) => users.released = true,
                Err(error) => {
                    tracing::debug!(path = %self.path.display(), %error, "shared lock was not given up");
                }
            }
        }
    }

    /// Takes the lock that was given up. Others of this process wait meanwhile: they need it, too.
    fn take_back(&self, users: &mut Users) -> Result<()> {
        if users.released {
            self.acquire(FlockOperation::LockShared, FlockOperation::NonBlockingLockShared, Wait::Forever)?;
            users.released = false;
        }
        Ok(())
    }

    /// Makes the lock exclusive. Not atomic: what was read before may have changed.
    ///
    /// # Errors
    /// [`Error::InUseHere`] while a handle of this descriptor writes or sweeps, [`Error::InUse`] if other
    /// processes keep it longer than `wait`; the shared lock is held again then.
    pub(crate) fn begin_sweeping(&self, wait: Wait) -> Result<()> {
        {
            let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            if users.sweeping || users.writers > 0 || users.sessions > 0 {
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
