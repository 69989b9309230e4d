//! Objects without the lock: for one who serves an image for longer than collectors can wait, and whose image is a
//! root by its mount's record.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use super::{
    layout,
    object::{Opened, hash_file, open_below},
};
use crate::{
    digest::{Algorithm, ObjectId},
    disk::verity::Measured,
    error::{Error, Result, Step},
};

/// The objects of a repository, opened and checked as [`Repository`](super::Repository) does, without its lock.
pub struct UnlockedObjects {
    objects: OwnedFd,
    path: PathBuf,
    algorithm: Algorithm,
    verified: bool,
}

impl fmt::Debug for UnlockedObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnlockedObjects").field("path", &self.path).finish_non_exhaustive()
    }
}

/// An object that is open.
#[derive(Debug)]
pub struct OpenObject {
    /// The file, open for reading.
    pub fd: OwnedFd,
    /// Its size in bytes.
    pub size: u64,
    /// Whether the kernel checks what is read from it. If not, nobody has looked at it yet.
    pub by_kernel: bool,
}

impl UnlockedObjects {
    /// Takes an open `objects/`; `path` is the repository's, for messages. In a `verified` repository objects without
    /// fs-verity are errors.
    #[must_use]
    pub const fn new(objects: OwnedFd, path: PathBuf, algorithm: Algorithm, verified: bool) -> Self {
        Self { objects, path, algorithm, verified }
    }

    /// Tells whether every object must have fs-verity.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        self.verified
    }

    /// Returns the algorithm of all ids.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the path of an object, for messages.
    #[must_use]
    pub fn path_of(&self, id: &ObjectId) -> PathBuf {
        self.path.join(layout::object_path(id))
    }

    /// Returns the repository's path, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens an object for reading; contents that the kernel does not vouch for are not looked at.
    ///
    /// # Errors
    /// [`Error::ObjectMissing`]; [`Error::ObjectMismatch`] if the kernel measures something else;
    /// [`Error::VerityMissing`] in a verified repository; [`Error::Io`].
    pub fn open(&self, id: &ObjectId) -> Result<OpenObject> {
        let (Opened { fd, size, .. }, measured) =
            open_below(&self.objects, id).map_err(|(step, source)| match step {
                Step::Open if source.kind() == io::ErrorKind::NotFound => Error::ObjectMissing { id: *id },
                step => Error::Io { step, path: self.path_of(id), source },
            })?;
        let by_kernel = match measured {
            Measured::Digest(actual) if actual == *id => true,
            Measured::Digest(actual) => return Err(Error::ObjectMismatch { id: *id, actual }),
            Measured::OtherAlgorithm(number) => {
                let (path, expected) = (self.path_of(id), id.algorithm());
                return Err(Error::VerityAlgorithm { path, number, expected });
            }
            Measured::Missing if self.verified => return Err(Error::VerityMissing { id: *id }),
            Measured::Missing => false,
        };
        Ok(OpenObject { fd, size, by_kernel })
    }

    /// Reads an open object through and compares with its name. Its place in the file changes.
    ///
    /// # Errors
    /// [`Error::ObjectMismatch`], [`Error::Io`].
    pub fn check(&self, id: &ObjectId, object: &OpenObject) -> Result<()> {
        let failed = |source| Error::Io { step: Step::Read, path: self.path_of(id), source };
        let copy = object.fd.try_clone().map_err(failed)?;
        let actual = hash_file(copy, object.size, id).map_err(failed)?;
        if actual == *id { Ok(()) } else { Err(Error::ObjectMismatch { id: *id, actual }) }
    }
}
