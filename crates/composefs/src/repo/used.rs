//! When entries were used last: an empty file for each, whose time of change says so.
//!
//! Lost without harm: what is not said here was used when it was made. Nothing is synced and no error is told.
//!
//! # Format
//! `docs/formats/repository.md`, section 9.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{AtFlags, OFlags, Stat, Timespec, Timestamps, UTIME_NOW, utimensat},
    io::Errno,
};

use super::{Repository, layout, session::make_directories};
use crate::{
    disk::{
        beneath,
        publish::{self, Modes},
    },
    error::{Category, Error, Result, Step},
    name::{RefName, StreamName},
};

const PLACE: [&str; 2] = [layout::BESIDE, layout::BESIDE_USED];

impl Repository {
    /// Notes that the stream or image of this entry was used just now: pulled, tagged, mounted.
    pub fn note_use(&self, entry: &str) {
        if !self.is_writable() || StreamName::new(entry).is_err() {
            return;
        }
        if let Err(error) = self.touch_use(entry) {
            tracing::debug!(entry, %error, "use is not noted");
        }
    }

    fn touch_use(&self, entry: &str) -> Result<()> {
        let directory = make_directories(self, &PLACE)?;
        let path = || self.path_of(PLACE.join("/")).join(entry);
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        match utimensat(&directory, entry, &times, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            result => return result.map_err(Error::io(Step::Write, path())),
        }
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        beneath::open(&directory, entry, flags, Modes::FILE)
            .map(drop)
            .map_err(Error::io(Step::CreateTemporary, path()))
    }

    /// Returns when entries were used last, by their names, as far as that was noted.
    #[must_use]
    pub fn last_uses(&self) -> HashMap<String, SystemTime> {
        let mut uses = HashMap::new();
        let Some(directory) = self.uses() else { return uses };
        for listed in beneath::list(&directory).unwrap_or_default() {
            if let Ok(name) = listed.name.to_str()
                && let Ok(Some(stat)) = beneath::stat(&directory, name)
            {
                uses.insert(name.to_owned(), modified(&stat));
            }
        }
        uses
    }

    fn uses(&self) -> Option<OwnedFd> {
        beneath::open_directory(self.directory(), self.path(), PLACE.map(str::as_bytes)).ok().flatten()
    }

    /// Returns when an entry was made; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn entry_time(&self, category: Category, name: &str) -> Result<Option<SystemTime>> {
        self.link_time(&layout::entry_path(category, name))
    }

    /// Returns when a ref was made, or made to lead where it leads; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn ref_time(&self, category: Category, name: &RefName) -> Result<Option<SystemTime>> {
        self.link_time(&layout::ref_path(category, name.as_str()))
    }

    fn link_time(&self, path: &str) -> Result<Option<SystemTime>> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let components = directory.split('/').map(str::as_bytes);
        let Some(directory) = beneath::open_directory(self.directory(), self.path(), components)? else {
            return Ok(None);
        };
        let stat = beneath::stat(directory, name).map_err(Error::io(Step::Stat, self.path_of(path)))?;
        Ok(stat.as_ref().map(modified))
    }

    /// Forgets the uses of entries that are no more.
    pub(super) fn forget_uses(&self) -> Result<()> {
        let Some(directory) = self.uses() else { return Ok(()) };
        let path = self.path_of(PLACE.join("/"));
        for listed in beneath::list(&directory).map_err(Error::io(Step::List, &path))? {
            let Ok(name) = listed.name.to_str() else { continue };
            if Category::ALL.iter().all(|category| matches!(self.entry(*category, name), Ok(None))) {
                publish::remove(&directory, name).map_err(Error::io(Step::Unlink, path.join(name)))?;
            }
        }
        Ok(())
    }
}

fn modified(stat: &Stat) -> SystemTime {
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    u64::try_from(stat.st_mtime)
        .ok()
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos)))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
