//! Reading objects: there, whole, and what their names say.
//!
//! In a verified repository the kernel's measurement must equal the name, and the kernel checks every read
//! afterwards. Elsewhere contents that are handed out in memory are hashed here, and a descriptor is handed
//! out as it is.

use std::{
    fs::File,
    io::{self, BufReader, Read as _},
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::{FileType, fstat};

use super::Repository;
use crate::{
    digest::{ObjectId, VerityHasher, object_id_of},
    disk::{
        beneath,
        verity::{self, Measured},
    },
    error::{Error, Result, Step},
};

/// How much is read at a time when a file is hashed.
const READ_SIZE: usize = 256 * 1024;

/// An object's descriptor and what the kernel says about it.
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    /// Whether the kernel vouches for the contents.
    pub(super) measured: bool,
    pub(super) size: u64,
}

impl Repository {
    /// Tells whether an object is there: a regular file of that name, whatever it holds.
    ///
    /// # Errors
    /// [`Error::ForeignId`], [`Error::Io`].
    pub fn has_object(&self, id: &ObjectId) -> Result<bool> {
        self.check_id(id)?;
        let Some(objects) = self.objects()? else { return Ok(false) };
        let stat = beneath::stat(objects, id.object_path())
            .map_err(|errno| self.object_error(Step::Stat, id, errno.into()))?;
        Ok(stat.is_some_and(|stat| beneath::kind(&stat) == FileType::RegularFile))
    }

    /// Returns an object's size in bytes.
    ///
    /// # Errors
    /// [`Error::ObjectMissing`], [`Error::ForeignId`], [`Error::Io`].
    pub fn object_size(&self, id: &ObjectId) -> Result<u64> {
        self.check_id(id)?;
        let stat = match self.objects()? {
            Some(objects) => beneath::stat(objects, id.object_path())
                .map_err(|errno| self.object_error(Step::Stat, id, errno.into()))?,
            None => None,
        };
        match stat {
            Some(stat) if beneath::kind(&stat) == FileType::RegularFile => Ok(beneath::size(&stat)),
            Some(_) => Err(self.object_error(Step::Stat, id, io::Error::other("not a regular file"))),
            None => Err(Error::ObjectMissing { id: *id }),
        }
    }

    /// Opens an object for reading.
    ///
    /// In an insecure repository the contents of an object without fs-verity are not looked at; use
    /// [`Repository::read_object`] or [`Repository::check_object`] where they matter.
    ///
    /// # Errors
    /// [`Error::ObjectMissing`]; [`Error::ObjectMismatch`] if the kernel measures something else;
    /// [`Error::VerityMissing`] in a verified repository; [`Error::Io`].
    pub fn open_object(&self, id: &ObjectId) -> Result<OwnedFd> {
        self.open_measured(id).map(|opened| opened.fd)
    }

    /// Reads an object of at most `limit` bytes. The contents are what the name says.
    ///
    /// # Errors
    /// As [`Repository::open_object`], and [`Error::ObjectTooLarge`]; [`Error::ObjectMismatch`] also if
    /// user space computes something else.
    pub fn read_object(&self, id: &ObjectId, limit: u64) -> Result<Vec<u8>> {
        let opened = self.open_measured(id)?;
        if opened.size > limit {
            return Err(Error::ObjectTooLarge { id: *id, size: opened.size, limit });
        }
        let contents =
            beneath::read_all(opened.fd, limit).map_err(|error| self.object_error(Step::Read, id, error))?;
        if !opened.measured {
            let actual = object_id_of(id.algorithm(), &contents);
            if actual != *id {
                return Err(Error::ObjectMismatch { id: *id, actual });
            }
        }
        Ok(contents)
    }

    /// Checks an object: by the kernel's measurement if it has fs-verity, else by hashing it. Returns its size.
    ///
    /// # Errors
    /// As [`Repository::read_object`], without a limit.
    pub fn check_object(&self, id: &ObjectId) -> Result<u64> {
        let opened = self.open_measured(id)?;
        if !opened.measured {
            let actual = hash_file(opened.fd, opened.size, id)
                .map_err(|error| self.object_error(Step::Read, id, error))?;
            if actual != *id {
                return Err(Error::ObjectMismatch { id: *id, actual });
            }
        }
        Ok(opened.size)
    }

    /// Checks an object as [`Repository::check_object`], and by reading all of it too: with fs-verity a file that rots keeps
    /// its digest, and only whoever reads it is told. Returns its size.
    ///
    /// # Errors
    /// As [`Repository::read_object`], without a limit.
    pub fn read_through(&self, id: &ObjectId) -> Result<u64> {
        self.copy_object(id, |_| Ok(()))
    }

    /// Hands an object's contents on in pieces and returns its size. The contents are what the name says if this
    /// returns; after an error what `take` was given is not to be used.
    ///
    /// # Errors
    /// As [`Repository::read_object`], without a limit, or what `take` gives.
    pub fn copy_object<E: From<Error>>(
        &self,
        id: &ObjectId,
        mut take: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<u64, E> {
        let opened = self.open_measured(id)?;
        // Where the kernel checks what is read, nobody else needs to.
        let mut hasher = (!opened.measured).then(|| VerityHasher::new(id.algorithm()));
        let mut file = File::from(opened.fd);
        let room = usize::try_from(opened.size).unwrap_or(READ_SIZE).clamp(8192, READ_SIZE);
        let mut buffer = vec![0; room];
        let mut size = 0_u64;
        loop {
            let got = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.object_error(Step::Read, id, error).into()),
            };
            let bytes = buffer.get(..got).unwrap_or_default();
            if let Some(hasher) = &mut hasher {
                hasher.update(bytes);
            }
            size = size.saturating_add(got as u64);
            take(bytes)?;
        }
        match hasher.map(VerityHasher::finish) {
            Some(actual) if actual != *id => Err(Error::ObjectMismatch { id: *id, actual }.into()),
            _ => Ok(size),
        }
    }

    /// Opens an object and asks the kernel about it, with the demands of this repository.
    pub(super) fn open_measured(&self, id: &ObjectId) -> Result<Opened> {
        let (opened, measured) = self.open_raw(id)?;
        match measured {
            Measured::Digest(actual) if actual == *id => Ok(Opened { measured: true, ..opened }),
            Measured::Digest(actual) => Err(Error::ObjectMismatch { id: *id, actual }),
            Measured::OtherAlgorithm(number) => Err(Error::VerityAlgorithm {
                path: self.path_of(super::layout::object_path(id)),
                number,
                expected: id.algorithm(),
            }),
            Measured::Missing if self.is_verified() => Err(Error::VerityMissing { id: *id }),
            Measured::Missing => Ok(opened),
        }
    }

    /// Opens an object and asks the kernel about it, without demands.
    pub(super) fn open_raw(&self, id: &ObjectId) -> Result<(Opened, Measured)> {
        self.check_id(id)?;
        let missing = || Error::ObjectMissing { id: *id };
        let objects = self.objects()?.ok_or_else(missing)?;
        match open_below(objects, id) {
            Ok(opened) => Ok(opened),
            Err((Step::Open, error)) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err((step, error)) => Err(self.object_error(step, id, error)),
        }
    }

    pub(super) fn object_error(&self, step: Step, id: &ObjectId, source: io::Error) -> Error {
        Error::Io { step, path: self.path_of(super::layout::object_path(id)), source }
    }
}

/// Opens an object below `objects/` and asks the kernel about it; on failure says what was being done.
pub(super) fn open_below(
    objects: impl AsFd,
    id: &ObjectId,
) -> std::result::Result<(Opened, Measured), (Step, io::Error)> {
    let fd = beneath::open_file_below(objects, &id.object_directory(), &id.object_file_name())
        .map_err(|error| (Step::Open, error))?;
    let size = fstat(&fd).map(|stat| beneath::size(&stat)).map_err(|errno| (Step::Stat, errno.into()))?;
    let measured = verity::measure(&fd, id.algorithm()).map_err(|error| (Step::MeasureVerity, error))?;
    Ok((Opened { fd, measured: false, size }, measured))
}

/// Computes the digest of a file that is said to have `size` bytes, from where it stands.
pub(super) fn hash_file(fd: OwnedFd, size: u64, like: &ObjectId) -> io::Result<ObjectId> {
    let mut hasher = VerityHasher::new(like.algorithm());
    // Most files are small, and clearing a large buffer costs as much as hashing them.
    let room = usize::try_from(size).unwrap_or(READ_SIZE).clamp(8192, READ_SIZE);
    io::copy(&mut BufReader::with_capacity(room, File::from(fd)), &mut hasher)?;
    Ok(hasher.finish())
}

/// What a file must hold to be the object it is named.
pub(super) enum Wanted<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// What this file holds, of this size.
    File(std::os::fd::BorrowedFd<'a>, u64),
}

impl Wanted<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, size) => *size,
        }
    }

    /// Compares with the contents of `fd`, from its beginning to its end.
    pub(super) fn equals(&self, fd: impl AsFd, size: u64) -> io::Result<bool> {
        if size != self.size() {
            return Ok(false);
        }
        let mut buffer = vec![0; READ_SIZE.min(usize::try_from(size).unwrap_or(READ_SIZE))];
        let mut other = match self {
            Self::File(..) => vec![0; buffer.len()],
            Self::Bytes(_) => Vec::new(),
        };
        let mut offset = 0_u64;
        while offset < size {
            let read = read_at(&fd, &mut buffer, offset)?;
            if read == 0 {
                return Ok(false);
            }
            let have = buffer.get(..read).unwrap_or_default();
            let same = match self {
                Self::Bytes(bytes) => {
                    let start = usize::try_from(offset).unwrap_or(usize::MAX);
                    bytes.get(start..start.saturating_add(read)) == Some(have)
                }
                Self::File(wanted, _) => {
                    let other = other.get_mut(..read).unwrap_or_default();
                    read_at(wanted, other, offset)? == read && *other == *have
                }
            };
            if !same {
                return Ok(false);
            }
            offset = offset.saturating_add(read as u64);
        }
        Ok(true)
    }
}

/// Fills the buffer from an offset, less only at the end.
fn read_at(fd: impl AsFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(&fd, rest, offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(read) => done = done.saturating_add(read),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(done)
}
