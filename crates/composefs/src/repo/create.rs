//! Making a repository, and taking all names out of one.
//!
//! # Format
//! `docs/formats/repository.md`, section 2, "Creation".

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, mkdirat, unlinkat},
    io::Errno,
};

use super::{ErofsFormats, Meta, OpenOptions, Repository, Wait, layout, meta::file, open::open_root};
use crate::{
    digest::{Algorithm, VerityAlgorithm},
    disk::{
        barrier,
        beneath::{self, Listed},
        lock::Locked,
        publish::remove,
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
    let directory = open_root(&dirfd, path)?;
    // Kept to the end: between the old settings and the new ones nobody may take the repository for an old one.
    let _exclusive = match options.reset_metadata {
        true => Some(reset(&dirfd, path, options)?),
        false => None,
    };
    // A reset keeps the objects on purpose; they do not make the repository an old one then.
    if options.ensure && !options.reset_metadata && file::read(&directory, path)?.is_none() {
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
    let verified = !options.insecure;
    if options.reset_metadata {
        file::write(directory.as_fd(), path, &meta, verified, file::Existing::Replaced)?;
        return Ok(InitOutcome::Created);
    }
    for _ in 0..2 {
        if let Some((have, _)) = file::read(&directory, path)? {
            return compare(path, &have, &meta, options);
        }
        if file::write(directory.as_fd(), path, &meta, verified, file::Existing::Kept)? {
            // Whoever made the directory: a process that was killed right after may not have come to this.
            sync_parent(&directory, path)?;
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

/// Makes the name of a repository durable.
fn sync_parent(directory: impl AsFd, path: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent_path = path.parent().unwrap_or(path);
    match beneath::open(directory, c"..", flags, Mode::empty()) {
        Ok(parent) => barrier::sync(parent, parent_path),
        // Its names may be made and not be listed: then they become durable when the kernel sees fit.
        Err(Errno::ACCESS) => Ok(()),
        Err(errno) => Err(Error::io(Step::Open, parent_path)(errno)),
    }
}

/// Removes all names, under the exclusive lock, which is held until the result is dropped. `meta.json` stays until the
/// new one takes its place: a reset cut short leaves an empty repository, not something that looks like an old one.
fn reset(dirfd: impl AsFd, path: &Path, options: &InitOptions) -> Result<Locked> {
    let locked = Locked::shared(open_root(dirfd, path)?, path, options.wait)?;
    locked.begin_sweeping(options.wait)?;
    remove_names(locked.directory(), path)?;
    Ok(locked)
}

fn remove_names(directory: BorrowedFd<'_>, path: &Path) -> Result<()> {
    // Refs before entries: a cut leaves no dangling name.
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
    barrier::sync(directory, path)
}

/// A directory being emptied.
struct Level {
    directory: OwnedFd,
    path: PathBuf,
    /// Its name in the level above.
    name: CString,
    /// What is left in it.
    names: Vec<Listed>,
}

impl Level {
    fn new(directory: OwnedFd, path: PathBuf, name: CString) -> Result<Self> {
        let names = beneath::list(&directory).map_err(Error::io(Step::List, &path))?;
        Ok(Self { directory, path, name, names })
    }
}

/// Removes everything below a directory, without recursion and without following links.
fn remove_below(directory: OwnedFd, path: &Path) -> Result<()> {
    let mut levels = vec![Level::new(directory, path.to_owned(), CString::default())?];
    while let Some(level) = levels.last_mut() {
        if let Some(Listed { name, kind }) = level.names.pop() {
            let child = level.path.join(beneath::os(name.as_bytes()));
            if kind != FileType::Directory {
                remove(&level.directory, &name).map_err(Error::io(Step::Unlink, child))?;
            } else if let Some(fd) =
                beneath::open_directory(&level.directory, &level.path, [name.as_bytes()])?
            {
                levels.push(Level::new(fd, child, name)?);
            }
        } else if let Some(Level { path, name, .. }) = levels.pop()
            && let Some(above) = levels.last()
        {
            unlinkat(&above.directory, &name, AtFlags::REMOVEDIR).map_err(Error::io(Step::Unlink, path))?;
        }
    }
    Ok(())
}
