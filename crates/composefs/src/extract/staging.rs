//! The private directory in which all is built, and what becomes of it.

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, mkdirat, renameat_with, stat, unlinkat},
    io::Errno,
};

use super::PRIVATE;
use crate::{
    disk::{
        beneath::{self, Listed},
        publish::with_temporary_name,
    },
    error::{Error, Result, Step},
    filetree::{DEPTH_MAX, Entries, Name},
};

/// What is built, in the private directory.
pub(super) const TOP: &[u8] = b"top";

const PREFIX: &str = ".cfsctl-extract-";

/// A private directory beside the destination; removed with all that is in it when dropped.
pub(super) struct Staging {
    parent: OwnedFd,
    /// Of the parent.
    path: PathBuf,
    /// Of this directory in its parent.
    name: String,
    fd: OwnedFd,
    target: Target,
}

enum Target {
    /// What was built gets this name in the parent.
    Named(Vec<u8>),
    /// What is in the directory that was built gets its names in the parent.
    Contents(Vec<Vec<u8>>),
}

impl Staging {
    /// Makes the directory where what is extracted can be moved from: `own` is its name in the image, none for the
    /// root; `contents` what is in it, if that is taken instead.
    pub(super) fn make(dest: &Path, own: Option<&Name>, contents: Option<&Entries>) -> Result<Self> {
        let found = match stat(dest) {
            Ok(stat) => Some(beneath::kind(&stat)),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(Error::io(Step::Stat, dest)(errno)),
        };
        let (path, target) = match (found, contents, own) {
            (Some(FileType::Directory), Some(entries), _) => {
                let names = entries.keys().map(|name| name.as_bytes().to_vec()).collect();
                (dest.to_owned(), Target::Contents(names))
            }
            (Some(FileType::Directory), None, Some(own)) => {
                (dest.to_owned(), Target::Named(own.as_bytes().to_vec()))
            }
            (Some(_), ..) => return Err(Error::Exists { path: dest.to_owned() }),
            (None, ..) => {
                let name = dest.file_name().ok_or_else(|| Error::io(Step::Stat, dest)(Errno::NOENT))?;
                let parent = dest.parent().filter(|parent| !parent.as_os_str().is_empty());
                (parent.unwrap_or(Path::new(".")).to_owned(), Target::Named(name.as_bytes().to_vec()))
            }
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = beneath::open(CWD, &path, flags, Mode::empty()).map_err(Error::io(Step::Open, &path))?;
        for name in target.names() {
            if beneath::stat(&parent, name).map_err(Error::io(Step::Stat, &path))?.is_some() {
                return Err(Error::Exists { path: path.join(OsStr::from_bytes(name)) });
            }
        }
        let made = with_temporary_name(PREFIX, |name| mkdirat(&parent, name, PRIVATE));
        let (name, ()) = made.map_err(Error::io(Step::MakeDirectory, &path))?;
        let opened = beneath::open_directory(&parent, &path, [name.as_bytes()])?;
        let fd = opened.ok_or_else(|| Error::io(Step::Open, path.join(&name))(Errno::NOENT))?;
        Ok(Self { parent, path, name, fd, target })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether what is in the uppermost directory goes into one that is there already.
    pub(super) const fn fills_existing(&self) -> bool {
        matches!(self.target, Target::Contents(_))
    }

    /// Gives what was built its names; returns where it is now.
    pub(super) fn publish(&self) -> Result<Vec<PathBuf>> {
        let top;
        let from = match &self.target {
            Target::Named(_) => self.fd(),
            Target::Contents(_) => {
                let path = self.path.join(&self.name);
                let opened = beneath::open_directory(&self.fd, &path, [TOP])?;
                top = opened.ok_or_else(|| Error::io(Step::Open, path)(Errno::NOENT))?;
                top.as_fd()
            }
        };
        let mut made: Vec<PathBuf> = Vec::new();
        for name in self.target.names() {
            let path = self.path.join(OsStr::from_bytes(name));
            let old = if self.fills_existing() { name } else { TOP };
            match renameat_with(from, old, &self.parent, name, RenameFlags::NOREPLACE) {
                Ok(()) => made.push(path),
                // A device that was left out.
                Err(Errno::NOENT) if self.fills_existing() => {}
                Err(error) => {
                    self.take_back(from, &made);
                    return Err(match error {
                        Errno::EXIST => Error::Exists { path },
                        error => Error::io(Step::Rename, path)(error),
                    });
                }
            }
        }
        Ok(made)
    }

    /// Moves what got its name back, to be removed with the rest.
    fn take_back(&self, from: BorrowedFd<'_>, made: &[PathBuf]) {
        for name in made.iter().filter_map(|path| path.file_name()) {
            let _ = renameat_with(&self.parent, name, from, name, RenameFlags::NOREPLACE);
        }
    }
}

impl Target {
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        match self {
            Self::Named(name) => std::slice::from_ref(name).iter(),
            Self::Contents(names) => names.iter(),
        }
        .map(Vec::as_slice)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed has a name that says what it was.
        let _ = remove_below(&self.fd);
        let _ = unlinkat(&self.parent, self.name.as_str(), AtFlags::REMOVEDIR);
    }
}

/// Removes all that is in a directory.
fn remove_below(directory: &OwnedFd) -> Result<()> {
    let path = Path::new("");
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut at = directory.try_clone().map_err(Error::io(Step::Open, path))?;
    loop {
        let listed = beneath::list(&at).map_err(Error::io(Step::List, path))?;
        let mut below = None;
        for Listed { name, kind } in listed {
            if kind == FileType::Directory {
                // A full one is gone into.
                match unlinkat(&at, &name, AtFlags::REMOVEDIR) {
                    Err(Errno::NOTEMPTY | Errno::EXIST) => below = Some(name.into_bytes()),
                    Err(errno) => return Err(Error::io(Step::Unlink, path)(errno)),
                    Ok(()) => {}
                }
            } else {
                unlinkat(&at, &name, AtFlags::empty()).map_err(Error::io(Step::Unlink, path))?;
            }
        }
        match below {
            Some(name) if names.len() <= DEPTH_MAX => names.push(name),
            Some(_) => return Ok(()),
            None if names.pop().is_some() => {}
            None => return Ok(()),
        }
        let opened = beneath::open_directory(directory, path, names.iter().map(Vec::as_slice))?;
        at = opened.ok_or_else(|| Error::io(Step::Open, path)(Errno::NOENT))?;
        // Directories of others' modes: the owner may always change them.
        let _ = rustix::fs::fchmod(&at, PRIVATE);
    }
}
