//! Making writes durable: whole file systems, directories, files.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{Mode, OFlags, fsync, syncfs},
    io::Errno,
};

use super::beneath;
use crate::error::{Error, Result, Step};

/// A descriptor through which everything written to a file system after its opening can be made durable.
///
/// The kernel reports a failed write-back once to each descriptor that was open before it happened; so it is
/// opened before the first write and kept, and what it failed once it fails for good: asking again would
/// give success, and the data would be lost all the same.
#[derive(Debug)]
pub(crate) struct Barrier {
    fd: OwnedFd,
    path: PathBuf,
    /// Whether objects were named since the last wait.
    dirty: AtomicBool,
    failed: AtomicBool,
}

impl Barrier {
    /// Opens a barrier on the file system of `directory`, with a description of its own.
    pub(crate) fn open(directory: impl AsFd, path: &Path) -> Result<Self> {
        let fd = beneath::open(
            directory,
            c".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(Error::io(Step::Open, path))?;
        let (dirty, failed) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { fd, path: path.to_owned(), dirty, failed })
    }

    /// Notes that something was written which the next commit must wait for.
    pub(crate) fn mark(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Tells whether something was noted since the last wait.
    pub(crate) fn is_marked(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    /// Waits until everything written so far is durable: contents, names, all of the file system.
    pub(crate) fn wait(&self) -> Result<()> {
        #[cfg(test)]
        super::trace::note("barrier");
        if self.failed.load(Ordering::Acquire) {
            return Err(Error::io(Step::Sync, &self.path)(Errno::IO));
        }
        // Cleared first: what is written during the call may miss it, and waits for the next.
        self.dirty.store(false, Ordering::Release);
        syncfs(&self.fd).map_err(|errno| {
            self.failed.store(true, Ordering::Release);
            Error::io(Step::Sync, &self.path)(errno)
        })
    }
}

/// Makes a directory's names, or a file's contents, durable.
pub(crate) fn sync(fd: impl AsFd, path: &Path) -> Result<()> {
    #[cfg(test)]
    super::trace::note(format!("sync {}", path.display()));
    fsync(fd).map_err(Error::io(Step::Sync, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_barrier_never_succeeds_again() {
        let directory = tempfile::tempdir().unwrap();
        let fd = std::fs::File::open(directory.path()).unwrap();
        let barrier = Barrier::open(&fd, directory.path()).unwrap();
        barrier.wait().unwrap();
        barrier.failed.store(true, Ordering::Release);
        assert!(barrier.wait().unwrap_err().to_string().contains(directory.path().to_str().unwrap()));
    }
}
