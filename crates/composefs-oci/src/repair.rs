//! Mending a repository: a plan made from what a check found, then what it says, done.
//!
//! What is lost comes from what is there where that can be: images from their layers, layers from blobs kept as they were
//! shipped, documents from objects nothing leads to any more. The rest comes from a source: the one that is said, or the
//! reference that the pull noted. Whatever comes is checked as in a pull, and a good object is never replaced.
//!
//! # Format
//! `docs/formats/repository.md`, section 8; `docs/formats/oci.md`, section 11.

mod other;
mod donor;
mod look;
mod unit;
mod image;
mod subjects;
mod step;
mod left;
mod explained;
mod planner;
mod plan;
mod apply;
mod finish;

pub use apply::RepairReport;
pub use donor::{Open, Sources};
pub use left::Left;
pub use plan::RepairPlan;
pub use step::{Action, RepairStep};

use composefs::{progress::Cancel, repo::fan_out};
use composefs_tar::Mode;

use crate::{find::Name, model::platform::Platform};

/// What is mended, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RepairOptions {
    /// The images to mend; none: everything.
    pub names: Vec<Name>,
    /// Also put every stream together and compare it with its name before planning.
    pub deep: bool,
    /// Threads that check, store and import; at least one.
    pub jobs: usize,
    /// Lenient takes what container runtimes take, strict what upstream takes.
    pub mode: Mode,
    /// Which image of several a source gives, where it is not asked by digest.
    pub platform: Platform,
    /// Asks the repair to stop; what was mended by then stays so.
    pub cancel: Cancel,
}

impl Default for RepairOptions {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            deep: false,
            jobs: fan_out::processors(),
            mode: Mode::Lenient,
            platform: Platform::native(),
            cancel: Cancel::default(),
        }
    }
}

impl RepairOptions {
    /// Adds an image to mend.
    #[must_use]
    pub fn name(mut self, name: Name) -> Self {
        self.names.push(name);
        self
    }

    /// Sets whether every stream is put together.
    #[must_use]
    pub const fn deep(mut self, deep: bool) -> Self {
        self.deep = deep;
        self
    }

    /// Sets the number of threads; at least one.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// Sets the mode.
    #[must_use]
    pub const fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets which image of several a source gives.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Sets what asks the repair to stop.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }
}
