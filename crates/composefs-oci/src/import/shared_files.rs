//! Files of a medium that become objects without being copied: they share their blocks with the object.
//!
//! The thread that reads a blob meets the file first; the one that splits the tar finds out later, by the offset in
//! the tar, that an object's contents are this file's. In between it waits here. Both see the bytes of the object, not
//! of the file, so that nobody can change one between hashing and storing.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::fd::BorrowedFd,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use composefs::repo::{ObjectFile, Writer};

use crate::transport::FileTaker;

/// Smaller files are copied: sharing takes a transaction of the file system, and is in whole blocks.
const SHARED_FROM: u64 = 64 * 1024;

/// What is done about files that could be shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Their blocks are shared where the file system can do that; else they are copied.
    #[default]
    WherePossible,
    /// They are shared, or the pull fails; files below 64 KiB are copied nonetheless.
    Required,
    /// They are copied.
    Never,
}

/// The files of one layer that wait to become objects.
#[derive(Debug)]
pub struct SharedFiles<'a> {
    writer: &'a Writer,
    sharing: Sharing,
    given_up: AtomicBool,
    /// By their offsets in the tar, which grow.
    waiting: Mutex<VecDeque<(u64, ObjectFile)>>,
}

impl<'a> SharedFiles<'a> {
    /// Makes a place for files on their way to this repository.
    #[must_use]
    pub fn new(writer: &'a Writer, sharing: Sharing) -> Self {
        let given_up = AtomicBool::new(sharing == Sharing::Never);
        Self { writer, sharing, given_up, waiting: Mutex::default() }
    }

    /// Drops what waits: the blob is read from its beginning.
    pub(crate) fn forget(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the object for the contents that begin at this offset of the tar, if there is one.
    pub(super) fn claim(&self, offset: u64, size: u64) -> Option<ObjectFile> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((at, object)) = waiting.pop_front() {
            if at == offset && object.size_bytes() == size {
                return Some(object);
            }
            if at >= offset {
                waiting.push_front((at, object));
                break;
            }
        }
        None
    }
}

impl FileTaker for SharedFiles<'_> {
    fn take(&self, file: BorrowedFd<'_>, offset: u64, size: u64) -> io::Result<Option<File>> {
        if size < SHARED_FROM || self.given_up.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let shared = self.writer.share_file(file).map_err(io::Error::other)?;
        let Some(object) = shared else {
            if self.sharing == Sharing::Required {
                return Err(io::ErrorKind::CrossesDevices.into());
            }
            self.given_up.store(true, Ordering::Relaxed);
            return Ok(None);
        };
        // One that has just grown is read as it was: its size is checked by who reads it.
        let contents = object.contents()?;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back((offset, object));
        Ok(Some(contents))
    }
}
