//! The plan of a repair: from findings to steps, each with where its contents come from, and what cannot be mended.

use std::{collections::BTreeMap, fmt};

use composefs::{
    progress::Observer,
    repo::{CheckOptions, Damage, Repository, check::Finding},
};
use serde::{Serialize, Serializer};

use crate::{digest::Digest, error::Error};

use super::{
    RepairOptions,
    donor::{Donors, Sources},
    explained::Explained,
    left::Left,
    look::Look,
    planner::Planner,
    step::RepairStep,
    subjects::{Index, Subjects},
    unit::{self, examine},
};

/// What a repair would do. Making it reads only; [`RepairPlan::apply`] acts.
pub struct RepairPlan<'a> {
    /// The steps, in the order in which they are done.
    pub steps: Vec<RepairStep>,
    /// What cannot be mended.
    pub left: Vec<Left>,
    pub(super) damage: Damage,
    pub(super) findings: Vec<Finding>,
    /// The images that something is done for.
    pub(super) work: Vec<Work>,
    pub(super) indexes: BTreeMap<Digest, Index>,
    /// Ids and names that `left` is about.
    pub(super) explained: Explained,
    /// What the images are made of.
    pub(super) covered: Explained,
    pub(super) donors: Donors<'a>,
    pub(super) options: RepairOptions,
}

/// An image that something is done for.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) subject: unit::Subject,
    pub(super) names: Vec<String>,
    /// Its layers that are no good and can be had.
    pub(super) layers: Vec<super::unit::Layer>,
}

impl fmt::Debug for RepairPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepairPlan")
            .field("steps", &self.steps)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<'a> RepairPlan<'a> {
    /// Checks the repository, under its shared lock, and finds out what mends what is found. Sources are asked for
    /// documents that are lost, and for nothing else; the lock is given up while those are asked that may take long
    /// ([`Source::waits`](crate::transport::Source::waits)).
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name that is not here, [`Error::Cancelled`], what listing directories gives. Damage is
    /// no error, and sources that cannot be read are none.
    pub fn new(
        repo: &Repository,
        sources: &'a Sources<'a>,
        options: &RepairOptions,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let check = CheckOptions::default().threads(options.jobs).deep(options.deep);
        let findings = repo.check(&check, observer)?;
        let damage = Damage::new(repo, &findings, options.jobs)?;
        let findings = findings.findings;
        let look = Look::new(repo, damage, &findings);
        let donors = Donors::new(sources, options.platform.clone(), repo.session()?);
        let mut planner = Planner {
            look: &look,
            donors,
            options,
            steps: BTreeMap::new(),
            left: Vec::new(),
            covered: Explained::default(),
            lost: Explained::default(),
            work: Vec::new(),
        };
        let subjects = Subjects::of(&look, &mut planner.donors, &options.names)?;
        planner.verity();
        for (subject, names) in &subjects.images {
            if options.cancel.is_cancelled() {
                return Err(Error::Cancelled { kept: 0 });
            }
            let unit = examine(&look, &mut planner.donors, subject, names.clone())?;
            planner.plan(&unit)?;
        }
        for (digest, index) in &subjects.indexes {
            planner.plan_index(digest, index)?;
        }
        if options.names.is_empty() {
            planner.plan_rest(&findings)?;
        }
        let Planner { mut donors, steps, mut left, covered, lost, work, .. } = planner;
        donors.ask_no_more();
        left.sort();
        left.dedup();
        Ok(Self {
            steps: steps.into_values().collect(),
            left,
            damage: look.damage,
            findings,
            work,
            indexes: subjects.indexes,
            explained: lost,
            covered,
            donors,
            options: options.clone(),
        })
    }

    /// Tells whether there is nothing to do and nothing that cannot be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.left.is_empty()
    }

    /// Returns how many bytes come from sources.
    #[must_use]
    pub fn bytes_to_fetch(&self) -> u64 {
        self.steps.iter().map(|step| step.bytes).fold(0, u64::saturating_add)
    }
}

impl fmt::Display for RepairPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to mend");
        }
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        for left in &self.left {
            writeln!(f, "cannot be mended: {left}")?;
        }
        write!(f, "{} steps, {} bytes to fetch", self.steps.len(), self.bytes_to_fetch())
    }
}

impl Serialize for RepairPlan<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Plan<'a> {
            steps: &'a [RepairStep],
            left: &'a [Left],
            bytes_to_fetch: u64,
        }
        Plan { steps: &self.steps, left: &self.left, bytes_to_fetch: self.bytes_to_fetch() }
            .serialize(serializer)
    }
}
