//! Making a repository: `meta.json`, durable before anybody can see it.
//!
//! # Format
//! `docs/formats/repository.md`, section 2, "Creation".

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, mkdirat, unlinkat},
    io::Errno,
};

use super::{
    ErofsFormats, Meta, OpenOptions, Repository, Wait, layout,
    open::{open_root, read_meta},
};
use crate::{
    digest::{Algorithm, VerityAlgorithm},
    disk::{
        barrier, beneath,
        lock::Locked,
        publish::{META_PREFIX, Modes, Nursery, Temporary, remove},
        verity::{self, Enabled},
    },
    erofs::FormatVersion,
    error::{Category, Error, Result, Step},
};

/// How a repository is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InitOptions {
    /// The algorithm of all ids; sha512 is what the command line takes by default.
    pub algorithm: Algorithm,
    /// The EROFS formats of new images.
    pub erofs: ErofsFormats,
    /// Do without fs-verity.
    pub insecure: bool,
    /// Take what is there, whatever its EROFS formats, and upgrade an old repository.
    pub ensure: bool,
    /// Remove `streams/`, `images/` and `meta.json` first, keeping the objects.
    pub reset_metadata: bool,
    /// How long to wait for other users of the repository when it is reset.
    pub wait: Wait,
}

impl InitOptions {
    /// Takes the algorithm, V1 images and fs-verity.
    #[must_use]
    pub const fn new(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            erofs: ErofsFormats::only(FormatVersion::V1),
            insecure: false,
            ensure: false,
            reset_metadata: false,
            wait: Wait::Forever,
        }
    }

    /// Sets the EROFS formats.
    #[must_use]
    pub fn erofs(mut self, erofs: ErofsFormats) -> Self {
        self.erofs = erofs;
        self
    }

    /// Does without fs-verity.
    #[must_use]
    pub const fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Takes what is there.
    #[must_use]
    pub const fn ensure(mut self, ensure: bool) -> Self {
        self.ensure = ensure;
        self
    }

    /// Removes all names first.
    #[must_use]
    pub const fn reset_metadata(mut self, reset: bool) -> Self {
        self.reset_metadata = reset;
        self
    }

    /// Sets how long a reset waits for other users.
    #[must_use]
    pub const fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }
}

/// What [`init`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitOutcome {
    /// There was none.
    Created,
    /// There was one with the same settings.
    AlreadyInitialized,
    /// There was one with other EROFS formats; `ensure` keeps them.
    Preserved,
    /// There was an old one, which has its `meta.json` now.
    Upgraded,
}

/// Makes a repository at `path`, taken from `dirfd` if relative. The directory is made, its parents are not.
///
/// # Errors
/// [`Error::OtherSettings`] or [`Error::AlgorithmMismatch`] if there is one that differs,
/// [`Error::VerityUnsupported`] if the file system cannot and `insecure` is not set, [`Error::InUse`] for a
/// reset, [`Error::Io`].
pub fn init(dirfd: impl AsFd, path: impl AsRef<Path>, options: &InitOptions) -> Result<InitOutcome> {
    let path = path.as_ref();
    match mkdirat(&dirfd, path, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::io(Step::MakeDirectory, path)(errno)),
    }
    if options.reset_metadata {
        reset(&dirfd, path, options)?;
    }
    let directory = open_root(&dirfd, path)?;
    // A reset keeps the objects on purpose; they do not make the repository an old one then.
    if options.ensure && !options.reset_metadata && read_meta(&directory, path)?.is_none() {
        let open = OpenOptions::default().algorithm(Some(options.algorithm)).wait(options.wait);
        match Repository::open(&dirfd, path, &open) {
            Ok(repository) => {
                repository.into_writer()?;
                return Ok(InitOutcome::Upgraded);
            }
            Err(Error::NotARepository { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let meta = Meta::new(options.algorithm, options.erofs.clone());
    for _ in 0..2 {
        if let Some((have, _)) = read_meta(&directory, path)? {
            return compare(path, &have, &meta, options);
        }
        if write_meta(directory.as_fd(), path, &meta, !options.insecure)? {
            return Ok(InitOutcome::Created);
        }
    }
    Err(Error::io(Step::Link, path.join(layout::META))(Errno::EXIST))
}

fn compare(path: &Path, have: &Meta, wanted: &Meta, options: &InitOptions) -> Result<InitOutcome> {
    if have.algorithm != wanted.algorithm {
        return Err(Error::AlgorithmMismatch {
            actual: VerityAlgorithm(have.algorithm),
            wanted: VerityAlgorithm(wanted.algorithm),
        });
    }
    if have == wanted {
        return Ok(if options.ensure { InitOutcome::Preserved } else { InitOutcome::AlreadyInitialized });
    }
    if options.ensure {
        return Ok(InitOutcome::Preserved);
    }
    let text = |meta: &Meta| {
        let formats: Vec<_> = meta.erofs.iter().map(|version| version.to_string()).collect();
        format!("version {}, EROFS formats {}", meta.version, formats.join(" and "))
    };
    Err(Error::OtherSettings { path: path.to_owned(), have: text(have), wanted: text(wanted) })
}

/// Writes `meta.json` durably unless there is one; tells whether it did.
pub(super) fn write_meta(
    directory: BorrowedFd<'_>,
    path: &Path,
    meta: &Meta,
    verified: bool,
) -> Result<bool> {
    let meta_path = path.join(layout::META);
    let nursery = Nursery { directory, below: ".", prefix: META_PREFIX, modes: Modes::new() };
    let mut temporary = Temporary::create(nursery).map_err(Error::io(Step::CreateTemporary, &meta_path))?;
    write(&mut temporary, &meta.to_bytes()).map_err(Error::io(Step::Write, &meta_path))?;
    barrier::sync(temporary.fd(), &meta_path)?;
    if verified {
        let enabled = verity::enable(temporary, nursery, meta.algorithm)
            .map_err(Error::io(Step::EnableVerity, &meta_path))?;
        temporary = match enabled {
            Enabled::Yes(temporary) => temporary,
            Enabled::Unsupported(_) => return Err(Error::VerityUnsupported { path: path.to_owned() }),
        };
    }
    let created = temporary.publish(directory, layout::META).map_err(Error::io(Step::Link, &meta_path))?;
    if created {
        barrier::sync(directory, path)?;
    }
    Ok(created)
}

fn write(temporary: &mut Temporary, bytes: &[u8]) -> io::Result<()> {
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

/// Removes all names and `meta.json`, under the exclusive lock.
fn reset(dirfd: impl AsFd, path: &Path, options: &InitOptions) -> Result<()> {
    let locked = Locked::shared(open_root(dirfd, path)?, path, options.wait)?;
    locked.begin_sweeping(options.wait)?;
    let result = remove_names(locked.directory(), path);
    locked.end_sweeping();
    result
}

fn remove_names(directory: BorrowedFd<'_>, path: &Path) -> Result<()> {
    // Refs before entries, entries before the settings they were made with: a cut leaves no dangling name.
    for category in Category::ALL {
        let category_path = path.join(category.directory());
        let refs = [category.directory().as_bytes(), layout::REFS.as_bytes()];
        if let Some(refs) = beneath::open_directory(directory, path, refs)? {
            remove_below(refs, &category_path.join(layout::REFS))?;
        }
        if let Some(entries) = beneath::open_directory(directory, path, [category.directory().as_bytes()])? {
            remove_below(entries, &category_path)?;
            unlinkat(directory, category.directory(), AtFlags::REMOVEDIR)
                .map_err(Error::io(Step::Unlink, &category_path))?;
        }
    }
    remove(directory, layout::META).map_err(Error::io(Step::Unlink, path.join(layout::META)))?;
    barrier::sync(directory, path)
}

/// Removes everything below a directory, without recursion and without following links.
fn remove_below(directory: std::os::fd::OwnedFd, path: &Path) -> Result<()> {
    let mut stack = vec![(directory, path.to_owned(), None::<std::ffi::CString>)];
    while let Some((directory, path, _)) = stack.last() {
        let mut deeper = None;
        for listed in beneath::list(directory).map_err(Error::io(Step::List, path))? {
            let child = path.join(beneath::os(listed.name.as_bytes()));
            if listed.kind == FileType::Directory {
                if let Some(fd) = beneath::open_directory(directory, path, [listed.name.as_bytes()])? {
                    deeper = Some((fd, child, Some(listed.name)));
                    break;
                }
            } else {
                remove(directory, &listed.name).map_err(Error::io(Step::Unlink, child))?;
            }
        }
        if let Some(deeper) = deeper {
            stack.push(deeper);
            continue;
        }
        let Some((_, path, name)) = stack.pop() else { break };
        if let (Some(name), Some((parent, ..))) = (name, stack.last()) {
            unlinkat(parent, &name, AtFlags::REMOVEDIR).map_err(Error::io(Step::Unlink, path))?;
        }
    }
    Ok(())
}
