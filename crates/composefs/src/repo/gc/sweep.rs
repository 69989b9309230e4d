//! The sweep: carrying out a plan under the exclusive lock, after looking again.

use std::{
    collections::BTreeMap,
    fmt,
    os::fd::BorrowedFd,
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use super::{
    super::{Sweeper, fan_out, layout, reach::Unreadable},
    Dropped, Fit, Garbage, GcPlan, Names, Now, write_totals,
};
use crate::{
    disk::{barrier, beneath, publish},
    error::{Error, Result, Step},
    progress::{Event, Observer},
};

/// What was collected.
#[derive(Debug, Default, Serialize)]
pub struct GcReport {
    /// How many objects were removed.
    pub objects_removed: usize,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many entries of images and refs to images were removed.
    pub images_pruned: usize,
    /// How many entries of streams and refs to streams were removed.
    pub streams_pruned: usize,
    /// How many refs of artifacts were removed whose subject is not kept.
    pub referrers_removed: usize,
    /// How many records of earlier mounts were removed.
    pub mounts_reaped: usize,
    /// How many records of earlier pulls were removed.
    pub pulls_reaped: usize,
    /// How many temporary files of others were removed.
    pub temporaries_removed: usize,
    /// The images that went so that the rest fits.
    pub dropped: Vec<Dropped>,
    /// What the store was to have, if there is a limit; a little more if something came in between.
    pub fit: Option<Fit>,
    /// What could not be read; objects were swept only by force then.
    #[serde(serialize_with = "super::as_texts")]
    pub unreadable: Vec<Unreadable>,
}

impl GcReport {
    /// Tells whether everything reachable could be read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_empty()
    }
}

impl fmt::Display for GcReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pruned = (self.images_pruned, self.streams_pruned);
        write_totals(f, self.objects_removed, self.bytes, pruned, self.referrers_removed)
    }
}

impl GcPlan {
    /// Removes what the plan names and still nothing needs.
    ///
    /// Names are read again first: what became reachable since the plan was made stays, what became garbage
    /// waits for the next plan.
    ///
    /// # Errors
    /// [`Error::Io`]. What was removed before the error was garbage; names never outlive their objects.
    pub fn apply(mut self, sweeper: &Sweeper, observer: &dyn Observer) -> Result<GcReport> {
        let now = Now::read(sweeper, self.keep_since)?;
        let names = Names::read(sweeper)?;
        self.choice.spare_used(sweeper, &names, &now);
        // What could not be read may have been mended since; then what it needs must be known before a sweep.
        if names != self.names_read || !self.unreadable.is_empty() || self.options.limit.is_some() {
            names.mark(sweeper, &self.options, &now, &self.choice, &mut self.reach);
            self.unreadable = self.reach.take_unreadable();
        }
        let sweep = self.options.force || self.unreadable.is_empty();
        let doomed = names.doomed(sweeper, &now, &self.choice, &self.reach, sweep)?;
        let mut report = GcReport {
            images_pruned: doomed.images.len().saturating_add(doomed.image_refs.len()),
            streams_pruned: doomed.streams.len().saturating_add(doomed.stream_refs.len()),
            referrers_removed: doomed.referrers.len(),
            mounts_reaped: doomed.mounts.len(),
            pulls_reaped: doomed.pulls.len(),
            dropped: if sweep { self.choice.dropped(&names, &self.reach) } else { Vec::new() },
            fit: self.fit,
            ..GcReport::default()
        };
        // Refs before entries before objects, each durable before the next.
        remove_paths(
            sweeper,
            [
                doomed.image_refs,
                doomed.stream_refs,
                doomed.referrers,
                doomed.dropped_refs,
                doomed.mounts,
                doomed.pulls,
            ]
            .concat(),
        )?;
        remove_paths(sweeper, [doomed.images, doomed.streams].concat())?;
        if sweep {
            self.objects.append(&mut self.held_back);
            self.objects.retain(|garbage| !self.reach.is_live(&garbage.id));
            (report.objects_removed, report.bytes) = remove_objects(sweeper, &self.objects, observer)?;
        }
        // What was left behind may have got an owner, who waited for us to look.
        let beside = format!("{}/", layout::BESIDE);
        self.temporaries.retain(|path| !path.starts_with(&beside) || now.sessions.is_dead_record(path));
        report.temporaries_removed = self.temporaries.len();
        remove_paths(sweeper, self.temporaries)?;
        sweeper.forget_uses()?;
        report.unreadable = self.unreadable;
        Ok(report)
    }
}

/// Removes names, and makes that durable.
pub(super) fn remove_paths(sweeper: &Sweeper, paths: Vec<String>) -> Result<()> {
    let mut by_directory: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in paths {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
        by_directory.entry(directory.to_owned()).or_default().push(name.to_owned());
    }
    for (directory, names) in by_directory {
        let full = sweeper.path_of(&directory);
        let components = directory.split('/').filter(|component| !component.is_empty()).map(str::as_bytes);
        let Some(fd) = beneath::open_directory(sweeper.directory(), sweeper.path(), components)? else {
            continue;
        };
        for name in names {
            publish::remove(&fd, name.as_str()).map_err(Error::io(Step::Unlink, full.join(&name)))?;
        }
        barrier::sync(&fd, &full)?;
    }
    Ok(())
}

/// Removes objects, on all cores: directories are independent. They are not synced: garbage may come back.
pub(super) fn remove_objects(
    sweeper: &Sweeper,
    objects: &[Garbage],
    observer: &dyn Observer,
) -> Result<(usize, u64)> {
    let Some(directory) = sweeper.objects()? else { return Ok((0, 0)) };
    let path = sweeper.path_of(layout::OBJECTS);
    observer.event(&Event::Begin {
        what: "objects",
        name: "sweep",
        total: u64::try_from(objects.len()).ok(),
    });
    let groups: Vec<&[Garbage]> =
        objects.chunk_by(|a, b| a.id.as_bytes().first() == b.id.as_bytes().first()).collect();
    let total = Mutex::new((0_usize, 0_u64));
    let outcome = fan_out::each(&groups, fan_out::processors(), |group| {
        let (count, bytes) = remove_group(directory, &path, group)?;
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        *total = (total.0.saturating_add(count), total.1.saturating_add(bytes));
        drop(total);
        observer.event(&Event::Advance { name: "sweep", by: group.len() as u64 });
        Ok(())
    });
    observer.event(&Event::Done { name: "sweep" });
    outcome.map(|()| total.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn remove_group(objects: BorrowedFd<'_>, path: &Path, group: &[Garbage]) -> Result<(usize, u64)> {
    let Some(first) = group.first() else { return Ok((0, 0)) };
    let prefix = first.id.object_directory();
    let Some(directory) = beneath::open_directory(objects, path, [prefix.as_bytes()])? else {
        return Ok((0, 0));
    };
    let (mut count, mut bytes) = (0_usize, 0_u64);
    for garbage in group {
        let name = garbage.id.object_file_name();
        let gone = publish::remove(&directory, name.as_str())
            .map_err(Error::io(Step::Unlink, path.join(&prefix).join(&name)))?;
        if gone {
            count = count.saturating_add(1);
            bytes = bytes.saturating_add(garbage.size);
        }
    }
    Ok((count, bytes))
}
