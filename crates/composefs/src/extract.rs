//! A tree, or part of one, as files in a directory.
//!
//! Contents come from the objects and are checked on the way: by the kernel where it can, else by hashing. All is
//! built in a private directory beside the destination and gets its final name when it is whole. Every name is made
//! through the directory it stands in, so that no symlink, of the image or put there meanwhile, leads out.
//!
//! # Format
//! The opposite of `docs/formats/tree.md`, section 3, "Scan rules".

mod contents;
mod metadata;
mod staging;
mod way;

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    rc::Rc,
};

use rustix::{
    fs::{FileType, Mode, mknodat, symlinkat},
    io::Errno,
};

use crate::{
    disk::beneath,
    error::{self, Error, Result},
    filetree::{Entries, FileTree, InodeId, InodeKind, Name, inode::major_minor, resolve::Resolved},
    progress::{Cancel, Event, Observer},
    repo::Repository,
};

use metadata::Restore;
use staging::Staging;
use way::{Step, Way};

/// While a directory is filled nobody else looks into it.
const PRIVATE: Mode = Mode::RWXU;

/// How files are restored.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ExtractOptions {
    /// Take what is in the directory instead of the directory; always so for the root.
    pub contents: bool,
    /// Whose the files become.
    pub owners: Owners,
    /// Stops the work; nothing of it stays.
    pub cancel: Cancel,
}

impl ExtractOptions {
    /// Sets whether what is in the directory is taken instead of the directory.
    #[must_use]
    pub const fn contents(mut self, contents: bool) -> Self {
        self.contents = contents;
        self
    }

    /// Sets whose the files become.
    #[must_use]
    pub const fn owners(mut self, owners: Owners) -> Self {
        self.owners = owners;
        self
    }

    /// Sets what stops the work.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }
}

/// Whose extracted files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Owners {
    /// The image's owners for root, else the process's.
    #[default]
    Auto,
    /// The image's owners; not being able to is an error.
    Image,
    /// The process's own. Set-id bits are dropped, which would give away the process's rights.
    Own,
}

/// What was extracted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extracted {
    /// What was made, uppermost names only.
    pub paths: Vec<PathBuf>,
    /// Directories.
    pub directories: u64,
    /// Regular files, each counted once however many names it has.
    pub files: u64,
    /// Bytes of the regular files.
    pub bytes: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Symlinks, devices, fifos and sockets.
    pub others: u64,
    /// Devices that may not be made without privilege: absolute paths in the image.
    pub devices_left_out: Vec<Vec<u8>>,
    /// Extended attributes that could not be set, by name, and on how many files.
    pub xattrs_left_out: BTreeMap<Vec<u8>, u64>,
}

impl Extracted {
    /// Tells whether everything but owners is as in the image.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.devices_left_out.is_empty() && self.xattrs_left_out.is_empty()
    }
}

/// Extracts what a path of a tree leads to.
///
/// `dest` is as for `cp -a`: if it is a directory, the file or directory goes into it under its own name, else it
/// becomes `dest`. With `contents` what is in the directory goes into `dest`, which is made if it is missing.
///
/// # Errors
/// [`Error::Exists`] if something has one of the names; [`Error::Io`] with the path, [`Error::ObjectMissing`],
/// [`Error::ObjectMismatch`], [`Error::Cancelled`]. Nothing is left then.
pub fn extract(
    repo: &Repository,
    tree: &FileTree,
    from: &Resolved<'_>,
    dest: &Path,
    options: &ExtractOptions,
    observer: &dyn Observer,
) -> Result<Extracted> {
    let directory = tree.entries(from.inode);
    let contents = directory.filter(|_| options.contents || from.names.is_empty());
    let staging = Staging::make(dest, from.names.last().copied(), contents)?;
    observer.event(&Event::Begin { what: "files", name: "extract", total: Some(count(tree, from.inode)) });
    let mut work = Extract {
        repo,
        tree,
        options,
        observer,
        restore: Restore::new(options.owners),
        names: tree.name_counts(),
        first: HashMap::new(),
        done: Extracted::default(),
        at: from.path(),
    };
    let moved = match directory {
        Some(entries) => work.directory(&staging, from.inode, entries)?,
        None => {
            work.leaf(staging.fd(), staging::TOP, from.inode, &work.at.clone())?;
            Vec::new()
        }
    };
    let Extract { mut done, restore, .. } = work;
    done.paths = staging.publish()?;
    // A directory that its owner may not write to cannot be moved, so these get their metadata where they are.
    for Moved { fd, inode, path } in moved {
        if !(staging.fills_existing() && inode == from.inode) {
            restore.open(&fd, &tree.inode(inode).stat, &path, &mut done)?;
        }
    }
    observer.event(&Event::Done { name: "extract" });
    Ok(done)
}

/// How many names there are at and below an inode.
fn count(tree: &FileTree, from: InodeId) -> u64 {
    let mut pending = vec![from];
    let mut names = 0_u64;
    while let Some(inode) = pending.pop() {
        names = names.saturating_add(1);
        pending.extend(tree.entries(inode).into_iter().flat_map(|entries| entries.values().copied()));
    }
    names
}

struct Extract<'a> {
    repo: &'a Repository,
    tree: &'a FileTree,
    options: &'a ExtractOptions,
    observer: &'a dyn Observer,
    restore: Restore,
    /// How many names each inode has in the whole tree.
    names: Vec<u32>,
    /// Where the first name of a file with several is, from the uppermost directory.
    first: HashMap<InodeId, Vec<&'a Name>>,
    done: Extracted,
    /// Where the extraction begins in the image.
    at: Vec<u8>,
}

/// A directory whose metadata is restored once it is in its final place.
struct Moved {
    fd: Rc<OwnedFd>,
    inode: InodeId,
    path: Vec<u8>,
}

impl<'a> Extract<'a> {
    /// Makes the uppermost directory with all that is below; returns those that still need their metadata.
    fn directory(&mut self, staging: &Staging, inode: InodeId, entries: &'a Entries) -> Result<Vec<Moved>> {
        let mut way = Way::begin(staging.fd(), self.at.clone(), inode, entries)?;
        let mut moved = Vec::new();
        self.done.directories = 1;
        while let Some(step) = way.next()? {
            if self.options.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let (name, child) = match step {
                Step::Child(name, child) => (name, child),
                Step::Left { fd, inode, path, depth } => {
                    self.observer.event(&Event::Advance { name: "extract", by: 1 });
                    // The uppermost is moved, or what is in it.
                    if depth == 0 || (depth == 1 && staging.fills_existing()) {
                        moved.push(Moved { fd, inode, path });
                    } else {
                        self.restore.open(&fd, &self.tree.inode(inode).stat, &path, &mut self.done)?;
                    }
                    continue;
                }
            };
            if let Some(entries) = self.tree.entries(child) {
                way.enter(name, child, entries)?;
                self.done.directories = self.done.directories.saturating_add(1);
                continue;
            }
            self.observer.event(&Event::Advance { name: "extract", by: 1 });
            let (fd, path) = (way.fd()?, way.path_of(name));
            if self.names.get(child.index()).is_some_and(|count| *count > 1) {
                if let Some(first) = self.first.get(&child) {
                    way.link(first, name)?;
                    self.done.hard_links = self.done.hard_links.saturating_add(1);
                    continue;
                }
                self.first.insert(child, way.names_to(name));
            }
            self.leaf(fd.as_fd(), name.as_bytes(), child, &path)?;
        }
        Ok(moved)
    }

    /// Makes anything but a directory.
    fn leaf(&mut self, directory: BorrowedFd<'_>, name: &[u8], inode: InodeId, path: &[u8]) -> Result<()> {
        let inode = self.tree.inode(inode);
        let device = |kind, number: u32| {
            let (major, minor) = major_minor(number);
            let number = rustix::fs::makedev(major, minor);
            mknodat(directory, name, kind, PRIVATE, number)
        };
        let made = match &inode.kind {
            InodeKind::Directory(_) => return Ok(()),
            InodeKind::Regular(regular) => {
                let fd = contents::create(directory, name, path)?;
                let size = contents::write(self.repo, regular, &fd, path)?;
                self.done.files = self.done.files.saturating_add(1);
                self.done.bytes = self.done.bytes.saturating_add(size);
                return self.restore.open(&fd, &inode.stat, path, &mut self.done);
            }
            InodeKind::Symlink(target) => symlinkat(&**target, directory, name),
            InodeKind::Fifo => mknodat(directory, name, FileType::Fifo, PRIVATE, 0),
            InodeKind::Socket => mknodat(directory, name, FileType::Socket, PRIVATE, 0),
            InodeKind::CharDevice(number) => device(FileType::CharacterDevice, *number),
            InodeKind::BlockDevice(number) => device(FileType::BlockDevice, *number),
        };
        let is_device = matches!(inode.kind, InodeKind::CharDevice(_) | InodeKind::BlockDevice(_));
        match made {
            Err(Errno::PERM) if is_device && self.restore.may_leave_out() => {
                self.done.devices_left_out.push(path.to_vec());
                return Ok(());
            }
            made => made.map_err(Error::io(error::Step::Create, beneath::os(path)))?,
        }
        self.done.others = self.done.others.saturating_add(1);
        self.restore.named(directory, name, inode, path, &mut self.done)
    }
}

#[cfg(test)]
mod tests;
