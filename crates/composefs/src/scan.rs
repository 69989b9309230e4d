//! A directory as a file tree, its large files as objects.
//!
//! In: a directory. Out: a tree as [`crate::filetree`] has it, before any transform; contents above 64 bytes
//! are stored, or only hashed. Symlinks are never followed and nothing is opened but through the directory it
//! was listed in. Memory is the tree's, and one buffer: files are streamed.
//!
//! # Format
//! `docs/formats/tree.md`, section 3, "Scan rules".

mod metadata;

use std::{
    collections::HashMap,
    ffi::CString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, major, minor, readlinkat};

use crate::{
    digest::{Algorithm, ObjectId, VerityHasher, object_id_of},
    disk::beneath,
    error::{Error, Result, Step},
    filetree::{
        DEPTH_MAX, Entries, FileTree, INLINE_CONTENT_MAX, Inode, InodeId, InodeKind, Name, Regular,
        TreeError, inode::device_number,
    },
    progress::{Event, Observer},
    repo::{IngestStats, Writer},
};

/// Files up to this size are held whole while they are hashed and stored.
const WHOLE_MAX: usize = 1 << 20;

/// What becomes of contents that are too large for the image.
#[derive(Clone, Copy, Debug)]
pub enum Objects<'w> {
    /// They are stored.
    Store(&'w Writer),
    /// They are hashed, and stored nowhere.
    Compute(Algorithm),
}

impl Objects<'_> {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::Store(writer) => writer.algorithm(),
            Self::Compute(algorithm) => algorithm,
        }
    }
}

/// A scanned directory.
#[derive(Debug)]
pub struct Scanned {
    /// The tree, with the metadata and attributes that were found.
    pub tree: FileTree,
    /// The objects, each file counted; with [`Objects::Compute`] all count as new.
    pub stats: IngestStats,
}

/// Scans the directory at `path`, taken from `dirfd` if relative.
///
/// # Errors
/// [`Error::Io`] for whatever cannot be read, [`Error::Tree`] for what no tree can hold.
pub fn scan(
    dirfd: impl AsFd,
    path: impl AsRef<Path>,
    objects: Objects<'_>,
    observer: &dyn Observer,
) -> Result<Scanned> {
    let path = path.as_ref();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = beneath::open(dirfd, path, flags, Mode::empty()).map_err(Error::io(Step::Open, path))?;
    let stat = metadata::read(&root, path)?;
    observer.event(&Event::Begin { what: "files", name: "scan", total: None });
    let mut scan = Scan {
        objects,
        observer,
        tree: FileTree::new(stat),
        stats: IngestStats::default(),
        leaves: HashMap::new(),
        buffer: Vec::new(),
    };
    scan.run(root, path)?;
    observer.event(&Event::Done { name: "scan" });
    Ok(Scanned { tree: scan.tree, stats: scan.stats })
}

struct Scan<'a> {
    objects: Objects<'a>,
    observer: &'a dyn Observer,
    tree: FileTree,
    stats: IngestStats,
    /// The leaves met so far, by device and inode. Link counts are not asked: some file systems lie.
    leaves: HashMap<(u64, u64), InodeId>,
    buffer: Vec<u8>,
}

/// A directory being scanned.
struct Level {
    directory: OwnedFd,
    path: PathBuf,
    inode: InodeId,
    /// What is left of its names, last first.
    names: Vec<CString>,
}

impl Level {
    fn new(directory: OwnedFd, path: PathBuf, inode: InodeId) -> Result<Self> {
        let listed = beneath::list(&directory).map_err(Error::io(Step::List, &path))?;
        let names = listed.into_iter().rev().map(|listed| listed.name).collect();
        Ok(Self { directory, path, inode, names })
    }
}

fn tree_error(path: &Path) -> impl FnOnce(TreeError) -> Error {
    |source| Error::Tree { path: path.to_owned(), source }
}

impl Scan<'_> {
    fn run(&mut self, root: OwnedFd, path: &Path) -> Result<()> {
        let mut levels = vec![Level::new(root, path.to_owned(), InodeId::ROOT)?];
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            let path = level.path.join(beneath::os(name.as_bytes()));
            let parent = level.inode;
            // Opening by O_PATH has no side effects, whatever it is: devices, fifos.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = beneath::open(&level.directory, &name, flags, Mode::empty())
                .map_err(Error::io(Step::Open, &path))?;
            let name = Name::new(name.as_bytes()).map_err(|error| tree_error(&path)(error.into()))?;
            let stat = fstat(&fd).map_err(Error::io(Step::Stat, &path))?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let inode =
                    Inode { stat: metadata::read(&fd, &path)?, kind: InodeKind::Directory(Entries::new()) };
                let inode = self.tree.insert(parent, name, inode).map_err(tree_error(&path))?;
                if levels.len() >= DEPTH_MAX {
                    return Err(tree_error(&path)(TreeError::TooDeep));
                }
                levels.push(Level::new(reopen(&fd, OFlags::DIRECTORY, &path)?, path, inode)?);
                continue;
            }
            let key = (stat.st_dev, stat.st_ino);
            if let Some(leaf) = self.leaves.get(&key) {
                self.tree.link(parent, name, *leaf).map_err(tree_error(&path))?;
                continue;
            }
            let inode = Inode { stat: metadata::read(&fd, &path)?, kind: self.leaf(&fd, &stat, &path)? };
            let inode = self.tree.insert(parent, name, inode).map_err(tree_error(&path))?;
            self.leaves.insert(key, inode);
            self.observer.event(&Event::Advance { name: "scan", by: 1 });
        }
        Ok(())
    }

    fn leaf(&mut self, fd: &OwnedFd, stat: &rustix::fs::Stat, path: &Path) -> Result<InodeKind> {
        let device = || {
            device_number(u64::from(major(stat.st_rdev)), u64::from(minor(stat.st_rdev)))
                .ok_or_else(|| unknown(path, "device number does not fit"))
        };
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let file = reopen(fd, OFlags::NONBLOCK | OFlags::NOCTTY, path)?;
                InodeKind::Regular(self.regular(File::from(file), beneath::size(stat), path)?)
            }
            FileType::Symlink => {
                let target =
                    readlinkat(fd, c"", Vec::with_capacity(256)).map_err(Error::io(Step::ReadLink, path))?;
                InodeKind::Symlink(target.into_bytes().into())
            }
            FileType::CharacterDevice => InodeKind::CharDevice(device()?),
            FileType::BlockDevice => InodeKind::BlockDevice(device()?),
            FileType::Fifo => InodeKind::Fifo,
            FileType::Socket => InodeKind::Socket,
            _ => return Err(unknown(path, "unknown file type")),
        })
    }

    fn regular(&mut self, mut file: File, size_hint: u64, path: &Path) -> Result<Regular> {
        let read_error = || Error::io(Step::Read, path);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        // One byte more tells a file that just fits from one that goes on.
        let limit = WHOLE_MAX as u64 + 1;
        (&mut file).take(limit).read_to_end(&mut buffer).map_err(read_error())?;
        let regular = if buffer.len() <= INLINE_CONTENT_MAX {
            Regular::Inline(buffer.as_slice().into())
        } else {
            let (id, size, new) = if buffer.len() <= WHOLE_MAX {
                let id = object_id_of(self.objects.algorithm(), &buffer);
                let new = match self.objects {
                    Objects::Store(writer) => writer.store_prepared(id, &buffer)?.new,
                    Objects::Compute(_) => true,
                };
                (id, buffer.len() as u64, new)
            } else {
                self.stream(&mut file, &mut buffer, size_hint, path)?
            };
            self.stats.count(size, new);
            Regular::External { id, size }
        };
        self.buffer = buffer;
        Ok(regular)
    }

    /// Goes on with a large file, of which the buffer has the beginning.
    fn stream(
        &self,
        file: &mut File,
        buffer: &mut Vec<u8>,
        size_hint: u64,
        path: &Path,
    ) -> Result<(ObjectId, u64, bool)> {
        let mut sink = match self.objects {
            Objects::Store(writer) => Sink::Store(writer.object_writer(size_hint)?),
            Objects::Compute(algorithm) => Sink::Compute(VerityHasher::new(algorithm)),
        };
        sink.push(buffer).map_err(Error::io(Step::Write, path))?;
        buffer.resize(WHOLE_MAX, 0);
        loop {
            match file.read(buffer) {
                Ok(0) => break,
                Ok(read) => {
                    let bytes = buffer.get(..read).unwrap_or_default();
                    sink.push(bytes).map_err(Error::io(Step::Write, path))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io(Step::Read, path)(error)),
            }
        }
        sink.finish()
    }
}

/// Where the contents of a large file go.
enum Sink {
    Store(crate::repo::ObjectWriter),
    Compute(VerityHasher),
}

impl Sink {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Store(writer) => writer.write_all(bytes),
            Self::Compute(hasher) => {
                hasher.update(bytes);
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<(ObjectId, u64, bool)> {
        match self {
            Self::Store(writer) => writer.finish().map(|stored| (stored.id, stored.size, stored.new)),
            Self::Compute(hasher) => {
                let size = hasher.size_bytes();
                Ok((hasher.finish(), size, true))
            }
        }
    }
}

/// Opens for reading what was opened by path only: the very same file.
fn reopen(fd: &OwnedFd, flags: OFlags, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | flags;
    beneath::open(CWD, &format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty())
        .map_err(Error::io(Step::Open, path))
}

fn unknown(path: &Path, what: &str) -> Error {
    Error::io(Step::Stat, path)(io::Error::new(io::ErrorKind::InvalidData, what))
}

#[cfg(test)]
mod tests;
