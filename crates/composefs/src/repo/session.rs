//! Work that does without the lock while it waits: a pull, for as long as its data come over a network.
//!
//! Without the lock nothing that is found or stored is safe from collectors, so whoever takes it back looks again at
//! all it relies on before it makes a name. Meanwhile a file says that the work goes on, and refs keep what it has
//! finished. Our collector spares what is newer than the file, too; others know only the refs.
//!
//! # Format
//! `docs/formats/repository.md`, section 9.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock},
    io::{Errno, retry_on_intr},
};

use super::{Origin, Repository, Writer, layout, lease::BootId, meta::file, store::State};
use crate::{
    disk::{
        beneath,
        publish::{self, Modes},
    },
    error::{Category, Error, Result, Step},
    name::StreamName,
};

/// Numbers the sessions of this process.
static NUMBER: AtomicU64 = AtomicU64::new(0);
/// So many names are tried for a record: a process that was killed may have had our number.
const ATTEMPTS: usize = 64;

/// Leave to give the shared lock up for a while. The lock is held but within [`Session::without_lock`].
///
/// While it is given up, other handles of the same opening are without it, too, unless they are sessions themselves.
pub struct Session {
    repository: Repository,
    /// What the writer knows about objects, which is worth nothing after a collection.
    state: Option<Arc<State>>,
    releases: AtomicU64,
    /// Whether the lock is ours again after it was given up.
    pinned: AtomicBool,
    record: Mutex<Announced>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("repository", &self.repository).finish_non_exhaustive()
    }
}

enum Announced {
    Not,
    /// It was tried, and can't be.
    Never,
    Yes(Record),
}

/// What says that a session is at work: a locked file, and refs to what it has finished.
struct Record {
    /// Below `.cfs/pulls/`; begins the names of the refs.
    name: String,
    /// Holds the lock on the file.
    _file: OwnedFd,
    /// How many refs were made.
    refs: u64,
}

impl Repository {
    /// Begins work that may give the lock up.
    ///
    /// # Errors
    /// [`Error::InUseHere`] while this opening sweeps, [`Error::Io`].
    pub fn session(&self) -> Result<Session> {
        Session::new(self, None)
    }
}

impl Writer {
    /// Begins work that may give the lock up, and leaves a record where others can see it while it does.
    ///
    /// # Errors
    /// As [`Repository::session`].
    pub fn session(&self) -> Result<Session> {
        Session::new(&self.repository, Some(Arc::clone(&self.state)))
    }
}

impl Session {
    fn new(repository: &Repository, state: Option<Arc<State>>) -> Result<Self> {
        repository.shared.locked.begin_session()?;
        Ok(Self {
            repository: repository.clone(),
            state,
            releases: AtomicU64::new(0),
            pinned: AtomicBool::new(true),
            record: Mutex::new(Announced::Not),
        })
    }

    /// Returns how often the lock was given up. What was read at another count may be gone.
    #[must_use]
    pub fn releases(&self) -> u64 {
        self.releases.load(Ordering::Relaxed)
    }

    /// Does `work` without the lock. Afterwards it is held again, and nothing that was known about objects is.
    ///
    /// # Errors
    /// [`Error::Io`] if the lock cannot be taken again, [`Error::MadeAnew`] if this is another repository now.
    pub fn without_lock<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.announce();
        self.releases.fetch_add(1, Ordering::Relaxed);
        let locked = &self.repository.shared.locked;
        self.pinned.store(false, Ordering::Relaxed);
        locked.unpin();
        // Also when `work` panics: `drop` must find what it expects.
        let back = Back { session: self };
        let value = work();
        back.take()?;
        if let Some(state) = &self.state {
            state.forget();
        }
        self.check_meta()?;
        Ok(value)
    }

    /// Does `work` with the lock, from within [`Session::without_lock`] too.
    ///
    /// # Errors
    /// As [`Session::without_lock`].
    pub fn with_lock<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        struct Unpin<'a>(&'a Session);
        impl Drop for Unpin<'_> {
            fn drop(&mut self) {
                self.0.repository.shared.locked.unpin();
            }
        }
        self.repository.shared.locked.pin()?;
        let _unpin = Unpin(self);
        if !self.pinned.load(Ordering::Relaxed) {
            self.check_meta()?;
        }
        Ok(work())
    }

    /// Keeps streams from collectors, ours and others', until the session ends; they must have entries. Only a session
    /// that has given the lock up does that. Nothing is synced: after a power cut there is no session.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep<'a>(&self, streams: impl IntoIterator<Item = &'a StreamName>) -> Result<()> {
        let mut announced = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let Announced::Yes(record) = &mut *announced else { return Ok(()) };
        let directory = make_directories(
            &self.repository,
            &[Category::Streams.directory(), layout::REFS, layout::PULLS],
        )?;
        for stream in streams {
            let name = format!("{}-{}", record.name, record.refs);
            let path = layout::ref_path(Category::Streams, &format!("{}/{name}", layout::PULLS));
            let target = layout::ref_target(2, stream.as_str());
            publish::swap_symlink(self.repository.directory(), &directory, &name, &target)
                .map_err(Error::io(Step::Symlink, self.repository.path_of(path)))?;
            record.refs = record.refs.saturating_add(1);
        }
        Ok(())
    }

    /// Says that we are at work, before the lock is given up for the first time. It goes without.
    fn announce(&self) {
        let mut announced = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.is_none() || !matches!(*announced, Announced::Not) {
            return;
        }
        *announced = match Record::create(&self.repository) {
            Ok(record) => Announced::Yes(record),
            Err(error) => {
                tracing::debug!(%error, "collectors are not told of this pull");
                Announced::Never
            }
        };
    }

    /// Makes sure that the repository is still the one that was opened.
    fn check_meta(&self) -> Result<()> {
        let Origin::Meta(meta) = self.repository.origin() else { return Ok(()) };
        let now = file::read(self.repository.directory(), self.repository.path())?;
        match now {
            Some((now, verified)) if now == *meta && verified == self.repository.shared.verified => Ok(()),
            _ => Err(Error::MadeAnew { path: self.repository.path().to_owned() }),
        }
    }
}

/// Takes the lock back when it is dropped, if that was not done before.
struct Back<'a> {
    session: &'a Session,
}

impl Back<'_> {
    fn take(self) -> Result<()> {
        let result = self.session.take_back();
        std::mem::forget(self);
        result
    }
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.session.take_back() {
            tracing::warn!(%error, "shared lock was not taken back");
        }
    }
}

impl Session {
    fn take_back(&self) -> Result<()> {
        self.repository.shared.locked.pin()?;
        self.pinned.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let announced = self.record.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Announced::Yes(record) = announced
            && let Err(error) = record.remove(&self.repository)
        {
            tracing::debug!(%error, "the record of this pull stays");
        }
        self.repository.shared.locked.end_session(self.pinned.load(Ordering::Relaxed));
    }
}

impl Record {
    fn create(repository: &Repository) -> Result<Self> {
        let boot = BootId::current()?;
        let directory = make_directories(repository, &[layout::BESIDE, layout::BESIDE_PULLS])?;
        let process = std::process::id();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut last = Errno::EXIST;
        for _ in 0..ATTEMPTS {
            let name = format!("{boot}-{process}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
            let path = || record_path(repository, &name);
            match beneath::open(&directory, name.as_str(), flags, Modes::FILE) {
                Ok(file) => {
                    // A collector that tries whether we live holds it for a moment.
                    retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
                        .map_err(Error::io(Step::Lock, path()))?;
                    return Ok(Self { name, _file: file, refs: 0 });
                }
                Err(Errno::EXIST) => last = Errno::EXIST,
                Err(errno) => return Err(Error::io(Step::CreateTemporary, path())(errno)),
            }
        }
        Err(Error::io(Step::CreateTemporary, repository.path_of(layout::BESIDE))(last))
    }

    fn remove(&self, repository: &Repository) -> Result<()> {
        if self.refs > 0 {
            let components = [Category::Streams.directory(), layout::REFS, layout::PULLS];
            let directory = beneath::open_directory(
                repository.directory(),
                repository.path(),
                components.map(str::as_bytes),
            )?;
            if let Some(directory) = directory {
                for number in 0..self.refs {
                    let name = format!("{}-{number}", self.name);
                    publish::remove(&directory, name.as_str()).map_err(Error::io(
                        Step::Unlink,
                        repository.path_of(components.join("/")).join(&name),
                    ))?;
                }
            }
        }
        let path = record_path(repository, &self.name);
        let below = format!("{}/{}/{}", layout::BESIDE, layout::BESIDE_PULLS, self.name);
        publish::remove(repository.directory(), below.as_str()).map_err(Error::io(Step::Unlink, path))?;
        Ok(())
    }
}

fn record_path(repository: &Repository, name: &str) -> PathBuf {
    repository.path_of(layout::BESIDE).join(layout::BESIDE_PULLS).join(name)
}

/// Opens a directory below the repository, making it and those above it.
pub(super) fn make_directories(repository: &Repository, components: &[&str]) -> Result<OwnedFd> {
    let modes = Modes::new();
    let mut below = PathBuf::new();
    for component in components {
        below.push(component);
        modes
            .make_directory(repository.directory(), below.as_path())
            .map_err(Error::io(Step::MakeDirectory, repository.path_of(&below)))?;
    }
    let path = repository.path_of(&below);
    beneath::open_directory(
        repository.directory(),
        repository.path(),
        components.iter().map(|component| component.as_bytes()),
    )?
    .ok_or_else(|| Error::io(Step::Open, path)(io::Error::from(io::ErrorKind::NotFound)))
}

/// When something was changed last, as the file system says: seconds and nanoseconds.
pub(super) type Time = (i64, i64);

/// The sessions there are, by their records.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// The names of those that are at work.
    live: Vec<String>,
    /// The records of those that are no more, paths below the repository.
    pub(super) dead: Vec<String>,
    /// When the first of the live ones began.
    pub(super) since: Option<Time>,
}

impl Sessions {
    /// Looks at all records. One that cannot be looked at counts as a live one's.
    pub(super) fn read(repository: &Repository) -> Result<Self> {
        let mut sessions = Self::default();
        let components = [layout::BESIDE, layout::BESIDE_PULLS];
        let opened =
            beneath::open_directory(repository.directory(), repository.path(), components.map(str::as_bytes));
        let directory = match opened {
            Ok(Some(directory)) => directory,
            Ok(None) => return Ok(sessions),
            // Somebody else's file has the name: then nobody has a record here.
            Err(Error::Io { source, .. })
                if matches!(Errno::from_io_error(&source), Some(Errno::NOTDIR | Errno::LOOP)) =>
            {
                return Ok(sessions);
            }
            Err(error) => return Err(error),
        };
        let path = repository.path_of(components.join("/"));
        for listed in beneath::list(&directory).map_err(Error::io(Step::List, &path))? {
            let Ok(name) = listed.name.to_str() else { continue };
            if session_of(&format!("{name}-0")) != Some(name) {
                continue;
            }
            let file = match beneath::open(
                &directory,
                name,
                OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK,
                Mode::empty(),
            ) {
                Ok(file) => file,
                Err(Errno::NOENT) => continue,
                Err(_) => {
                    sessions.live.push(name.to_owned());
                    continue;
                }
            };
            match retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockShared)) {
                Ok(()) => sessions.dead.push(format!("{}/{name}", components.join("/"))),
                Err(_) => {
                    sessions.live.push(name.to_owned());
                    let stat = rustix::fs::fstat(&file).map_err(Error::io(Step::Stat, path.join(name)))?;
                    let began = changed(&stat);
                    sessions.since = Some(sessions.since.map_or(began, |since| since.min(began)));
                }
            }
        }
        sessions.dead.sort_unstable();
        Ok(sessions)
    }

    /// Tells whether a ref below `streams/refs/` keeps something for a session that is no more.
    pub(super) fn is_stale(&self, name: &str) -> bool {
        name.strip_prefix(layout::PULLS)
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(session_of)
            .is_some_and(|session| !self.live.iter().any(|live| live == session))
    }

    /// Tells whether a path below the repository is the record of a session that is no more.
    pub(super) fn is_dead_record(&self, path: &str) -> bool {
        self.dead.binary_search_by(|dead| dead.as_str().cmp(path)).is_ok()
    }
}

/// Returns when a file was changed last, its names included.
pub(super) fn changed(stat: &rustix::fs::Stat) -> Time {
    (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0))
}

/// Returns the session's part of the name of one of its refs: `BOOT-PROCESS-NUMBER` of `BOOT-PROCESS-NUMBER-COUNT`.
fn session_of(name: &str) -> Option<&str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (session, count) = name.rsplit_once('-')?;
    let (front, number) = session.rsplit_once('-')?;
    let (boot, process) = front.rsplit_once('-')?;
    let good = [count, number, process].into_iter().all(is_number) && BootId::parse(boot).is_some();
    good.then_some(session)
}

#[cfg(test)]
mod tests;
