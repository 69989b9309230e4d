//! Checking a repository: every object, stream, image and ref, without changing anything.
//!
//! Damage is collected, not thrown: a [`Finding`] says what is wrong with what and what mends it. Only a
//! directory that cannot be listed ends the check.
//!
//! # Format
//! `docs/formats/repository.md`, section 8; the lines are those of `docs/formats/cli.md`, section 4.

pub mod subject;
pub mod remedy;
pub mod finding;
mod work;
mod names;
mod deep;
mod objects;
mod leftovers;
mod unneeded;

pub use finding::{ContentDigest, Fault, Finding, Level, Reason};
pub use remedy::Remedy;
pub use subject::Subject;

use std::collections::HashSet;

use deep::Seen;
use work::Work;

use super::{
    Meta, Origin, Repository, fan_out, layout,
    meta::{MetaError, SIZE_MAX},
};
use crate::{
    digest::VerityAlgorithm,
    disk::beneath,
    error::{Category, Error, Result, Step, chain},
    progress::{Cancel, Observer},
};

/// How thoroughly a repository is checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckOptions {
    /// Leave the objects' contents alone; streams, images and refs are checked. Without effect on a deep check.
    pub metadata_only: bool,
    /// Rebuild every stream, too, and compare it with what its name promises; read the contents of all objects though
    /// the kernel has measured them; look for what was left over.
    pub deep: bool,
    /// How many threads read; at least one.
    pub threads: usize,
    /// Ends the check early. The report has what was found until then, and says so.
    pub cancel: Cancel,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { metadata_only: false, deep: false, threads: fan_out::processors(), cancel: Cancel::default() }
    }
}

impl CheckOptions {
    /// Leaves the objects' contents alone.
    #[must_use]
    pub fn metadata_only(mut self, metadata_only: bool) -> Self {
        self.metadata_only = metadata_only;
        self
    }

    /// Rebuilds every stream.
    #[must_use]
    pub fn deep(mut self, deep: bool) -> Self {
        self.deep = deep;
        self
    }

    /// Sets how many threads read.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets what ends the check early.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }
}

/// How many things of a kind were looked at, and how many are damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Looked at.
    pub checked: u64,
    /// Of these, damaged.
    pub corrupted: u64,
}

impl Count {
    /// Returns how many are good.
    #[must_use]
    pub const fn good(&self) -> u64 {
        self.checked.saturating_sub(self.corrupted)
    }

    const fn add(&mut self, good: bool) {
        self.checked = self.checked.saturating_add(1);
        if !good {
            self.corrupted = self.corrupted.saturating_add(1);
        }
    }
}

/// The state of `meta.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaState {
    /// There and good.
    Good,
    /// There and no good.
    Faulty,
    /// Not there: an old repository.
    Absent,
}

/// What a check found.
#[derive(Debug)]
pub struct CheckReport {
    /// The state of `meta.json`.
    pub meta: MetaState,
    /// Objects; none with [`CheckOptions::metadata_only`].
    pub objects: Count,
    /// Entries in `streams/`. Missing objects do not make one damaged.
    pub streams: Count,
    /// Entries in `images/`. Missing objects do not make one damaged.
    pub images: Count,
    /// Entries and refs that lead nowhere.
    pub broken_links: u64,
    /// Objects that streams and images need and that are not there, counted where they are needed.
    pub missing_objects: u64,
    /// What is wrong, in the order of the checks.
    pub findings: Vec<Finding>,
    /// Whether it was stopped before all was checked; the counts are of what was.
    pub stopped: bool,
}

impl CheckReport {
    /// Tells whether all was checked and nothing is wrong; warnings do not count.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        !self.stopped && self.errors().next().is_none()
    }

    /// Walks the findings that are errors.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.level == Level::Error)
    }

    /// Adds what rebuilding the streams found.
    fn add_rebuilt(&mut self, mut findings: Vec<Finding>) {
        // Most of what cannot be opened is found by two, but reading can fail now and have been good a moment ago.
        let known: HashSet<&Subject> = self.findings.iter().map(|finding| &finding.subject).collect();
        findings.retain(|finding| {
            !matches!(finding.fault, Fault::StreamOpen(_)) || !known.contains(&finding.subject)
        });
        let bad = findings.iter().filter(|finding| matches!(finding.fault, Fault::StreamContents { .. }));
        let bad = u64::try_from(bad.count()).unwrap_or(u64::MAX);
        self.streams.corrupted = self.streams.corrupted.saturating_add(bad);
        self.findings.append(&mut findings);
    }

    fn find(&mut self, subject: Subject, fault: Fault) {
        self.findings.push(Finding::new(subject, fault));
    }
}

impl Repository {
    /// Checks everything, under the shared lock.
    ///
    /// Memory: some buffers for each thread, the largest image, and with [`CheckOptions::deep`] an id for each object.
    ///
    /// # Errors
    /// [`Error::Io`] if a directory cannot be listed. All else is in the report.
    pub fn check(&self, options: &CheckOptions, observer: &dyn Observer) -> Result<CheckReport> {
        let mut report = CheckReport {
            meta: MetaState::Good,
            objects: Count::default(),
            streams: Count::default(),
            images: Count::default(),
            broken_links: 0,
            missing_objects: 0,
            findings: Vec::new(),
            stopped: false,
        };
        let work = Work::new(self, options, observer);
        self.check_meta(&mut report)?;
        let seen = Seen::default();
        let rebuilt = if options.deep { deep::check(&work, &seen)? } else { Vec::new() };
        if options.deep || !options.metadata_only {
            objects::check(&work, &seen, &mut report)?;
        }
        for category in [Category::Streams, Category::Images] {
            names::check_entries(&work, category, &mut report)?;
            names::check_refs(&work, category, &mut report)?;
        }
        report.add_rebuilt(rebuilt);
        if options.deep {
            report.findings.extend(leftovers::check(self)?);
        }
        report.stopped = work.has_stopped();
        if !report.stopped {
            unneeded::settle(self, &mut report)?;
        }
        Ok(report)
    }

    fn check_meta(&self, report: &mut CheckReport) -> Result<()> {
        let path = self.path_of(layout::META);
        let parsed = match beneath::open_file(self.directory(), layout::META) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                report.meta = MetaState::Absent;
                if matches!(self.origin(), Origin::Meta(_)) {
                    // It was there when the repository was opened.
                    return Err(Error::io(Step::Open, path)(error));
                }
                return Ok(());
            }
            Err(error) => return Err(Error::io(Step::Open, path)(error)),
            Ok(fd) => match beneath::read_all(fd, SIZE_MAX) {
                Ok(bytes) => Meta::parse(&bytes),
                Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => Err(MetaError::TooLarge),
                Err(error) => return Err(Error::io(Step::Read, path)(error)),
            },
        };
        match parsed {
            Ok(meta) if meta.algorithm == self.algorithm() => {}
            Ok(meta) => {
                report.meta = MetaState::Faulty;
                let fault = Fault::MetadataAlgorithm {
                    expected: VerityAlgorithm(meta.algorithm),
                    opened: VerityAlgorithm(self.algorithm()),
                };
                report.find(Subject::Meta, fault);
            }
            Err(error) => {
                report.meta = MetaState::Faulty;
                report.find(Subject::Meta, Fault::MetadataParse(chain(&error)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
