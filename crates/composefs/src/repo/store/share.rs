//! Objects that share the blocks of files that are there already: a reflink in place of a copy.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{fstat, ioctl_ficlone},
    io::Errno,
};

use super::{ObjectFile, Writer};
use crate::{
    disk::beneath,
    error::{Error, Result, Step},
};

impl Writer {
    /// Starts an object that has the contents of `file` and shares its blocks; `None` where that cannot be, since the
    /// file is on another file system, or on one without this.
    ///
    /// The object keeps its contents whatever becomes of the file. Its digest must be that of
    /// [`ObjectFile::contents`], not of the file's, which may change meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`].
    #[doc(alias = "FICLONE")]
    pub fn share_file(&self, file: impl AsFd) -> Result<Option<ObjectFile>> {
        let temporary = self.temporary(None)?;
        match ioctl_ficlone(temporary.fd(), file) {
            Ok(()) => {}
            // Also for what a file system has against this file: attributes, swap, quotas of shared blocks.
            Err(
                Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOTTY | Errno::NOSYS | Errno::TXTBSY,
            ) => return Ok(None),
            Err(errno) => return Err(Error::io(Step::Write, self.path())(errno)),
        }
        let stat = fstat(temporary.fd()).map_err(Error::io(Step::Stat, self.path()))?;
        Ok(Some(ObjectFile { writer: self.clone(), temporary, size: beneath::size(&stat) }))
    }
}

impl ObjectFile {
    /// Opens what is written so far for reading, from the beginning. What is returned must be closed before
    /// [`ObjectFile::finish`], where fs-verity suffers no writer.
    ///
    /// # Errors
    /// What the system says.
    pub fn contents(&self) -> io::Result<File> {
        let fd: OwnedFd = self.temporary.fd().try_clone_to_owned()?;
        rustix::fs::seek(&fd, rustix::fs::SeekFrom::Start(0))?;
        Ok(File::from(fd))
    }
}
