//! Opening what is there: a repository of today, an old one without `meta.json`, an empty directory.
//!
//! Nothing is changed by opening. An old repository is upgraded when somebody wants to write.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{FileType, Mode, OFlags};

use super::{ErofsFormats, Meta, Repository, Writer, layout, meta::file, store};
use crate::{
    digest::{Algorithm, ObjectId, VerityAlgorithm},
    disk::{
        beneath,
        lock::{Locked, Wait},
        verity::{self, Measured},
    },
    erofs::FormatVersion,
    error::{Error, ReadOnlyReason, Result, Step},
};

/// How a repository is opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct OpenOptions {
    /// The algorithm the caller insists on.
    pub algorithm: Option<Algorithm>,
    /// Refuse a repository without fs-verity.
    pub require_verity: bool,
    /// Do without fs-verity for this run, though the repository demands it.
    pub force_insecure: bool,
    /// Refuse to write to an old repository instead of upgrading it.
    pub no_upgrade: bool,
    /// Take an empty directory for a repository in the making; needs `algorithm`.
    pub allow_empty: bool,
    /// How long to wait while garbage is collected.
    pub wait: Wait,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            algorithm: None,
            require_verity: false,
            force_insecure: false,
            no_upgrade: false,
            allow_empty: false,
            wait: Wait::Forever,
        }
    }
}

impl OpenOptions {
    /// Insists on an algorithm.
    #[must_use]
    pub const fn algorithm(mut self, algorithm: Option<Algorithm>) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Refuses a repository without fs-verity.
    #[must_use]
    pub const fn require_verity(mut self, require: bool) -> Self {
        self.require_verity = require;
        self
    }

    /// Does without fs-verity for this run.
    #[must_use]
    pub const fn force_insecure(mut self, force: bool) -> Self {
        self.force_insecure = force;
        self
    }

    /// Refuses to upgrade an old repository.
    #[must_use]
    pub const fn no_upgrade(mut self, no_upgrade: bool) -> Self {
        self.no_upgrade = no_upgrade;
        self
    }

    /// Takes an empty directory, too.
    #[must_use]
    pub const fn allow_empty(mut self, allow: bool) -> Self {
        self.allow_empty = allow;
        self
    }

    /// Sets how long to wait while garbage is collected.
    #[must_use]
    pub const fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }
}

/// Where a repository's settings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From `meta.json`.
    Meta(Meta),
    /// From the names of its objects: written by 0.3 to 0.6.
    Old {
        /// Whether writing may upgrade it.
        upgradable: bool,
    },
    /// From the caller: the directory is empty, and gets its `meta.json` with the first write.
    Empty,
}

impl Origin {
    pub(super) fn erofs_formats(&self) -> ErofsFormats {
        match self {
            Self::Meta(meta) => meta.erofs.clone(),
            Self::Old { .. } => ErofsFormats::only(FormatVersion::V2),
            Self::Empty => ErofsFormats::only(FormatVersion::V1),
        }
    }
}

/// Returns the repository of the whole system, `/sysroot/composefs`.
#[must_use]
pub fn system_path() -> PathBuf {
    PathBuf::from("/sysroot/composefs")
}

/// Returns the repository below a home directory, `.var/lib/composefs`.
#[must_use]
pub fn user_path(home: &Path) -> PathBuf {
    home.join(".var/lib/composefs")
}

impl Repository {
    /// Opens the repository at `path`, taken from `dirfd` if relative, and takes the shared lock.
    ///
    /// # Errors
    /// [`Error::NotARepository`] for a directory without `meta.json` and objects, [`Error::Meta`] for one
    /// that cannot be used, [`Error::AlgorithmMismatch`], [`Error::VerityRequired`], [`Error::Io`].
    pub fn open(dirfd: impl AsFd, path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self> {
        let path = path.as_ref();
        let directory = open_root(dirfd, path)?;
        Self::from_directory(directory, path, options)
    }

    fn from_directory(directory: OwnedFd, path: &Path, options: &OpenOptions) -> Result<Self> {
        let locked = Arc::new(Locked::shared(directory, path, options.wait)?);
        let (origin, algorithm, verified) = match file::read(locked.directory(), path)? {
            Some((meta, verified)) => {
                check_wanted(options, meta.algorithm)?;
                let algorithm = meta.algorithm;
                (Origin::Meta(meta), algorithm, verified)
            }
            None => match probe_objects(locked.directory(), path)? {
                Probe::Object { algorithm, verified } => {
                    check_wanted(options, algorithm)?;
                    (Origin::Old { upgradable: !options.no_upgrade }, algorithm, verified)
                }
                Probe::NoObjects => match options.algorithm {
                    Some(algorithm) if options.allow_empty => (Origin::Empty, algorithm, false),
                    _ => return Err(Error::NotARepository { path: path.to_owned() }),
                },
            },
        };
        if options.require_verity && !verified && origin != Origin::Empty {
            return Err(Error::VerityRequired { path: path.to_owned() });
        }
        Ok(Self::assemble(locked, origin, algorithm, verified, options.force_insecure))
    }

    /// Turns this into write access.
    ///
    /// # Errors
    /// As [`Repository::writer`].
    pub fn into_writer(self) -> Result<Writer> {
        self.writer()
    }

    /// Returns write access. An old repository gets its `meta.json` here, and so does an empty directory.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] for unknown features, version 0 or a forbidden upgrade, [`Error::InUseHere`]
    /// while a sweep goes on, [`Error::Io`].
    pub fn writer(&self) -> Result<Writer> {
        let repository = self.for_writing()?;
        let state = Arc::new(store::State::new(&repository)?);
        Ok(Writer { repository, state })
    }

    /// Returns the repository as it is written to: with a `meta.json`, and none that forbids it.
    pub(super) fn for_writing(&self) -> Result<Self> {
        self.check_writable()?;
        match self.origin() {
            Origin::Meta(_) => Ok(self.clone()),
            Origin::Old { upgradable: false } => {
                let reason = ReadOnlyReason::NoUpgrade;
                Err(Error::ReadOnly { path: self.path().to_owned(), reason })
            }
            Origin::Old { .. } | Origin::Empty => self.with_meta(),
        }
    }

    /// Refuses a repository whose settings allow reading only.
    fn check_writable(&self) -> Result<()> {
        let reason = match self.origin() {
            Origin::Meta(meta) if !meta.unknown_read_only.is_empty() => {
                ReadOnlyReason::UnknownFeatures(meta.unknown_read_only.clone())
            }
            Origin::Meta(meta) if meta.version == 0 => ReadOnlyReason::VersionZero,
            _ => return Ok(()),
        };
        Err(Error::ReadOnly { path: self.path().to_owned(), reason })
    }

    /// Writes the missing `meta.json` and returns the repository as it is now.
    fn with_meta(&self) -> Result<Self> {
        // What the repository is, whatever this run does without.
        let verified = match self.origin() {
            Origin::Empty => {
                !self.shared.insecure
                    && file::supports_verity(self.directory(), self.algorithm())
                        .map_err(Error::io(Step::EnableVerity, self.path()))?
            }
            _ => self.shared.verified,
        };
        let meta = Meta::new(self.algorithm(), self.erofs_formats());
        if self.is_old() {
            tracing::info!(path = %self.path().display(), "upgrading old repository: writing meta.json, EROFS format 2");
        } else if !verified {
            tracing::warn!(
                path = %self.path().display(),
                "file system has no fs-verity: integrity of this repository rests on user space"
            );
        }
        let (meta, verified) =
            if file::write(self.directory(), self.path(), &meta, verified, file::Existing::Kept)? {
                (meta, verified)
            } else {
                // Somebody was faster. What they wrote is what holds.
                let Some((theirs, verified)) = file::read(self.directory(), self.path())? else {
                    return Err(Error::NotARepository { path: self.path().to_owned() });
                };
                check_wanted(&OpenOptions::default().algorithm(Some(self.algorithm())), theirs.algorithm)?;
                (theirs, verified)
            };
        let locked = Arc::clone(&self.shared.locked);
        let origin = Origin::Meta(meta);
        let repository = Self::assemble(locked, origin, self.algorithm(), verified, self.shared.insecure);
        repository.check_writable()?;
        Ok(repository)
    }
}

/// Opens a repository's directory, following symlinks: the path is the user's.
pub(super) fn open_root(dirfd: impl AsFd, path: &Path) -> Result<OwnedFd> {
    beneath::open(dirfd, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::io(Step::OpenRepository, path))
}

fn check_wanted(options: &OpenOptions, actual: Algorithm) -> Result<()> {
    match options.algorithm {
        Some(wanted) if wanted != actual => {
            Err(Error::AlgorithmMismatch { actual: VerityAlgorithm(actual), wanted: VerityAlgorithm(wanted) })
        }
        _ => Ok(()),
    }
}

enum Probe {
    Object { algorithm: Algorithm, verified: bool },
    NoObjects,
}

/// Tells algorithm and fs-verity of an old repository by the first object found.
fn probe_objects(directory: impl AsFd, path: &Path) -> Result<Probe> {
    let objects_path = path.join(layout::OBJECTS);
    let Some(objects) = beneath::open_directory(&directory, path, [layout::OBJECTS.as_bytes()])? else {
        return Ok(Probe::NoObjects);
    };
    for prefix in beneath::list(&objects).map_err(Error::io(Step::List, &objects_path))? {
        if prefix.kind != FileType::Directory || prefix.name.as_bytes().len() != 2 {
            continue;
        }
        let Some(directory) = beneath::open_directory(&objects, &objects_path, [prefix.name.as_bytes()])?
        else {
            continue;
        };
        let prefix_path = objects_path.join(beneath::os(prefix.name.as_bytes()));
        for object in beneath::list(&directory).map_err(Error::io(Step::List, &prefix_path))? {
            let hex = [prefix.name.as_bytes(), object.name.as_bytes()].concat();
            let (Ok(id), FileType::RegularFile) = (ObjectId::from_any_hex(hex), object.kind) else {
                continue;
            };
            let path = prefix_path.join(beneath::os(object.name.as_bytes()));
            let fd =
                beneath::open_file(&directory, &object.name).map_err(Error::io(Step::Open, path.clone()))?;
            let measured =
                verity::measure(fd, id.algorithm()).map_err(Error::io(Step::MeasureVerity, path))?;
            let verified = matches!(measured, Measured::Digest(_));
            return Ok(Probe::Object { algorithm: id.algorithm(), verified });
        }
    }
    Ok(Probe::NoObjects)
}
