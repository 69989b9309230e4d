//! The contents of one regular file.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags, ftruncate},
    io::{pwrite, retry_on_intr},
};

use crate::{
    disk::beneath,
    error::{Error, Result, Step},
    filetree::Regular,
    image::copy_contents,
    repo::Repository,
};

/// Runs of zeros of this size, where they begin at a multiple of it, become holes.
const BLOCK: usize = 4096;

/// Makes an empty file.
pub(super) fn create(directory: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    beneath::open(directory, name, flags, Mode::RUSR | Mode::WUSR)
        .map_err(Error::io(Step::Create, beneath::os(path)))
}

/// Writes a file's contents and returns their size.
pub(super) fn write(repo: &Repository, file: &Regular, fd: &OwnedFd, path: &[u8]) -> Result<u64> {
    let mut output = Output { fd: fd.as_fd(), path, offset: 0 };
    match file {
        // A hole, and nothing to look through for one.
        Regular::Sparse(size) => output.offset = *size,
        file => {
            copy_contents(repo, file, |bytes| output.push(bytes)).map_err(|error| match error {
                Error::FileContents { reason } => {
                    let source = std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
                    Error::io(Step::Read, beneath::os(path))(source)
                }
                error => error,
            })?;
        }
    }
    // After a hole at the end.
    ftruncate(fd, output.offset).map_err(Error::io(Step::Write, beneath::os(path)))?;
    Ok(output.offset)
}

struct Output<'a> {
    fd: BorrowedFd<'a>,
    path: &'a [u8],
    offset: u64,
}

impl Output<'_> {
    /// Writes what is not zeros, and goes on behind the rest.
    fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let zeros = bytes.chunks_exact(BLOCK).take_while(|block| block.iter().all(|byte| *byte == 0));
            let hole = zeros.count().saturating_mul(BLOCK);
            let (_, rest) = bytes.split_at(hole.min(bytes.len()));
            let data = rest
                .chunks(BLOCK)
                .take_while(|block| block.len() < BLOCK || block.iter().any(|byte| *byte != 0))
                .map(<[u8]>::len)
                .sum::<usize>();
            let (data, rest) = rest.split_at(data.min(rest.len()));
            self.offset = self.offset.saturating_add(hole as u64);
            self.write(data)?;
            bytes = rest;
        }
        Ok(())
    }

    fn write(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let written = retry_on_intr(|| pwrite(self.fd, data, self.offset))
                .map_err(Error::io(Step::Write, beneath::os(self.path)))?;
            if written == 0 {
                return Err(Error::io(Step::Write, beneath::os(self.path))(rustix::io::Errno::IO));
            }
            self.offset = self.offset.saturating_add(written as u64);
            data = data.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}
