//! What processes that are gone have left behind: nothing is lost by it, and it takes space.

use super::{
    Subject,
    finding::{Fault, Finding},
};
use crate::{
    error::{Category, Result},
    repo::{
        Repository, gc, layout,
        lease::{self, BootId},
        session::Sessions,
    },
};

/// Finds old temporaries, and records of mounts of an earlier boot and of pulls that are no more.
pub(super) fn check(repository: &Repository) -> Result<Vec<Finding>> {
    // Refs first: a pull that begins meanwhile is among the sessions read later.
    let mounts = repository.refs(Category::Images, layout::MOUNTS)?;
    let pulls = repository.refs(Category::Streams, layout::PULLS)?;
    let (boot, sessions) = (BootId::current()?, Sessions::read(repository)?);
    let mut temporaries = gc::old_temporaries(repository)?;
    temporaries.extend(sessions.dead.iter().cloned());
    let mut findings: Vec<Finding> = temporaries
        .into_iter()
        .map(|path| Finding::new(Subject::Temporary { path }, Fault::LeftoverTemporary))
        .collect();
    let mounts = mounts.into_iter().map(|(name, entry)| (Category::Images, layout::MOUNTS, name, entry));
    let pulls = pulls.into_iter().map(|(name, entry)| (Category::Streams, layout::PULLS, name, entry));
    for (category, below, name, entry) in mounts.chain(pulls) {
        let name = format!("{below}/{name}");
        let stale = match category {
            Category::Images => lease::is_stale(&name, &boot),
            Category::Streams => sessions.is_stale(&name),
        };
        if stale {
            let subject = Subject::Ref { category, name, entry: Some(entry) };
            findings.push(Finding::new(subject, Fault::StaleRecord));
        }
    }
    Ok(findings)
}
