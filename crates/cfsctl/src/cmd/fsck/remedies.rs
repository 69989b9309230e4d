//! Findings with what mends them: as hints, one for each kind of remedy, and in a document, one for each finding.

use std::{collections::BTreeSet, mem::Discriminant, path::PathBuf};

use composefs::{digest::ObjectId, repo::check};
use composefs_oci::stored::check as oci;
use serde::Serialize;

use crate::{app::App, ui::command};

/// A finding in a document.
#[derive(Serialize)]
pub(crate) struct Row {
    kind: &'static str,
    level: &'static str,
    /// The line as it is printed.
    text: String,
    /// A path below the repository, a tag, or an artifact and its subject.
    subject: String,
    /// The object that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    /// The manifest of the image that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<String>,
    remedy: RemedyRow,
}

#[derive(Serialize)]
struct RemedyRow {
    /// Program and arguments; none where no command helps.
    command: Option<Vec<String>>,
    text: String,
}

/// Says how the program is called for this repository, and where that is.
pub(crate) struct Place {
    cfsctl: Vec<String>,
    path: PathBuf,
}

impl Place {
    pub(crate) fn new(app: &App) -> anyhow::Result<Self> {
        Ok(Self { cfsctl: app.called(), path: app.path()? })
    }

    fn command(&self, remedy: &oci::Remedy) -> Option<Vec<String>> {
        remedy.command(&self.cfsctl, &self.path)
    }

    pub(crate) fn row(&self, finding: &check::Finding) -> Row {
        let remedy = oci::Remedy::Repository(finding.remedy.clone());
        Row {
            kind: finding.fault.kind(),
            level: finding.level.name(),
            text: finding.to_string(),
            subject: finding.subject.to_string(),
            object: finding.object().map(ObjectId::to_hex),
            manifest: None,
            remedy: self.remedy(&remedy),
        }
    }

    pub(crate) fn oci_row(&self, finding: &oci::Finding) -> Row {
        Row {
            kind: finding.fault.kind(),
            level: finding.level.name(),
            text: finding.to_string(),
            subject: finding.subject.to_string(),
            object: finding.fault.object().map(ObjectId::to_hex),
            manifest: finding.manifest.as_ref().map(ToString::to_string),
            remedy: self.remedy(&finding.remedy),
        }
    }

    fn remedy(&self, remedy: &oci::Remedy) -> RemedyRow {
        RemedyRow { command: self.command(remedy), text: remedy.to_string() }
    }

    /// Says what mends the findings, once for each kind of remedy.
    pub(crate) fn hints(&self, remedies: impl IntoIterator<Item = oci::Remedy>) -> Vec<String> {
        let mut kinds: Vec<(Kind, oci::Remedy, BTreeSet<oci::Remedy>)> = Vec::new();
        for remedy in remedies {
            let kind = Kind::of(&remedy);
            match kinds.iter_mut().find(|(known, ..)| *known == kind) {
                Some((_, first, more)) if *first != remedy => {
                    more.insert(remedy);
                }
                Some(_) => {}
                None => kinds.push((kind, remedy, BTreeSet::new())),
            }
        }
        let line = |(_, remedy, more): &(Kind, oci::Remedy, BTreeSet<oci::Remedy>)| {
            let mut text = match self.command(remedy) {
                Some(command) => format!("`{}` {remedy}", command::line(&command)),
                None => remedy.to_string(),
            };
            if !more.is_empty() {
                text.push_str(&format!("; {} more such: --json tells each", more.len()));
            }
            text
        };
        kinds.iter().map(line).collect()
    }
}

/// Which kind of remedy, whatever it acts on.
#[derive(PartialEq)]
enum Kind {
    Repository(Discriminant<check::Remedy>),
    Images(Discriminant<oci::Remedy>),
}

impl Kind {
    fn of(remedy: &oci::Remedy) -> Self {
        match remedy {
            oci::Remedy::Repository(remedy) => Self::Repository(std::mem::discriminant(remedy)),
            other => Self::Images(std::mem::discriminant(other)),
        }
    }
}
