//! Damage that costs nothing: an object that no entry needs.
//!
//! A power cut leaves such where there is no fs-verity: objects have their names before they are durable, and entries
//! wait for that. A store compares what it finds and replaces it; a collection removes it.

use std::collections::HashSet;

use super::{CheckReport, Fault, Finding, Level, Remedy, Subject};
use crate::{
    digest::ObjectId,
    error::{Category, Result},
    repo::{Repository, reach::Reach},
};

/// Makes findings of damaged objects that nothing needs warnings. None if something that is named cannot be read: that
/// may need them.
pub(super) fn settle(repository: &Repository, report: &mut CheckReport) -> Result<()> {
    if !report.findings.iter().any(|finding| damaged(finding).is_some()) {
        return Ok(());
    }
    let mut reach = Reach::default();
    let mut streams = HashSet::new();
    for category in Category::ALL {
        for id in repository.entries(category)?.into_iter().filter_map(|entry| entry.target.ok()) {
            if category == Category::Images {
                reach.image(id);
            } else {
                streams.insert(id);
                reach.stream(id);
            }
        }
    }
    reach.walk(repository, &|id| streams.contains(id));
    if !reach.unreadable().is_empty() {
        return Ok(());
    }
    for finding in &mut report.findings {
        if damaged(finding).is_some_and(|id| !reach.is_live(id)) {
            (finding.level, finding.remedy) = (Level::Warning, Remedy::CollectGarbage);
        }
    }
    Ok(())
}

/// Returns the object, if it could be read and is not what its name says.
const fn damaged(finding: &Finding) -> Option<&ObjectId> {
    match (&finding.subject, &finding.fault) {
        (Subject::Object(id), Fault::ObjectDigestMismatch(_) | Fault::ObjectVerityMissing) => Some(id),
        _ => None,
    }
}
