//! Storing objects one at a time: check, write to a temporary, link under the digest.
//!
//! An object found present is believed only if the kernel measures it or its contents are compared; a
//! damaged one is replaced by the good copy at hand. Nothing here is durable before the commit's barrier.
//!
//! # Format
//! `docs/formats/repository.md`, section 3.

mod share;

use std::{
    collections::HashSet,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    fs::{FallocateFlags, FileType, fallocate},
    io::Errno,
};

use super::{Repository, Writer, layout, object::Wanted};
use crate::{
    digest::{ObjectId, VerityHasher, hash::Sha256, object_id_of},
    disk::{
        barrier::Barrier,
        beneath,
        lock::Locked,
        publish::{Modes, Nursery, OBJECT_PREFIX, Temporary},
        verity::{self, Enabled, Measured},
    },
    error::{Error, Result, Step},
};

/// From this size on, space is reserved before a streamed object is written.
const RESERVE_FROM: u64 = 256 * 1024;
/// The most that is reserved: sizes come from outside.
const RESERVE_AT_MOST: u64 = 1 << 30;

/// An object that was stored, or was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: ObjectId,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it was not there before.
    pub new: bool,
}

/// What the clones of a [`Writer`] share.
pub(super) struct State {
    pub(super) barrier: Barrier,
    modes: Modes,
    locked: Arc<Locked>,
    objects: OnceLock<OwnedFd>,
    /// The directories below `objects/` known to exist.
    prefixes: [AtomicBool; 256],
    /// Whether new objects get fs-verity; cleared when the file system cannot and need not.
    enable_verity: AtomicBool,
    seen: Seen,
    /// Objects that cannot be read though the kernel vouches for them.
    distrusted: Mutex<HashSet<ObjectId>>,
    /// Whether there are any: nearly never, and never in the way.
    distrusts: AtomicBool,
}

impl State {
    pub(super) fn new(repository: &Repository) -> Result<Self> {
        let barrier = Barrier::open(repository.directory(), repository.path())?;
        let locked = Arc::clone(&repository.shared.locked);
        locked.begin_writing()?;
        Ok(Self {
            barrier,
            modes: Modes::new(),
            locked,
            objects: OnceLock::new(),
            prefixes: std::array::from_fn(|_| AtomicBool::new(false)),
            enable_verity: AtomicBool::new(true),
            seen: Seen::default(),
            distrusted: Mutex::default(),
            distrusts: AtomicBool::new(false),
        })
    }

    pub(super) const fn modes(&self) -> Modes {
        self.modes
    }

    /// Forgets what was stored or checked: a collector may have been here.
    pub(super) fn forget(&self) {
        self.seen.clear();
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.locked.end_writing();
    }
}

const SHARDS: usize = 16;

/// The objects that were stored or checked through this writer; they need no system call again.
///
/// Ids are kept by their first 32 bytes: as good as SHA-256, and half the memory for SHA-512.
#[derive(Default)]
struct Seen([Mutex<HashSet<[u8; 32]>>; SHARDS]);

impl Seen {
    fn locate(&self, id: &ObjectId) -> Option<(&Mutex<HashSet<[u8; 32]>>, [u8; 32])> {
        let key: [u8; 32] = id.as_bytes().first_chunk().copied()?;
        let shard = usize::from(key.first().copied()? >> 4);
        Some((self.0.get(shard)?, key))
    }

    fn contains(&self, id: &ObjectId) -> bool {
        self.locate(id)
            .is_some_and(|(shard, key)| shard.lock().unwrap_or_else(PoisonError::into_inner).contains(&key))
    }

    fn insert(&self, id: &ObjectId) {
        if let Some((shard, key)) = self.locate(id) {
            shard.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        }
    }

    fn clear(&self) {
        for shard in &self.0 {
            shard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

/// What is known about an object by its name.
enum Present {
    /// Nothing has the name.
    No,
    /// It is there and good.
    Good,
    /// It is there and must be replaced.
    Damaged(&'static str),
}

impl Writer {
    /// Stores contents held in memory.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::VerityUnsupported`].
    pub fn store_bytes(&self, contents: &[u8]) -> Result<Stored> {
        self.store_prepared(object_id_of(self.algorithm(), contents), contents)
    }

    /// Stores contents held in memory whose digest the caller has computed.
    ///
    /// # Errors
    /// [`Error::ForeignId`], [`Error::Io`], [`Error::VerityUnsupported`]; in a verified repository
    /// [`Error::ObjectMismatch`] if the id is wrong.
    pub fn store_prepared(&self, id: ObjectId, contents: &[u8]) -> Result<Stored> {
        let stored = |new| Stored { id, size: contents.len() as u64, new };
        self.check_id(&id)?;
        if self.state.seen.contains(&id) {
            return Ok(stored(false));
        }
        let present = self.examine(&id, &Wanted::Bytes(contents))?;
        if !matches!(present, Present::Good) {
            let mut temporary = self.temporary(Some(&id))?;
            write_all(&mut temporary, contents)
                .map_err(|error| self.object_error(Step::Write, &id, error))?;
            let new = self.name(temporary, &id, &present)?;
            self.state.seen.insert(&id);
            return Ok(stored(new));
        }
        self.state.seen.insert(&id);
        Ok(stored(false))
    }

    /// Tells whether an object was stored or checked through this writer or its clones; asks memory only.
    #[must_use]
    pub fn has_seen(&self, id: &ObjectId) -> bool {
        self.state.seen.contains(id)
    }

    /// From now on looks at an object's bytes when it is stored, whatever the kernel says about them: with fs-verity a
    /// file that rots keeps its digest and cannot be read.
    pub fn distrust(&self, id: &ObjectId) {
        self.state.distrusted.lock().unwrap_or_else(PoisonError::into_inner).insert(*id);
        self.state.distrusts.store(true, Ordering::Release);
    }

    fn is_distrusted(&self, id: &ObjectId) -> bool {
        self.state.distrusts.load(Ordering::Acquire)
            && self.state.distrusted.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Starts an object whose contents come in pieces and are hashed on the way.
    ///
    /// `size_hint` is what the contents are said to have, for reserving space; 0 if unknown.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn object_writer(&self, size_hint: u64) -> Result<ObjectWriter> {
        Ok(ObjectWriter { file: self.object_file(size_hint)?, hasher: VerityHasher::new(self.algorithm()) })
    }

    /// Starts an object whose contents come in pieces and are hashed by the caller.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn object_file(&self, size_hint: u64) -> Result<ObjectFile> {
        let temporary = self.temporary(None)?;
        if size_hint >= RESERVE_FROM {
            let reserve = size_hint.min(RESERVE_AT_MOST);
            // Only a favour to the file system: what does not fit shows when it is written.
            if let Err(errno) = fallocate(temporary.fd(), FallocateFlags::KEEP_SIZE, 0, reserve) {
                tracing::trace!(%errno, reserve, "no space reserved");
            }
        }
        Ok(ObjectFile { writer: self.clone(), temporary, size: 0 })
    }

    /// Looks at what has the object's name, if anything has.
    fn examine(&self, id: &ObjectId, wanted: &Wanted<'_>) -> Result<Present> {
        // Not followed: a symlink has the name, wherever it leads.
        match beneath::stat(self.objects_directory()?, id.object_path()) {
            Ok(None) => return Ok(Present::No),
            Ok(Some(stat)) => match beneath::kind(&stat) {
                FileType::RegularFile => {}
                FileType::Directory => {
                    return Err(self.object_error(Step::Open, id, Errno::ISDIR.into()));
                }
                _ => return Ok(Present::Damaged("not a regular file")),
            },
            Err(errno) => return Err(self.object_error(Step::Stat, id, errno.into())),
        }
        let (opened, measured) = match self.open_raw(id) {
            Err(Error::ObjectMissing { .. }) => return Ok(Present::No),
            Err(error) if self.is_distrusted(id) && is_rot(&error) => {
                return Ok(Present::Damaged("it cannot be opened"));
            }
            result => result?,
        };
        Ok(match measured {
            Measured::Digest(actual) if actual == *id && !self.is_distrusted(id) => Present::Good,
            Measured::Digest(actual) if actual != *id => {
                Present::Damaged("the kernel measures another digest")
            }
            Measured::OtherAlgorithm(_) => Present::Damaged("fs-verity uses another algorithm"),
            Measured::Missing if self.is_verified() => Present::Damaged("fs-verity is missing"),
            Measured::Digest(_) | Measured::Missing => match wanted.equals(&opened.fd, opened.size) {
                Ok(true) => Present::Good,
                Ok(false) => Present::Damaged("contents are not what the name says"),
                Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => {
                    Present::Damaged("contents cannot be read")
                }
                Err(error) => return Err(self.object_error(Step::Read, id, error)),
            },
        })
    }

    /// Returns `objects/`, making it when first needed.
    fn objects_directory(&self) -> Result<BorrowedFd<'_>> {
        if let Some(objects) = self.state.objects.get() {
            return Ok(objects.as_fd());
        }
        let path = self.path_of(layout::OBJECTS);
        self.state
            .modes
            .make_directory(self.directory(), layout::OBJECTS)
            .map_err(Error::io(Step::MakeDirectory, &path))?;
        let opened = beneath::open_directory(self.directory(), self.path(), [layout::OBJECTS.as_bytes()])?;
        let opened = opened.ok_or_else(|| Error::io(Step::Open, path)(Errno::NOENT))?;
        Ok(self.state.objects.get_or_init(|| opened).as_fd())
    }

    /// Makes the object's directory unless this was done before.
    fn prepare_prefix(&self, id: &ObjectId) -> Result<()> {
        let known = id.as_bytes().first().and_then(|byte| self.state.prefixes.get(usize::from(*byte)));
        if known.is_some_and(|known| known.load(Ordering::Relaxed)) {
            return Ok(());
        }
        let name = id.object_directory();
        self.state
            .modes
            .make_directory(self.objects_directory()?, name.as_str())
            .map_err(Error::io(Step::MakeDirectory, self.path_of(layout::OBJECTS).join(&name)))?;
        if let Some(known) = known {
            known.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn nursery<'a>(&'a self, below: &'a str) -> Result<Nursery<'a>> {
        Ok(Nursery {
            directory: self.objects_directory()?,
            below,
            prefix: OBJECT_PREFIX,
            modes: self.state.modes,
        })
    }

    /// Makes a temporary, in the directory it will be linked into if that is known.
    fn temporary(&self, id: Option<&ObjectId>) -> Result<Temporary> {
        let below = match id {
            Some(id) => {
                self.prepare_prefix(id)?;
                id.object_directory()
            }
            None => ".".to_owned(),
        };
        Temporary::create(self.nursery(&below)?)
            .map_err(Error::io(Step::CreateTemporary, self.path_of(layout::OBJECTS)))
    }

    /// Enables fs-verity where it belongs and links the temporary under its id; tells whether it was new.
    fn name(&self, temporary: Temporary, id: &ObjectId, present: &Present) -> Result<bool> {
        let mut temporary = self.seal(temporary, id)?;
        self.prepare_prefix(id)?;
        let objects = self.objects_directory()?;
        if let Present::Damaged(reason) = present {
            tracing::warn!(%id, reason, "replacing a damaged object");
            // What is there may be of use to somebody until the whole of its successor is on disk.
            let with_verity = self.state.enable_verity.load(Ordering::Relaxed).then_some(&self.state.barrier);
            temporary.settle(self.nursery(".")?, &self.path_of(layout::object_path(id)), with_verity)?;
            temporary
                .replace(self.nursery(".")?, objects, &id.object_path())
                .map_err(|error| self.object_error(Step::Rename, id, error))?;
            self.state.barrier.mark();
            return Ok(true);
        }
        let new = temporary
            .publish(objects, &id.object_path())
            .map_err(|error| self.object_error(Step::Link, id, error))?;
        self.state.barrier.mark();
        Ok(new)
    }

    /// Puts a file that is no object in the place of whatever has its name.
    pub(super) fn replace_file(&self, contents: &[u8], directory: impl AsFd, name: &str) -> io::Result<()> {
        // Its temporary is one of an object, which collectors know.
        let nursery = self.nursery(".").map_err(io::Error::other)?;
        let mut temporary = Temporary::create(nursery)?;
        write_all(&mut temporary, contents)?;
        temporary.replace(nursery, directory, name)
    }

    fn seal(&self, temporary: Temporary, id: &ObjectId) -> Result<Temporary> {
        if !self.is_verified() && !self.state.enable_verity.load(Ordering::Relaxed) {
            return Ok(temporary);
        }
        let enabled = verity::enable(temporary, self.nursery(".")?, id.algorithm())
            .map_err(|error| self.object_error(Step::EnableVerity, id, error))?;
        let temporary = match enabled {
            Enabled::Unsupported(_) if self.is_verified() => {
                return Err(Error::VerityUnsupported { path: self.path().to_owned() });
            }
            Enabled::Unsupported(temporary) => {
                self.state.enable_verity.store(false, Ordering::Relaxed);
                return Ok(temporary);
            }
            Enabled::Yes(temporary) => temporary,
        };
        match verity::measure(temporary.fd(), id.algorithm())
            .map_err(|error| self.object_error(Step::MeasureVerity, id, error))?
        {
            Measured::Digest(actual) if actual == *id => Ok(temporary),
            Measured::Digest(actual) => Err(Error::ObjectMismatch { id: *id, actual }),
            _ => Err(Error::VerityMissing { id: *id }),
        }
    }
}

/// Tells whether a file cannot be opened since what the file system has of it, its fs-verity too, makes no sense.
fn is_rot(error: &Error) -> bool {
    let Error::Io { step: Step::Open | Step::MeasureVerity, source, .. } = error else { return false };
    let errno = Errno::from_io_error(source);
    matches!(errno, Some(Errno::IO | Errno::INVAL | Errno::UCLEAN | Errno::BADMSG | Errno::MSGSIZE))
}

fn write_all(temporary: &mut Temporary, mut contents: &[u8]) -> io::Result<()> {
    while !contents.is_empty() {
        match rustix::io::write(temporary.fd(), contents) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => contents = contents.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// An object being written, hashed by the caller. Nothing is left of it when it is dropped.
#[derive(Debug)]
pub struct ObjectFile {
    writer: Writer,
    temporary: Temporary,
    size: u64,
}

impl ObjectFile {
    /// Returns how many bytes were written.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size
    }

    /// Leaves a hole: so many zero bytes that take no space where the file system can do without.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_hole(&mut self, bytes: u64) -> io::Result<()> {
        let end = self.size.checked_add(bytes).ok_or(io::ErrorKind::FileTooLarge)?;
        rustix::fs::ftruncate(self.temporary.fd(), end)?;
        rustix::fs::seek(self.temporary.fd(), rustix::fs::SeekFrom::Start(end))?;
        self.size = end;
        Ok(())
    }

    /// Writes bytes, as `write_all` does, with an error that says where.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.write_all(bytes);
        written.map_err(Error::io(Step::Write, self.writer.path_of(layout::OBJECTS)))
    }

    /// Stores the object under the digest of what was written.
    ///
    /// # Errors
    /// As [`Writer::store_prepared`].
    pub fn finish(self, id: ObjectId) -> Result<Stored> {
        let Self { writer, temporary, size } = self;
        writer.check_id(&id)?;
        let stored = |new| Stored { id, size, new };
        if writer.state.seen.contains(&id) {
            return Ok(stored(false));
        }
        let present = writer.examine(&id, &Wanted::File(temporary.fd(), size))?;
        let new = !matches!(present, Present::Good) && writer.name(temporary, &id, &present)?;
        writer.state.seen.insert(&id);
        Ok(stored(new))
    }
}

impl Write for ObjectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_all(&mut self.temporary, bytes)?;
        self.size = self.size.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An object being written and hashed. Nothing is left of it when it is dropped.
#[derive(Debug)]
pub struct ObjectWriter {
    file: ObjectFile,
    hasher: VerityHasher,
}

impl ObjectWriter {
    /// Returns how many bytes were written.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.file.size_bytes()
    }

    /// Leaves a hole: so many zero bytes that take no space where the file system can do without.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_hole(&mut self, bytes: u64) -> io::Result<()> {
        self.file.write_hole(bytes)?;
        self.hasher.update_zeros(bytes);
        Ok(())
    }

    /// Writes bytes, as `write_all` does, with an error that says where.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.file.append(bytes)
    }

    /// Writes bytes that `tar` hashes too; see [`VerityHasher::update_with`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append_with(&mut self, tar: &mut Sha256, bytes: &[u8]) -> Result<()> {
        self.hasher.update_with(tar, bytes);
        self.file.append(bytes)
    }

    /// Stores the object under the digest of what was written.
    ///
    /// # Errors
    /// As [`Writer::store_bytes`].
    pub fn finish(self) -> Result<Stored> {
        self.file.finish(self.hasher.finish())
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
