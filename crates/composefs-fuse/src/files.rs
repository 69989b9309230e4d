//! Objects that are open, and which of them were found to be what they are named.

use std::{
    collections::HashMap,
    io,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use composefs::{
    digest::ObjectId,
    error::Error,
    repo::{OpenObject, UnlockedObjects},
};
use fuser::{BackingId, FileHandle, INodeNo};

use crate::options::Verify;

/// What an object's file was when it was hashed; another file, or one that was written to, has another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// An object that a file on the mount is open on.
pub(crate) struct OpenFile {
    object: OpenObject,
    /// What the kernel reads it by. It lives as long as any file of that inode is open.
    backing: Option<Arc<BackingId>>,
}

/// The object store as the server uses it.
pub(crate) struct Files {
    objects: UnlockedObjects,
    verify: Verify,
    /// Objects without fs-verity that were hashed.
    hashed: Mutex<HashMap<ObjectId, Stamp>>,
    open: RwLock<HashMap<u64, Arc<OpenFile>>>,
    next: AtomicU64,
    /// Whether the kernel may read by itself.
    passthrough: AtomicBool,
    /// Every file of an inode must be open by the same one.
    backing: Mutex<HashMap<u64, Weak<BackingId>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Files {
    pub(crate) fn new(objects: UnlockedObjects, verify: Verify) -> Self {
        Self {
            objects,
            verify,
            hashed: Mutex::default(),
            open: RwLock::default(),
            next: AtomicU64::new(1),
            passthrough: AtomicBool::new(false),
            backing: Mutex::default(),
        }
    }

    /// Lets the kernel read by itself from now on.
    pub(crate) fn allow_passthrough(&self) {
        self.passthrough.store(true, Ordering::Relaxed);
    }

    /// Opens an object of `size` bytes and sees to it that it is what it is named.
    ///
    /// # Errors
    /// As [`UnlockedObjects::open`] and [`UnlockedObjects::check`]; [`Error::FileContents`] for another size.
    pub(crate) fn object(&self, id: &ObjectId, size: u64) -> Result<OpenObject, Error> {
        let object = self.objects.open(id)?;
        if object.size != size {
            let reason = format!("object {id} has {} bytes where the image says {size}", object.size);
            return Err(Error::FileContents { reason });
        }
        if object.by_kernel || self.verify == Verify::Off {
            return Ok(object);
        }
        if self.verify == Verify::Kernel {
            return Err(Error::VerityMissing { id: *id });
        }
        let stamp = stamp(&object).map_err(|source| self.failed(id, source))?;
        if lock(&self.hashed).get(id) != Some(&stamp) {
            self.objects.check(id, &object)?;
            lock(&self.hashed).insert(*id, stamp);
        }
        Ok(object)
    }

    fn failed(&self, id: &ObjectId, source: io::Error) -> Error {
        Error::Io { step: composefs::error::Step::Stat, path: self.objects.path_of(id), source }
    }

    /// Gives an open object a handle. `register` hands it to the kernel to read by itself, if that may be.
    pub(crate) fn keep(
        &self,
        number: INodeNo,
        object: OpenObject,
        register: impl FnOnce(&OpenObject) -> io::Result<BackingId>,
    ) -> (FileHandle, Arc<OpenFile>) {
        let backing = self.backing(number, &object, register);
        let file = Arc::new(OpenFile { object, backing });
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(handle, Arc::clone(&file));
        (FileHandle(handle), file)
    }

    fn backing(
        &self,
        number: INodeNo,
        object: &OpenObject,
        register: impl FnOnce(&OpenObject) -> io::Result<BackingId>,
    ) -> Option<Arc<BackingId>> {
        if !self.passthrough.load(Ordering::Relaxed) {
            return None;
        }
        let mut known = lock(&self.backing);
        if let Some(backing) = known.get(&number.0).and_then(Weak::upgrade) {
            return Some(backing);
        }
        match register(object) {
            Ok(backing) => {
                let backing = Arc::new(backing);
                known.insert(number.0, Arc::downgrade(&backing));
                Some(backing)
            }
            Err(error) => {
                // EPERM without CAP_SYS_ADMIN; ELOOP for objects on a stacked file system. An inode that is open both
                // ways is an error, so once it is all of them.
                tracing::info!(%error, "the kernel cannot read objects by itself");
                self.passthrough.store(false, Ordering::Relaxed);
                None
            }
        }
    }

    /// Returns the object of a handle.
    pub(crate) fn get(&self, handle: FileHandle) -> Option<Arc<OpenFile>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&handle.0).cloned()
    }

    /// Forgets a handle.
    pub(crate) fn release(&self, number: INodeNo, handle: FileHandle) {
        let file = self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.0);
        if file.is_some_and(|file| file.backing.is_some()) {
            let mut known = lock(&self.backing);
            if known.get(&number.0).is_some_and(|backing| backing.strong_count() == 0) {
                known.remove(&number.0);
            }
        }
    }
}

impl OpenFile {
    /// Returns what the kernel reads the object by.
    pub(crate) fn backing(&self) -> Option<&BackingId> {
        self.backing.as_deref()
    }

    /// Reads from `offset` on until the buffer is full or the object ends; returns how much.
    pub(crate) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(&self.object.fd, rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(read) => done = done.saturating_add(read),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }
}

fn stamp(object: &OpenObject) -> io::Result<Stamp> {
    let stat = rustix::fs::fstat(object.fd.as_fd())?;
    Ok(Stamp {
        inode: stat.st_ino,
        size: object.size,
        changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
    })
}
