//! The walk through a tree and, beside it, through the directories being made.

use std::{
    collections::btree_map::Iter,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    rc::Rc,
};

use rustix::{
    fs::{AtFlags, linkat, mkdirat},
    io::Errno,
};

use super::{PRIVATE, staging::TOP};
use crate::{
    disk::beneath,
    error::{self, Error, Result},
    filetree::{Entries, InodeId, Name, walk::join},
};

/// The directories of a path that are kept open: a deep tree must not need as many descriptors.
const OPEN_MAX: usize = 128;

/// What comes next.
pub(super) enum Step<'a> {
    /// Something in the directory where the walk stands.
    Child(&'a Name, InodeId),
    /// A directory is full.
    Left { fd: Rc<OwnedFd>, inode: InodeId, path: Vec<u8>, depth: usize },
}

/// Where the walk stands.
pub(super) struct Way<'a> {
    top: OwnedFd,
    levels: Vec<Level<'a>>,
    /// Of the uppermost directory in the image.
    at: Vec<u8>,
}

struct Level<'a> {
    /// None of the uppermost.
    name: Option<&'a Name>,
    inode: InodeId,
    fd: Option<Rc<OwnedFd>>,
    entries: Iter<'a, Name, InodeId>,
}

impl<'a> Way<'a> {
    /// Makes the uppermost directory and stands in it.
    pub(super) fn begin(
        staging: BorrowedFd<'_>,
        at: Vec<u8>,
        inode: InodeId,
        entries: &'a Entries,
    ) -> Result<Self> {
        let fd = make(staging, TOP, &at)?;
        let top = fd.try_clone().map_err(Error::io(error::Step::Open, beneath::os(&at)))?;
        let level = Level { name: None, inode, fd: Some(Rc::new(fd)), entries: entries.iter() };
        Ok(Self { top, levels: vec![level], at })
    }

    /// Goes on.
    pub(super) fn next(&mut self) -> Result<Option<Step<'a>>> {
        let Some(level) = self.levels.last_mut() else { return Ok(None) };
        if let Some((name, child)) = level.entries.next() {
            return Ok(Some(Step::Child(name, *child)));
        }
        let (fd, path) = (self.fd()?, self.path());
        let inode = self.levels.pop().map_or(InodeId::ROOT, |level| level.inode);
        Ok(Some(Step::Left { fd, inode, path, depth: self.levels.len() }))
    }

    /// Makes a directory below and stands in it.
    pub(super) fn enter(&mut self, name: &'a Name, inode: InodeId, entries: &'a Entries) -> Result<()> {
        let fd = make(self.fd()?.as_fd(), name.as_bytes(), &self.path_of(name))?;
        self.levels.push(Level { name: Some(name), inode, fd: Some(Rc::new(fd)), entries: entries.iter() });
        let far = self.levels.len().checked_sub(OPEN_MAX);
        if let Some(far) = far.and_then(|far| self.levels.get_mut(far)) {
            far.fd = None;
        }
        Ok(())
    }

    /// The directory where the walk stands.
    pub(super) fn fd(&mut self) -> Result<Rc<OwnedFd>> {
        if let Some(fd) = self.levels.last().and_then(|level| level.fd.as_ref()) {
            return Ok(Rc::clone(fd));
        }
        // The walk comes back from far below: the last directories of the way are needed one after the other.
        let first = self.levels.len().saturating_sub(OPEN_MAX);
        let names: Vec<&[u8]> = self.names().take(first).map(Name::as_bytes).collect();
        let mut fd = Rc::new(self.reopen(&names)?);
        let path = Path::new(beneath::os(&self.at));
        for (at, level) in self.levels.iter_mut().enumerate().skip(first) {
            if let Some(name) = level.name.filter(|_| at > first) {
                let opened = beneath::open_directory(&*fd, path, [name.as_bytes()])?;
                fd = Rc::new(opened.ok_or_else(|| Error::io(error::Step::Open, path)(Errno::NOENT))?);
            }
            level.fd = Some(Rc::clone(&fd));
        }
        Ok(fd)
    }

    fn reopen(&self, names: &[&[u8]]) -> Result<OwnedFd> {
        let path = || beneath::os(&self.at);
        beneath::open_directory(&self.top, Path::new(path()), names.iter().copied())?
            .ok_or_else(|| Error::io(error::Step::Open, path())(Errno::NOENT))
    }

    fn names(&self) -> impl Iterator<Item = &'a Name> {
        self.levels.iter().filter_map(|level| level.name)
    }

    /// The names from the uppermost directory to one where the walk stands.
    pub(super) fn names_to(&self, name: &'a Name) -> Vec<&'a Name> {
        self.names().chain([name]).collect()
    }

    /// The path in the image of where the walk stands.
    fn path(&self) -> Vec<u8> {
        let mut path = if self.at == b"/" { Vec::new() } else { self.at.clone() };
        for name in self.names() {
            path.push(b'/');
            path.extend_from_slice(name.as_bytes());
        }
        if path.is_empty() { b"/".to_vec() } else { path }
    }

    /// The path in the image of a name where the walk stands.
    pub(super) fn path_of(&self, name: &Name) -> Vec<u8> {
        join(&self.path(), name)
    }

    /// Makes a further name, where the walk stands, of a file that has been made.
    pub(super) fn link(&mut self, first: &[&Name], name: &Name) -> Result<()> {
        let Some((last, parents)) = first.split_last() else { return Ok(()) };
        let parents: Vec<&[u8]> = parents.iter().map(|name| name.as_bytes()).collect();
        let from = self.reopen(&parents)?;
        let to = self.fd()?;
        linkat(&from, last.as_bytes(), &*to, name.as_bytes(), AtFlags::empty())
            .map_err(Error::io(error::Step::Link, beneath::os(&self.path_of(name))))
    }
}

fn make(parent: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<OwnedFd> {
    mkdirat(parent, name, PRIVATE).map_err(Error::io(error::Step::MakeDirectory, beneath::os(path)))?;
    beneath::open_directory(parent, Path::new(beneath::os(path)), [name])?
        .ok_or_else(|| Error::io(error::Step::Open, beneath::os(path))(Errno::NOENT))
}
