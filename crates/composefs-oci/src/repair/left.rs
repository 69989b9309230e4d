//! What a repair does not mend, why, and what to do next.

use std::fmt;

use composefs::repo::{
    Repository,
    check::{self, Finding},
};
use serde::Serialize;

use crate::stored;

/// What to do where nobody has something.
pub(super) const FROM: &str = "`cfsctl repair --from REFERENCE`, with a place that has the image";

/// Something that is not mended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Left {
    /// What it is about.
    pub subject: String,
    /// Why it is not mended.
    pub reason: String,
    /// What to do next.
    pub next: String,
}

impl Left {
    pub(super) fn new(
        subject: impl Into<String>,
        reason: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { subject: subject.into(), reason: reason.into(), next: next.into() }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)
    }
}

/// What is not mended, as a check says it.
pub(super) fn of_finding(repo: &Repository, finding: &Finding) -> Left {
    let next = next(repo, &stored::check::Remedy::Repository(finding.remedy.clone()));
    let line = finding.to_string();
    let head = format!("fsck: {}: {}", finding.fault.kind(), finding.subject);
    let detail = line.strip_prefix(&head).unwrap_or_default();
    Left::new(finding.subject.to_string(), format!("{}{detail}", finding.fault.kind()), next)
}

/// What is not mended of a tag, as a check says it.
pub(super) fn of_oci_finding(repo: &Repository, finding: &stored::check::Finding) -> Left {
    let line = finding.to_string();
    let head = format!("fsck: {}: {}", finding.fault.kind(), finding.subject);
    let detail = line.strip_prefix(&head).unwrap_or_default();
    let reason = format!("{}{detail}", finding.fault.kind());
    Left::new(finding.subject.to_string(), reason, next(repo, &finding.remedy))
}

/// What else can be done where a repair did not help.
fn next(repo: &Repository, remedy: &stored::check::Remedy) -> String {
    if let stored::check::Remedy::Repository(check::Remedy::Repair | check::Remedy::RepairDeep) = remedy {
        return FROM.to_owned();
    }
    match remedy.command(&["cfsctl".to_owned()], repo.path()) {
        Some(command) => format!("`{}` {remedy}", command.join(" ")),
        None => remedy.to_string(),
    }
}
