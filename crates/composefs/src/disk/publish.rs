//! From temporary to final name, and replacing symlinks.
//!
//! After a crash a name made here is there or not; whether the contents behind it are whole is the business
//! of [`super::barrier`], which the caller passes before it makes names that imply completeness.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{
        AtFlags, CWD, Mode, OFlags, RenameFlags, fchmod, linkat, renameat, renameat_with, symlinkat, unlinkat,
    },
    io::Errno,
};

use super::{
    barrier::{self, Barrier},
    beneath,
};
use crate::error::{Error, Result, Step};

/// Begins the names of temporary objects, in `objects/`.
pub(crate) const OBJECT_PREFIX: &str = ".tmp-object-";
/// Begins the names of temporary symlinks, in the repository itself.
pub(crate) const SYMLINK_PREFIX: &str = ".symlink-";
/// Begins the names of a temporary `meta.json`.
pub(crate) const META_PREFIX: &str = ".meta-";

const ATTEMPTS: usize = 32;

/// Returns `prefix` and twelve random letters and digits.
fn temporary_name(prefix: &str) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut name = prefix.to_owned();
    // Keyed afresh from the system for each value; names need to be unlikely, not secret.
    let mut random = u128::from(RandomState::new().build_hasher().finish()) << 64
        | u128::from(RandomState::new().build_hasher().finish());
    for _ in 0..12 {
        let at = usize::try_from(random % 62).unwrap_or(0);
        name.push(LETTERS.get(at).copied().map_or('0', char::from));
        random /= 62;
    }
    name
}

/// Makes something under a fresh temporary name; returns the name with it.
pub(crate) fn with_temporary_name<T>(
    prefix: &str,
    mut make: impl FnMut(&str) -> rustix::io::Result<T>,
) -> io::Result<(String, T)> {
    for _ in 0..ATTEMPTS {
        let name = temporary_name(prefix);
        match make(&name) {
            Ok(made) => return Ok((name, made)),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::EXIST.into())
}

/// Which permission bits new files get, the process's umask notwithstanding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modes {
    /// Whether the umask takes something away, so that modes must be set by hand.
    umask_interferes: bool,
}

impl Modes {
    /// The mode of files.
    pub(crate) const FILE: Mode = Mode::from_raw_mode(0o644);
    /// The mode of directories.
    pub(crate) const DIRECTORY: Mode = Mode::from_raw_mode(0o755);

    /// Looks at the umask; it is read from `/proc`, since asking the kernel means changing it.
    pub(crate) fn new() -> Self {
        let umask = beneath::open_file(CWD, c"/proc/self/status")
            .and_then(|fd| beneath::read_all(fd, 1 << 20))
            .ok()
            .and_then(|status| {
                let text = String::from_utf8_lossy(&status).into_owned();
                let line = text.lines().find_map(|line| line.strip_prefix("Umask:"))?;
                u32::from_str_radix(line.trim(), 8).ok()
            });
        Self { umask_interferes: umask.is_none_or(|umask| umask & 0o755 != 0) }
    }

    /// Leaves it to the umask: for files of the user's own.
    pub(crate) const fn of_the_user() -> Self {
        Self { umask_interferes: false }
    }

    /// Gives a new file its mode, if the umask did not.
    pub(crate) fn apply_to_file(self, fd: impl AsFd) -> rustix::io::Result<()> {
        if self.umask_interferes { fchmod(fd, Self::FILE) } else { Ok(()) }
    }

    /// Makes a directory unless it is there; tells whether it was made.
    pub(crate) fn make_directory(
        self,
        parent: impl AsFd,
        name: impl rustix::path::Arg + Copy,
    ) -> io::Result<bool> {
        let made = beneath::make_directory(parent.as_fd(), name, Self::DIRECTORY)?;
        if made && self.umask_interferes {
            rustix::fs::chmodat(parent, name, Self::DIRECTORY, AtFlags::empty())?;
        }
        Ok(made)
    }
}

/// A file that has no final name yet. Nothing is left of it when it is dropped.
#[derive(Debug)]
pub(crate) struct Temporary {
    fd: OwnedFd,
    /// Where the file system has no unnamed files: the directory and the name it goes by meanwhile.
    named: Option<(OwnedFd, String)>,
}

/// Where temporaries are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nursery<'a> {
    /// The directory for named temporaries.
    pub(crate) directory: BorrowedFd<'a>,
    /// The directory below it for unnamed ones, the final one if it is known: file systems place the inode by it.
    pub(crate) below: &'a str,
    /// Begins the names of named ones.
    pub(crate) prefix: &'a str,
    /// What mode they get.
    pub(crate) modes: Modes,
}

/// Set once a link by empty path was refused for want of a capability (before Linux 6.10).
static NO_EMPTY_PATH: AtomicBool = AtomicBool::new(false);

impl Temporary {
    /// Makes an empty file, open for reading and writing.
    pub(crate) fn create(nursery: Nursery<'_>) -> io::Result<Self> {
        let unnamed = beneath::open(
            nursery.directory,
            nursery.below,
            OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
            Modes::FILE,
        );
        let temporary = match unnamed {
            Ok(fd) => Self { fd, named: None },
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Self::create_named(nursery)?,
            Err(error) => return Err(error.into()),
        };
        nursery.modes.apply_to_file(&temporary.fd)?;
        Ok(temporary)
    }

    fn create_named(nursery: Nursery<'_>) -> io::Result<Self> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let (name, fd) = with_temporary_name(nursery.prefix, |name| {
            beneath::open(nursery.directory, name, flags, Modes::FILE)
        })?;
        Ok(Self { fd, named: Some((nursery.directory.try_clone_to_owned()?, name)) })
    }

    /// Returns the file.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Exchanges the writable descriptor for a read-only one, as fs-verity wants it.
    pub(crate) fn make_read_only(&mut self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        self.fd =
            beneath::open(CWD, &format!("/proc/self/fd/{}", self.fd.as_raw_fd()), flags, Mode::empty())?;
        Ok(())
    }

    /// Makes the file durable as it is, under a temporary name until it gets its final one: btrfs logs no file that has
    /// none, and one named after such a sync could be there without its contents.
    ///
    /// One with fs-verity needs the file system's barrier: btrfs logs that a file has it, and not what it has, so it
    /// could not be opened.
    pub(crate) fn settle(
        &mut self,
        nursery: Nursery<'_>,
        path: &Path,
        with_verity: Option<&Barrier>,
    ) -> Result<()> {
        self.name_meanwhile(nursery).map_err(Error::io(Step::Link, path))?;
        match with_verity {
            Some(barrier) => barrier.wait(),
            None => barrier::sync(&self.fd, path),
        }
    }

    /// Gives an unnamed file a temporary name.
    fn name_meanwhile(&mut self, nursery: Nursery<'_>) -> io::Result<()> {
        if self.named.is_none() {
            let (temporary, ()) = with_temporary_name(nursery.prefix, |temporary| {
                link_unnamed(self.fd.as_fd(), nursery.directory, temporary)
            })?;
            self.named = Some((nursery.directory.try_clone_to_owned()?, temporary));
        }
        Ok(())
    }

    /// Gives the file its final name unless something has it; tells whether it did.
    pub(crate) fn publish(mut self, directory: impl AsFd, name: &str) -> io::Result<bool> {
        #[cfg(test)]
        super::trace::note(format!("publish {name}"));
        let result = match &self.named {
            None => link_unnamed(self.fd.as_fd(), directory, name),
            Some((from, temporary)) => {
                match renameat_with(from, temporary.as_str(), &directory, name, RenameFlags::NOREPLACE) {
                    // File systems without RENAME_NOREPLACE have hard links instead.
                    Err(Errno::INVAL | Errno::NOSYS) => {
                        linkat(from, temporary.as_str(), directory, name, AtFlags::empty())
                    }
                    Ok(()) => {
                        self.named = None;
                        Ok(())
                    }
                    error => error,
                }
            }
        };
        match result {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the file its final name, taking it from what has it now. For mending only: good objects stay.
    pub(crate) fn replace(
        mut self,
        nursery: Nursery<'_>,
        directory: impl AsFd,
        name: &str,
    ) -> io::Result<()> {
        #[cfg(test)]
        super::trace::note(format!("replace {name}"));
        self.name_meanwhile(nursery)?;
        if let Some((from, temporary)) = &self.named {
            renameat(from, temporary.as_str(), directory, name)?;
        }
        self.named = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some((directory, name)) = &self.named
            && let Err(error) = unlinkat(directory, name.as_str(), AtFlags::empty())
        {
            tracing::debug!(name, %error, "temporary file stays");
        }
    }
}

fn link_unnamed(fd: BorrowedFd<'_>, directory: impl AsFd, name: &str) -> rustix::io::Result<()> {
    if !NO_EMPTY_PATH.load(Ordering::Relaxed) {
        match linkat(fd, c"", directory.as_fd(), name, AtFlags::EMPTY_PATH) {
            // ENOENT is also what a removed directory gives; the second way tells.
            Err(Errno::NOENT | Errno::PERM) => {}
            result => return result,
        }
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    linkat(CWD, path, directory, name, AtFlags::SYMLINK_FOLLOW)?;
    NO_EMPTY_PATH.store(true, Ordering::Relaxed);
    Ok(())
}

/// What [`swap_symlink`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swap {
    /// The symlink was there with that target.
    Unchanged,
    /// The name was free.
    Made,
    /// The name led elsewhere before; the temporary was renamed from the repository's root.
    Replaced,
}

/// Makes `name` a symlink to `target`, replacing in one step whatever symlink has the name.
///
/// The temporary lives in `root`, where nobody looks for entries.
pub(crate) fn swap_symlink(
    root: impl AsFd,
    directory: impl AsFd,
    name: &str,
    target: &str,
) -> io::Result<Swap> {
    match symlinkat(target, directory.as_fd(), name) {
        Ok(()) => {
            #[cfg(test)]
            super::trace::note(format!("symlink {name}"));
            return Ok(Swap::Made);
        }
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    match beneath::read_link(directory.as_fd(), name) {
        Ok(Some(have)) if have == target.as_bytes() => return Ok(Swap::Unchanged),
        // Something else than a symlink is somebody's data: rename refuses directories, this the rest.
        Err(Errno::INVAL) => return Err(Errno::EXIST.into()),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let root = root.as_fd();
    let (temporary, ()) =
        with_temporary_name(SYMLINK_PREFIX, |temporary| symlinkat(target, root, temporary))?;
    if let Err(error) = renameat(root, temporary.as_str(), directory, name) {
        let _ = unlinkat(root, temporary.as_str(), AtFlags::empty());
        return Err(error.into());
    }
    #[cfg(test)]
    super::trace::note(format!("replace symlink {name}"));
    Ok(Swap::Replaced)
}

/// Gives a file that has a temporary name its final one, taking that from whatever file has it.
pub(crate) fn rename_over(
    directory: impl AsFd,
    temporary: &str,
    name: impl rustix::path::Arg,
) -> rustix::io::Result<()> {
    renameat(directory.as_fd(), temporary, directory.as_fd(), name)
}

/// Removes a name that is no directory; tells whether it was there.
pub(crate) fn remove(directory: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<bool> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
