//! The repository's one lock: `flock` on its directory, shared by every user, exclusive for the sweep.
//!
//! The kernel gives a shared lock to whoever asks while others have one, so users that come without pause would keep a
//! collector out for ever. It closes the gate now and then, a second lock in front of the first: users wait there a
//! moment before they ask, and never longer, since one of them may be what another waits for.
//!
//! # Format
//! `docs/formats/repository.md`, sections 5 and 9.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use super::{beneath, publish::Modes};
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

/// The directory beside the repository that the gate is in, and the gate.
const BESIDE: &str = ".cfs";
const GATE: &str = ".cfs/gate";
/// How long the gate is closed at a time, and how long a user waits at it.
const CLOSED: Duration = Duration::from_secs(1);
/// How long it stays open then.
const OPEN: Duration = Duration::from_secs(4);

/// What came of trying.
enum Polled {
    /// The lock is ours.
    Locked,
    /// It was not to be had for so long.
    Busy(Duration),
}

impl Locked {
    /// Takes the shared lock on an open directory.
    pub(crate) fn shared(directory: OwnedFd, path: &Path, wait: Wait) -> Result<Self> {
        let locked = Self { directory, path: path.to_owned(), users: Mutex::default() };
        locked.acquire_shared(wait)?;
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

    /// Takes the shared lock; a collector that waits goes first.
    fn acquire_shared(&self, wait: Wait) -> Result<()> {
        self.pass_the_gate(wait);
        if wait == Wait::Forever {
            return retry_interrupted(|| flock(&self.directory, FlockOperation::LockShared))
                .map_err(Error::io(Step::Lock, &self.path));
        }
        match self.poll(FlockOperation::NonBlockingLockShared, wait, LONGEST_PAUSE)? {
            Polled::Locked => Ok(()),
            Polled::Busy(waited) => Err(Error::InUse { path: self.path.clone(), waited }),
        }
    }

    /// Takes the exclusive lock, with the gate closed for a part of the time.
    fn acquire_exclusive(&self, wait: Wait) -> Result<()> {
        let begin = Instant::now();
        let exclusive = FlockOperation::NonBlockingLockExclusive;
        if let Polled::Locked = self.poll(exclusive, Wait::AtMost(Duration::ZERO), FIRST_PAUSE)? {
            return Ok(());
        }
        loop {
            for (closed, longest) in [(true, CLOSED), (false, OPEN)] {
                let left = match wait {
                    Wait::Forever => longest,
                    Wait::AtMost(limit) => limit.saturating_sub(begin.elapsed()).min(longest),
                };
                let pause = if closed { FIRST_PAUSE } else { LONGEST_PAUSE };
                // Another collector that has closed it does so for both.
                let gate = if closed { self.close_the_gate() } else { None };
                let polled = self.poll(exclusive, Wait::AtMost(left), pause);
                drop(gate);
                if let Polled::Locked = polled? {
                    return Ok(());
                }
                let waited = begin.elapsed();
                if matches!(wait, Wait::AtMost(limit) if waited >= limit) {
                    return Err(Error::InUse { path: self.path.clone(), waited });
                }
            }
        }
    }

    /// Tries a lock again and again, with longer and longer pauses.
    fn poll(&self, trying: FlockOperation, wait: Wait, longest_pause: Duration) -> Result<Polled> {
        let begin = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match retry_interrupted(|| flock(&self.directory, trying)) {
                Ok(()) => return Ok(Polled::Locked),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(Error::io(Step::Lock, &self.path)(io::Error::from(error))),
            }
            let waited = begin.elapsed();
            let left = match wait {
                Wait::Forever => pause,
                Wait::AtMost(limit) => limit.saturating_sub(waited),
            };
            if left.is_zero() {
                return Ok(Polled::Busy(waited));
            }
            std::thread::sleep(pause.min(left));
            pause = pause.saturating_mul(2).min(longest_pause);
        }
    }

    /// Waits a moment if a collector has closed the gate. Where there is none, or it cannot be looked at, nobody waits.
    fn pass_the_gate(&self, wait: Wait) {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let Ok(gate) = beneath::open(&self.directory, GATE, flags, Mode::empty()) else { return };
        let begin = Instant::now();
        let limit = match wait {
            Wait::Forever => CLOSED,
            Wait::AtMost(limit) => limit.min(CLOSED),
        };
        let closed =
            || flock(&gate, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK);
        while closed() && begin.elapsed() < limit {
            std::thread::sleep(FIRST_PAUSE);
        }
    }

    /// Closes the gate until what is returned is dropped; nothing where that cannot be done.
    fn close_the_gate(&self) -> Option<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let close = || -> io::Result<OwnedFd> {
            let modes = Modes::new();
            modes.make_directory(&self.directory, BESIDE)?;
            let gate = beneath::open(&self.directory, GATE, flags, Modes::FILE)?;
            // Users have it for a moment, other collectors for as long as the gate is closed.
            flock(&gate, FlockOperation::NonBlockingLockExclusive)?;
            Ok(gate)
        };
        close().inspect_err(|error| tracing::debug!(%error, "the gate is not closed")).ok()
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
            self.acquire_shared(Wait::Forever)?;
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
        self.acquire_exclusive(wait).inspect_err(|_| self.end_sweeping())
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn shared(path: &Path) -> Locked {
        Locked::shared(std::fs::File::open(path).unwrap().into(), path, Wait::Forever).unwrap()
    }

    #[test]
    fn users_without_pause_keep_no_collector_out() {
        let directory = tempfile::tempdir().unwrap();
        let (path, done) = (directory.path(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for n in 0..6_u64 {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let lock = shared(path);
                        std::thread::sleep(Duration::from_millis(20 + n));
                        drop(lock);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(50));
            let collector = shared(path);
            let swept = collector.begin_sweeping(Wait::AtMost(Duration::from_secs(60)));
            collector.end_sweeping();
            done.store(true, Ordering::Relaxed);
            swept.unwrap();
        });
    }

    #[test]
    fn who_has_the_lock_gets_it_again_though_a_collector_waits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let first = shared(path);
        std::thread::scope(|scope| {
            let collector = scope.spawn(|| {
                let collector = shared(path);
                let swept = collector.begin_sweeping(Wait::Forever);
                collector.end_sweeping();
                swept
            });
            while !path.join(GATE).exists() {
                std::thread::sleep(FIRST_PAUSE);
            }
            // Waits for a moment, not for the collector, who waits for `first`.
            drop(shared(path));
            drop(first);
            collector.join().unwrap().unwrap();
        });
    }
}
