//! A directory outside of repositories that files are put into, each whole or not at all.
//!
//! The user's umask applies here, and symlinks are followed on the way to the directory, not within it.

use std::{
    ffi::OsString,
    fs::File,
    io::Write as _,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, flock, openat, unlinkat},
    io::retry_on_intr,
};

use super::{
    barrier::{self, Barrier},
    beneath,
    outside::make_directories,
    publish::{Modes, Nursery, Temporary},
};
use crate::error::{Error, Result, Step};

/// Begins the names of files on their way to their final name, where the file system has no unnamed ones.
const PREFIX: &str = ".tmp-composefs-";
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory, and what makes its contents durable.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    barrier: Barrier,
}

impl Folder {
    /// Opens a directory; makes it and what is missing above it.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn make(path: &Path) -> Result<Self> {
        make_directories(path, Mode::from_raw_mode(0o777))?;
        let fd = retry_on_intr(|| openat(CWD, path, DIRECTORY, Mode::empty()))
            .map_err(Error::io(Step::Open, path))?;
        Self::of(fd, path.to_owned())
    }

    /// Opens a directory within this one; makes it if it is missing. `name` is one component.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn folder(&self, name: &str) -> Result<Self> {
        let path = self.path.join(name);
        beneath::make_directory(&self.fd, name, Mode::from_raw_mode(0o777))
            .map_err(Error::io(Step::MakeDirectory, &path))?;
        let fd = retry_on_intr(|| openat(&self.fd, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()))
            .map_err(Error::io(Step::Open, &path))?;
        Self::of(fd, path)
    }

    fn of(fd: OwnedFd, path: PathBuf) -> Result<Self> {
        let barrier = Barrier::open(&fd, &path)?;
        Ok(Self { fd, path, barrier })
    }

    /// Returns its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size in bytes of the regular file of this name; `None` if there is no such file.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn size(&self, name: &str) -> Result<Option<u64>> {
        let stat = beneath::stat(&self.fd, name).map_err(Error::io(Step::Stat, self.path.join(name)))?;
        Ok(stat.filter(|stat| beneath::kind(stat) == FileType::RegularFile).map(|stat| beneath::size(&stat)))
    }

    /// Reads the regular file of this name, of at most `limit` bytes; `None` if there is no such file.
    ///
    /// # Errors
    /// [`Error::Io`] with the path; a file that is larger is one too.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let fd = match beneath::open_file(&self.fd, name) {
            Ok(fd) => fd,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io(Step::Open, self.path.join(name))(error)),
        };
        beneath::read_all(fd, limit).map(Some).map_err(Error::io(Step::Read, self.path.join(name)))
    }

    /// Lists the names in it.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn names(&self) -> Result<Vec<OsString>> {
        let mut names = Vec::new();
        beneath::each(&self.fd, &mut |name, _| names.push(beneath::os(name.to_bytes()).to_owned()))
            .map_err(Error::io(Step::List, &self.path))?;
        Ok(names)
    }

    /// Begins a file that has no name in it yet.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn stage(&self) -> Result<Staged> {
        let make = || {
            let directory = self.fd.try_clone()?;
            let temporary = Temporary::create(nursery(&directory))?;
            let file = File::from(temporary.fd().try_clone_to_owned()?);
            Ok(Staged { directory, path: self.path.clone(), temporary, file })
        };
        make().map_err(Error::io::<std::io::Error>(Step::CreateTemporary, &self.path))
    }

    /// Puts a small file in the place of whatever has its name. After a crash the old or the new contents are there.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn put(&self, name: &str, contents: &[u8]) -> Result<()> {
        let mut staged = self.stage()?;
        staged.file().write_all(contents).map_err(Error::io(Step::Write, self.path.join(name)))?;
        staged.sync(name)?;
        staged.publish(name)?;
        barrier::sync(&self.fd, &self.path)
    }

    /// Removes a file; tells whether it was there.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn remove(&self, name: &str) -> Result<bool> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(error) => Err(Error::io(Step::Unlink, self.path.join(name))(error)),
        }
    }

    /// Waits until nobody else who asks this has it, and has it until the folder is dropped.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn lock(&self) -> Result<()> {
        flock(&self.fd, FlockOperation::LockExclusive).map_err(Error::io(Step::Lock, &self.path))
    }

    /// Waits until everything put into it, and below it, is durable.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn sync(&self) -> Result<()> {
        self.barrier.wait()
    }
}

fn nursery(directory: &OwnedFd) -> Nursery<'_> {
    Nursery { directory: directory.as_fd(), below: ".", prefix: PREFIX, modes: Modes::of_the_user() }
}

/// A file without a name. Nothing is left of it when it is dropped.
#[derive(Debug)]
pub struct Staged {
    directory: OwnedFd,
    path: PathBuf,
    temporary: Temporary,
    file: File,
}

impl Staged {
    /// Returns the file, to be written.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Makes the file durable before it gets its name, which is for messages.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn sync(&mut self, name: &str) -> Result<()> {
        self.temporary.settle(nursery(&self.directory), &self.path.join(name), None)
    }

    /// Gives the file its name, taking it from whatever has it.
    ///
    /// # Errors
    /// [`Error::Io`] with the path.
    pub fn publish(self, name: &str) -> Result<()> {
        let Self { directory, path, temporary, .. } = self;
        temporary
            .replace(nursery(&directory), &directory, name)
            .map_err(Error::io(Step::Rename, path.join(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::make(&directory.path().join("a/b")).unwrap();
        let staged = folder.stage().unwrap();
        staged.file().write_all(b"one").unwrap();
        assert_eq!(folder.size("x").unwrap(), None);
        staged.publish("x").unwrap();
        assert_eq!(folder.size("x").unwrap(), Some(3));
        let dropped = folder.stage().unwrap();
        dropped.file().write_all(b"two").unwrap();
        drop(dropped);
        folder.put("x", b"three").unwrap();
        assert_eq!(folder.read("x", 5).unwrap().as_deref(), Some(&b"three"[..]));
        assert!(folder.read("x", 4).is_err());
        assert_eq!(folder.names().unwrap(), ["x"]);
        folder.sync().unwrap();
        assert!(folder.remove("x").unwrap() && !folder.remove("x").unwrap());
    }

    #[test]
    fn nothing_leads_out_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::make(directory.path()).unwrap();
        std::os::unix::fs::symlink("/etc", directory.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("file")).unwrap();
        assert!(folder.folder("link").is_err());
        assert_eq!(folder.size("file").unwrap(), None);
        assert!(folder.read("file", 1 << 20).is_err());
        folder.put("file", b"x").unwrap();
        assert!(!std::fs::symlink_metadata(directory.path().join("file")).unwrap().is_symlink());
    }
}
