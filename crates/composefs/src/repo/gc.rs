//! Collecting garbage: a plan that only reads, and the sweep that carries it out.
//!
//! The plan is made under the shared lock, while others go on. The sweep takes the exclusive lock for as
//! long as it needs to read the names again and to unlink. Names go before the objects they lead to, so a
//! power cut leaves garbage and never a name that leads nowhere.
//!
//! # Format
//! `docs/formats/repository.md`, section 7.

mod garbage;
mod limit;
mod names;
pub mod sweep;
pub mod discard;

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use rustix::{
    fs::FileType,
    time::{ClockId, clock_gettime},
};
use serde::{Serialize, Serializer};

pub use super::reach::Unreadable;
pub use limit::{Candidate, Dropped, Fit, Limit};
pub use sweep::GcReport;

use limit::Choice;
use names::{Names, referrer};

use super::{
    Repository,
    entry::EntryLink,
    layout,
    lease::{self, BootId},
    reach::Reach,
    refs::RefLink,
    session::{Sessions, Time},
};
use crate::{
    digest::ObjectId,
    disk::{
        beneath::{self, Listed},
        publish::{META_PREFIX, OBJECT_PREFIX, SYMLINK_PREFIX},
    },
    error::{Category, Error, Result, Step},
};

/// What is collected.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GcOptions {
    /// Names of entries that are kept with all they need, whether a ref leads to them or not.
    pub roots: Vec<String>,
    /// Sweep though something reachable cannot be read; what only that needs is lost.
    pub force: bool,
    /// Keep what is younger: entries made or used since with all they need, and objects made since.
    pub keep_newer: Option<Duration>,
    /// The most the store may have.
    pub limit: Option<Limit>,
}

impl GcOptions {
    /// Adds an entry that is kept.
    #[must_use]
    pub fn root(mut self, name: impl Into<String>) -> Self {
        self.roots.push(name.into());
        self
    }

    /// Sweeps though something cannot be read.
    #[must_use]
    pub const fn force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Keeps what is younger than this.
    #[must_use]
    pub const fn keep_newer(mut self, age: Option<Duration>) -> Self {
        self.keep_newer = age;
        self
    }

    /// Lets images go until the store fits.
    #[must_use]
    pub fn limit(mut self, limit: Option<Limit>) -> Self {
        self.limit = limit;
        self
    }
}

/// An object that nothing needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// Its id.
    #[serde(serialize_with = "as_text")]
    pub id: ObjectId,
    /// Its size in bytes.
    pub size: u64,
}

fn as_text<S: Serializer>(id: &ObjectId, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// Names to be unlinked, paths below the repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Doomed {
    /// Entries of images.
    pub images: Vec<String>,
    /// Entries of streams.
    pub streams: Vec<String>,
    /// Refs to images that lead nowhere.
    pub image_refs: Vec<String>,
    /// Refs to streams that lead nowhere.
    pub stream_refs: Vec<String>,
    /// Refs that keep an artifact with a subject that goes, or is gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<String>,
    /// Refs that go so that the rest fits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped_refs: Vec<String>,
    /// Records of mounts of an earlier boot.
    pub mounts: Vec<String>,
    /// Records of pulls that are no more.
    pub pulls: Vec<String>,
    /// How many of the images' names lead nowhere already.
    pub broken_images: usize,
    /// How many of the streams' names lead nowhere already.
    pub broken_streams: usize,
}

/// What would be collected. Making it reads only; [`GcPlan::apply`] acts.
#[derive(Debug, Serialize)]
pub struct GcPlan {
    /// The objects to go, by id. Empty if something reachable cannot be read and `force` is not set.
    pub objects: Vec<Garbage>,
    /// The names to go.
    pub names: Doomed,
    /// Temporary files and records that others left behind, paths below the repository.
    pub temporaries: Vec<String>,
    /// How many objects that nothing needs stay, since pulls that are at work may have stored them, or they are younger
    /// than what was asked for.
    pub spared: usize,
    /// The images that go so that the rest fits, in the order in which they go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Dropped>,
    /// What the store will have, if there is a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
    /// Names that are none of a repository, and stay.
    pub foreign: Vec<String>,
    /// What is reachable and cannot be read: nothing is known about what it needs.
    #[serde(serialize_with = "as_texts")]
    pub unreadable: Vec<Unreadable>,
    /// What would go besides if everything reachable could be read; the sweep looks again, and may find that it can.
    #[serde(skip)]
    held_back: Vec<Garbage>,
    #[serde(skip)]
    options: GcOptions,
    #[serde(skip)]
    choice: Choice,
    /// Since when things are kept.
    #[serde(skip)]
    keep_since: Option<SystemTime>,
    #[serde(skip)]
    names_read: Names,
    #[serde(skip)]
    reach: Reach,
}

fn as_texts<S: Serializer>(list: &[Unreadable], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(|one| format!("{}: {}", one.id, one.error)))
}

/// What records of mounts and pulls are measured by.
#[derive(Debug)]
pub(super) struct Now {
    boot: BootId,
    pub(super) sessions: Sessions,
    pub(super) keep_since: Option<SystemTime>,
}

impl Now {
    pub(super) fn read(repository: &Repository, keep_since: Option<SystemTime>) -> Result<Self> {
        Ok(Self { boot: BootId::current()?, sessions: Sessions::read(repository)?, keep_since })
    }

    /// Returns the time since when objects are no garbage, whatever needs them.
    fn spare_since(&self) -> Option<Time> {
        let kept = self.keep_since.map(|since| {
            let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), i64::from(since.subsec_nanos()))
        });
        kept.into_iter().chain(self.sessions.since).min()
    }

    /// Tells whether a ref is the record of something that is over.
    pub(super) fn is_stale(&self, category: Category, link: &RefLink) -> bool {
        link.name_str().is_some_and(|name| match category {
            Category::Images => lease::is_stale(name, &self.boot),
            Category::Streams => self.sessions.is_stale(name),
        })
    }
}

/// Joins a directory and a name for lists of paths.
fn path_text(directory: &str, name: &[u8]) -> String {
    format!("{directory}/{}", String::from_utf8_lossy(name))
}

impl GcPlan {
    /// Finds out what nothing needs.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a root that is no entry, [`Error::Io`]. What cannot be read is in the plan; with a limit
    /// and without `force` it is the error.
    pub fn new(repository: &Repository, options: &GcOptions) -> Result<Self> {
        // An age before the beginning of time keeps everything.
        let since = |age| SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let now = Now::read(repository, options.keep_newer.map(since))?;
        let names = Names::read(repository)?;
        for root in &options.roots {
            if Category::ALL.iter().all(|category| names.entry(*category, root).is_none()) {
                return Err(Error::NotFound { category: Category::Streams, name: root.clone() });
            }
        }
        let (choice, fit) = Choice::make(repository, options, &names, &now)?;
        let mut reach = Reach::default();
        names.mark(repository, options, &now, &choice, &mut reach);
        let sweep = options.force || reach.unreadable().is_empty();
        let doomed = names.doomed(repository, &now, &choice, &reach, sweep)?;
        let mut plan = Self {
            objects: Vec::new(),
            names: doomed,
            temporaries: Vec::new(),
            spared: 0,
            dropped: if sweep { choice.dropped(&names, &reach) } else { Vec::new() },
            fit,
            choice,
            keep_since: now.keep_since,
            foreign: Vec::new(),
            unreadable: Vec::new(),
            held_back: Vec::new(),
            options: options.clone(),
            names_read: names,
            reach,
        };
        let found = garbage::find(repository, &plan.reach, now.spare_since())?;
        plan.spared = found.spared;
        plan.foreign = found.foreign;
        match sweep {
            true => plan.objects = found.objects,
            false => plan.held_back = found.objects,
        }
        plan.temporaries = old_temporaries(repository)?;
        plan.temporaries.extend(now.sessions.dead);
        plan.unreadable = plan.reach.take_unreadable();
        Ok(plan)
    }

    /// Tells whether everything reachable could be read. If not, objects are swept only by force.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_empty()
    }

    /// Returns how many bytes the objects to go have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|garbage| garbage.size).fold(0, u64::saturating_add)
    }
}

impl fmt::Display for GcPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (images, streams) = (self.names.broken_images, self.names.broken_streams);
        write_totals(f, self.objects.len(), self.bytes(), (images, streams), self.names.referrers.len())
    }
}

/// Finds temporaries older than this boot or a day: paths below the repository.
pub(super) fn old_temporaries(repository: &Repository) -> Result<Vec<String>> {
    let mut temporaries = Vec::new();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let up = u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0);
    let newest_old = now.saturating_sub(up.min(24 * 3600));
    let places = [
        (Some(repository.directory()), "", &[SYMLINK_PREFIX, META_PREFIX][..]),
        (repository.objects()?, layout::OBJECTS, &[OBJECT_PREFIX][..]),
    ];
    for (directory, below, prefixes) in places {
        let Some(directory) = directory else { continue };
        let path = repository.path_of(below);
        for Listed { name, kind } in beneath::list(directory).map_err(Error::io(Step::List, &path))? {
            let Ok(text) = name.to_str() else { continue };
            if kind == FileType::Directory || !prefixes.iter().any(|prefix| text.starts_with(prefix)) {
                continue;
            }
            let stat = beneath::stat(directory, &name).map_err(Error::io(Step::Stat, path.join(text)))?;
            let old = stat.is_some_and(|stat| u64::try_from(stat.st_mtime).unwrap_or(0) < newest_old);
            if old {
                let slash = if below.is_empty() { "" } else { "/" };
                temporaries.push(format!("{below}{slash}{text}"));
            }
        }
    }
    Ok(temporaries)
}

/// Writes the lines that plan and report have in common.
fn write_totals(
    f: &mut fmt::Formatter<'_>,
    objects: usize,
    bytes: u64,
    (images, streams): (usize, usize),
    referrers: usize,
) -> fmt::Result {
    write!(f, "Objects: {objects} removed ({bytes} bytes)")?;
    if images > 0 || streams > 0 {
        write!(f, "\nPruned symlinks: {images} images, {streams} streams")?;
    }
    if referrers > 0 {
        write!(f, "\nReferrers: {referrers} removed, whose subject is not kept")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
