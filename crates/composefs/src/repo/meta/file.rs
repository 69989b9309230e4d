//! `meta.json` on disk: read with its fs-verity state, written durable before anybody can see it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use super::{Meta, MetaError, SIZE_MAX};
use crate::{
    digest::Algorithm,
    disk::{
        barrier::{self, Barrier},
        beneath,
        publish::{META_PREFIX, Modes, Nursery, Temporary},
        verity::{self, Enabled, Measured},
    },
    error::{Error, Result, Step},
    repo::layout,
};

/// Reads `meta.json`, and whether it has fs-verity, by which a repository is verified; `None` if there is none.
pub(in crate::repo) fn read(directory: impl AsFd, path: &Path) -> Result<Option<(Meta, bool)>> {
    let path = path.join(layout::META);
    let fd = match beneath::open_file(directory, layout::META) {
        Ok(fd) => fd,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(Step::Open, path)(error)),
    };
    let copy = fd.try_clone().map_err(Error::io(Step::Open, &path))?;
    let bytes = match beneath::read_all(fd, SIZE_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(Error::Meta { path, source: MetaError::TooLarge });
        }
        Err(error) => return Err(Error::io(Step::Read, path)(error)),
    };
    let meta = Meta::parse(&bytes).map_err(|source| Error::Meta { path: path.clone(), source })?;
    let measured =
        verity::measure(copy, meta.algorithm).map_err(Error::io(Step::MeasureVerity, path.clone()))?;
    match measured {
        Measured::Digest(_) => Ok(Some((meta, true))),
        Measured::Missing => Ok(Some((meta, false))),
        Measured::OtherAlgorithm(number) => {
            Err(Error::VerityAlgorithm { path, number, expected: meta.algorithm })
        }
    }
}

/// What becomes of a `meta.json` that is there when one is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::repo) enum Existing {
    /// It stays, and nothing is written.
    Kept,
    /// The new one takes its name.
    Replaced,
}

/// Writes `meta.json` durably; tells whether it did.
pub(in crate::repo) fn write(
    directory: BorrowedFd<'_>,
    path: &Path,
    meta: &Meta,
    verified: bool,
    existing: Existing,
) -> Result<bool> {
    let meta_path = path.join(layout::META);
    let nursery = Nursery { directory, below: ".", prefix: META_PREFIX, modes: Modes::new() };
    let durable = if verified { Some(Barrier::open(directory, path)?) } else { None };
    let mut temporary = Temporary::create(nursery).map_err(Error::io(Step::CreateTemporary, &meta_path))?;
    fill(&temporary, &meta.to_bytes()).map_err(Error::io(Step::Write, &meta_path))?;
    if verified {
        let enabled = verity::enable(temporary, nursery, meta.algorithm)
            .map_err(Error::io(Step::EnableVerity, &meta_path))?;
        temporary = match enabled {
            Enabled::Yes(temporary) => temporary,
            Enabled::Unsupported(_) => return Err(Error::VerityUnsupported { path: path.to_owned() }),
        };
    }
    temporary.settle(nursery, &meta_path, durable.as_ref())?;
    let created = match existing {
        Existing::Kept => temporary.publish(directory, layout::META),
        Existing::Replaced => temporary.replace(nursery, directory, layout::META).map(|()| true),
    };
    let created = created.map_err(Error::io(Step::Link, &meta_path))?;
    if created {
        barrier::sync(directory, path)?;
    }
    Ok(created)
}

fn fill(temporary: &Temporary, bytes: &[u8]) -> io::Result<()> {
    let mut file = std::fs::File::from(temporary.fd().try_clone_to_owned()?);
    io::Write::write_all(&mut file, bytes)
}

/// Tells whether the file system of a directory can do fs-verity, by trying with a temporary file.
///
/// # Errors
/// When no temporary can be made there.
pub fn supports_verity(directory: impl AsFd, algorithm: Algorithm) -> io::Result<bool> {
    let modes = Modes::new();
    let nursery = Nursery { directory: directory.as_fd(), below: ".", prefix: META_PREFIX, modes };
    verity::is_supported(nursery, algorithm)
}
