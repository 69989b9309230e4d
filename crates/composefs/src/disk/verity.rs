//! fs-verity of files in a repository: measuring, enabling, probing.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use composefs_linux::verity;
use rustix::io::Errno;

use super::publish::{Nursery, Temporary};
use crate::digest::{Algorithm, LG_BLOCK_SIZE, ObjectId};

/// What the kernel says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measured {
    /// The file has fs-verity, with this digest.
    Digest(ObjectId),
    /// The file has none, or the file system cannot.
    Missing,
    /// The file has fs-verity with an algorithm of this kernel number.
    OtherAlgorithm(u16),
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::OPNOTSUPP | Errno::NOTTY))
}

/// Asks the kernel for a file's digest.
pub(crate) fn measure(fd: impl AsFd, algorithm: Algorithm) -> io::Result<Measured> {
    match verity::measure(fd) {
        Ok(measured) if measured.algorithm == u16::from(algorithm.kernel_number()) => {
            ObjectId::from_bytes(algorithm, &measured.digest)
                .map(Measured::Digest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
        }
        Ok(measured) => Ok(Measured::OtherAlgorithm(measured.algorithm)),
        Err(error) if is_unsupported(&error) || Errno::from_io_error(&error) == Some(Errno::NODATA) => {
            Ok(Measured::Missing)
        }
        Err(error) => Err(error),
    }
}

/// What came of enabling fs-verity on a temporary file.
#[derive(Debug)]
pub(crate) enum Enabled {
    /// The file has it; the digest is still to be measured.
    Yes(Temporary),
    /// The file system cannot; the file is as it was, but open for reading only.
    Unsupported(Temporary),
}

const ATTEMPTS: usize = 3;
const PAUSE: Duration = Duration::from_millis(1);

/// Enables fs-verity on a temporary file.
///
/// A child forked meanwhile may still hold the writable descriptor; then, after some attempts, the contents
/// are copied to a fresh file.
pub(crate) fn enable(
    temporary: Temporary,
    nursery: Nursery<'_>,
    algorithm: Algorithm,
) -> io::Result<Enabled> {
    let mut temporary = temporary;
    temporary.make_read_only()?;
    match attempt(temporary.fd(), algorithm) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::TXTBSY) => {}
        result => return outcome(result, temporary),
    }
    tracing::debug!("file is open for writing elsewhere, copying it");
    let mut copy = Temporary::create(nursery)?;
    let (mut from, mut to) =
        (File::from(temporary.fd().try_clone_to_owned()?), File::from(copy.fd().try_clone_to_owned()?));
    io::Seek::rewind(&mut from)?;
    io::copy(&mut from, &mut to)?;
    drop(to);
    copy.make_read_only()?;
    let result = attempt(copy.fd(), algorithm);
    outcome(result, copy)
}

/// Enables fs-verity on a file where it is; one that has it already keeps what it has.
///
/// # Errors
/// What the kernel says: `ETXTBSY` while somebody has it open for writing.
pub(crate) fn enable_in_place(fd: impl AsFd, algorithm: Algorithm) -> io::Result<()> {
    attempt(fd.as_fd(), algorithm)
}

fn outcome(result: io::Result<()>, temporary: Temporary) -> io::Result<Enabled> {
    match result {
        Ok(()) => Ok(Enabled::Yes(temporary)),
        Err(error) if is_unsupported(&error) => Ok(Enabled::Unsupported(temporary)),
        Err(error) => Err(error),
    }
}

fn attempt(fd: BorrowedFd<'_>, algorithm: Algorithm) -> io::Result<()> {
    let mut attempts = 0;
    loop {
        let result = verity::enable(fd, u32::from(algorithm.kernel_number()), 1 << LG_BLOCK_SIZE, None);
        attempts += 1;
        match result.as_ref().map_err(Errno::from_io_error) {
            Err(Some(Errno::EXIST)) => return Ok(()),
            Err(Some(Errno::TXTBSY | Errno::BUSY | Errno::INTR)) if attempts < ATTEMPTS => {
                std::thread::sleep(PAUSE);
            }
            _ => return result,
        }
    }
}

/// Tells whether files in a directory can have fs-verity, by trying with a temporary one.
pub(crate) fn is_supported(nursery: Nursery<'_>, algorithm: Algorithm) -> io::Result<bool> {
    let temporary = Temporary::create(nursery)?;
    Ok(matches!(enable(temporary, nursery, algorithm)?, Enabled::Yes(_)))
}
