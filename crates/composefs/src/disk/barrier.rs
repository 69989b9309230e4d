//! Making writes durable: whole file systems, directories, files.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, fsync, openat, syncfs};

use crate::error::{Error, Result, Step};

/// A descriptor through which everything written to a file system after its opening can be made durable.
///
/// The kernel reports a failed write-back once to each descriptor that was open before it happened; so it is
/// opened before the first write and kept.
#[derive(Debug)]
pub(crate) struct Barrier {
    fd: OwnedFd,
    path: PathBuf,
}

impl Barrier {
    /// Opens a barrier on the file system of `directory`, with a description of its own.
    pub(crate) fn open(directory: impl AsFd, path: &Path) -> Result<Self> {
        let fd = openat(directory, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(Error::io(Step::Open, path))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Waits until everything written so far is durable: contents, names, all of the file system.
    pub(crate) fn wait(&self) -> Result<()> {
        #[cfg(test)]
        super::trace::note("barrier");
        syncfs(&self.fd).map_err(Error::io(Step::Sync, &self.path))
    }
}

/// Makes a directory's names, or a file's contents, durable.
pub(crate) fn sync(fd: impl AsFd, path: &Path) -> Result<()> {
    #[cfg(test)]
    super::trace::note(format!("sync {}", path.display()));
    fsync(fd).map_err(Error::io(Step::Sync, path))
}
