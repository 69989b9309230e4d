//! `cfsctl fsck`

pub(crate) mod remedies;

use std::{io::Write, process::ExitCode};

use clap::Args;
use composefs::repo::{CheckOptions, CheckReport, MetaState, Repository, check::Level};
use composefs_oci::stored::check::Remedy;
use serde::Serialize;

use crate::{
    app::App,
    ui::{
        self,
        error::{Failed, Stopped},
    },
};
use remedies::{Place, Row};

/// Check the repository
///
/// Objects are measured by the kernel, or hashed where there is no fs-verity; streams and images are read, and every name
/// is followed. With damage the exit status is 1; with --json it is 0, and the document tells. Every finding has the command
/// that mends it.
#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Check names and tables only, not the contents of objects
    #[arg(long, conflicts_with = "deep")]
    metadata_only: bool,
    /// Also read all contents, put every stream together again and compare it with its name, look for leftovers
    #[arg(long)]
    deep: bool,
}

/// What a check found, in the shape of the base command line.
#[derive(Serialize)]
pub(crate) struct Document {
    ok: bool,
    has_metadata: bool,
    objects_checked: u64,
    objects_corrupted: u64,
    streams_checked: u64,
    streams_corrupted: u64,
    images_checked: u64,
    images_corrupted: u64,
    broken_links: u64,
    missing_objects: u64,
    errors: Vec<String>,
    /// Whether a signal came before all was checked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stopped: bool,
    /// Everything found, warnings too. Left out where there is nothing: then the document is the base command line's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Row>,
}

impl Document {
    pub(crate) fn new(report: &CheckReport, place: &Place) -> Self {
        Self {
            ok: report.is_ok(),
            has_metadata: report.meta != MetaState::Absent,
            objects_checked: report.objects.checked,
            objects_corrupted: report.objects.corrupted,
            streams_checked: report.streams.checked,
            streams_corrupted: report.streams.corrupted,
            images_checked: report.images.checked,
            images_corrupted: report.images.corrupted,
            broken_links: report.broken_links,
            missing_objects: report.missing_objects,
            errors: report.errors().map(ToString::to_string).collect(),
            stopped: report.stopped,
            findings: report.findings.iter().map(|finding| place.row(finding)).collect(),
        }
    }
}

/// Prints a report as the base command line does.
pub(crate) fn print(report: &CheckReport, out: &mut dyn Write) -> anyhow::Result<()> {
    let meta = match report.meta {
        MetaState::Good => "ok",
        MetaState::Faulty => "error",
        MetaState::Absent => "absent",
    };
    writeln!(out, "meta.json: {meta}")?;
    for (what, count) in
        [("objects", &report.objects), ("streams", &report.streams), ("images", &report.images)]
    {
        writeln!(out, "{what}: {}/{} ok", count.good(), count.checked)?;
    }
    if report.broken_links > 0 {
        writeln!(out, "broken symlinks: {}", report.broken_links)?;
    }
    if report.missing_objects > 0 {
        writeln!(out, "missing objects: {}", report.missing_objects)?;
    }
    match report.errors().count() {
        count if report.stopped => writeln!(out, "status: stopped, {count} error(s) so far")?,
        0 => writeln!(out, "status: ok")?,
        count => writeln!(out, "status: {count} error(s)")?,
    }
    for finding in report.errors() {
        writeln!(out, "  - {finding}")?;
    }
    Ok(())
}

/// Checks a repository as the global options say.
pub(crate) fn check(app: &App, repo: &Repository, options: CheckOptions) -> anyhow::Result<CheckReport> {
    let report = repo.check(&options.threads(app.jobs()), app.observer().as_ref())?;
    for finding in report.findings.iter().filter(|finding| finding.level == Level::Warning) {
        crate::ui::say!("warning: {finding}");
    }
    Ok(report)
}

impl Fsck {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<ExitCode> {
        let repo = app.repository()?;
        let place = Place::new(app)?;
        let options = CheckOptions::default().metadata_only(self.metadata_only).deep(self.deep);
        let report = check(app, &repo, options.cancel(ui::interrupt::watch()?))?;
        match self.json {
            true => ui::json::print(&Document::new(&report, &place))?,
            false => print(&report, &mut ui::out())?,
        }
        if report.stopped {
            return Err(Stopped.into());
        }
        if self.json || report.is_ok() {
            return Ok(ExitCode::SUCCESS);
        }
        let remedies = report.findings.iter().map(|finding| Remedy::Repository(finding.remedy.clone()));
        Err(Failed::new("repository integrity check failed").hints(place.hints(remedies)).into())
    }
}
