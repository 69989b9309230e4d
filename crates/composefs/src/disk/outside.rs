//! Small files outside of any repository, by path: settings and credentials of the user and the system.
//!
//! Symlinks are followed here, as users set them; whoever can change these paths can change what they hold anyway.

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RawMode, fchmod, fstat, mkdirat, openat, unlinkat},
    io::{Errno, retry_on_intr},
};

use super::{
    barrier, beneath,
    publish::{self, with_temporary_name},
};
use crate::error::{Error, Result, Step};

/// The most symlinks that are followed to the file that is replaced.
const LINKS_MAX: usize = 40;

/// Begins the names of files on their way to their final name.
const PREFIX: &str = ".tmp-composefs-";

/// Reads a regular file of at most `limit` bytes; `None` if there is none.
///
/// # Errors
/// [`Error::Io`] with the path; a file that is larger or no regular file is one too.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    // A fifo would block an open without O_NONBLOCK; regular files do not care.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match retry_on_intr(|| openat(CWD, path, flags, Mode::empty())) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(Error::io(Step::Open, path)(error)),
    };
    let stat = fstat(&fd).map_err(Error::io(Step::Stat, path))?;
    if beneath::kind(&stat) != rustix::fs::FileType::RegularFile {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(Error::io(Step::Read, path)(error));
    }
    beneath::read_all(fd, limit).map(Some).map_err(Error::io(Step::Read, path))
}

/// Returns the absolute path, free of symlinks, of what a path leads to; `None` if that is nothing, or has no path.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn resolve(path: &Path) -> Result<Option<PathBuf>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = match retry_on_intr(|| openat(CWD, path, flags, Mode::empty())) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(Error::io(Step::Open, path)(error)),
    };
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let target = beneath::read_link(CWD, Path::new(&link)).map_err(Error::io(Step::ReadLink, path))?;
    // A pipe is `pipe:[1]`.
    Ok(target.map(|target| PathBuf::from(beneath::os(&target))).filter(|target| target.is_absolute()))
}

/// Lists the names in a directory, sorted as bytes; `None` if there is no such directory.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn list(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match retry_on_intr(|| openat(CWD, path, flags, Mode::empty())) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(Error::io(Step::Open, path)(error)),
    };
    let mut names = Vec::new();
    beneath::each(fd, &mut |name, _| names.push(PathBuf::from(beneath::os(name.to_bytes()))))
        .map_err(Error::io(Step::List, path))?;
    names.sort_unstable();
    Ok(Some(names))
}

/// Puts `contents` in the place of a file, which nobody ever sees half written, with `mode` whatever the umask.
///
/// Missing directories are made for their owner alone. Where `path` is a symlink, what it leads to is replaced and
/// the link stays. After a crash the old or the new contents are there.
///
/// # Errors
/// [`Error::Io`] with the path.
pub fn replace(path: &Path, contents: &[u8], mode: RawMode) -> Result<()> {
    let path = &follow(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_directories(parent, Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory =
        retry_on_intr(|| openat(CWD, parent, flags, Mode::empty())).map_err(Error::io(Step::Open, parent))?;
    let name = path.file_name().ok_or_else(|| Error::io(Step::CreateTemporary, path)(Errno::ISDIR))?;
    let mode = Mode::from_raw_mode(mode);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let (temporary, fd) =
        with_temporary_name(PREFIX, |name| retry_on_intr(|| openat(&directory, name, flags, mode)))
            .map_err(Error::io(Step::CreateTemporary, path))?;
    let write = || -> Result<()> {
        let mut file = File::from(fd);
        fchmod(&file, mode).map_err(Error::io(Step::SetMode, path))?;
        file.write_all(contents).map_err(Error::io(Step::Write, path))?;
        barrier::sync(file.as_fd(), path)?;
        publish::rename_over(&directory, &temporary, name).map_err(Error::io(Step::Rename, path))
    };
    if let Err(error) = write() {
        let _ = unlinkat(&directory, temporary.as_str(), AtFlags::empty());
        return Err(error);
    }
    barrier::sync(&directory, parent)
}

/// Returns where a path leads when the symlinks at its end are followed; they may lead to nothing yet.
fn follow(path: &Path) -> Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match beneath::read_link(CWD, &path) {
            Ok(Some(target)) => {
                path.pop();
                path.push(beneath::os(&target));
            }
            Ok(None) | Err(Errno::INVAL | Errno::NOTDIR) => return Ok(path),
            Err(error) => return Err(Error::io(Step::ReadLink, path)(error)),
        }
    }
    Err(Error::io(Step::ReadLink, path)(Errno::LOOP))
}

/// Makes a directory and what is missing above it, of this mode but for the umask.
pub(super) fn make_directories(path: &Path, mode: Mode) -> Result<()> {
    let missing = path.ancestors().take_while(|path| {
        !path.as_os_str().is_empty() && rustix::fs::stat(*path).is_err_and(|error| error == Errno::NOENT)
    });
    for directory in missing.collect::<Vec<_>>().into_iter().rev() {
        match mkdirat(CWD, directory, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Error::io(Step::MakeDirectory, directory)(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_through_its_links() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        replace(&at("a/b/file"), b"one", 0o600).unwrap();
        assert_eq!(std::fs::metadata(at("a/b/file")).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::metadata(at("a/b")).unwrap().mode() & 0o077, 0);
        std::fs::set_permissions(at("a/b/file"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .unwrap();
        symlink("a/b/file", at("link")).unwrap();
        symlink("link", at("second")).unwrap();
        replace(&at("second"), b"two", 0o600).unwrap();
        assert!(std::fs::symlink_metadata(at("link")).unwrap().is_symlink());
        assert_eq!(read(&at("a/b/file"), 3).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(std::fs::metadata(at("a/b/file")).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(list(&at("a/b")).unwrap(), Some(vec!["file".into()]), "no temporary is left");
        symlink("loop", at("loop")).unwrap();
        assert!(replace(&at("loop"), b"x", 0o600).is_err());
        symlink("c/not-yet", at("dangling")).unwrap();
        replace(&at("dangling"), b"new", 0o600).unwrap();
        assert_eq!(std::fs::read(at("c/not-yet")).unwrap(), b"new");
    }

    #[test]
    fn what_is_missing_is_no_error_and_what_is_odd_is() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(read(&at("none/file"), 1).unwrap(), None);
        assert_eq!(list(&at("none")).unwrap(), None);
        std::fs::write(at("large"), b"12345").unwrap();
        assert!(read(&at("large"), 4).unwrap_err().to_string().contains("large"));
        assert_eq!(read(&at("large/below"), 4).unwrap(), None);
        assert!(read(directory.path(), 4).is_err());
        rustix::fs::mknodat(CWD, at("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(read(&at("fifo"), 4).is_err());
    }
}
