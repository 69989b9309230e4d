//! `cfsctl oci fsck`

use std::{io::Write as _, process::ExitCode};

use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs::repo::CheckReport;
use composefs_oci::{
    fsck::{self, CheckOptions},
    stored::check::{Level, Remedy, Report},
};
use serde::Serialize;

use crate::{
    app::App,
    cmd::fsck::{
        self as repository,
        remedies::{Place, Row},
    },
    complete,
    ui::{
        self,
        error::{Failed, Stopped},
    },
};

/// Check the tagged images, and the repository
///
/// With --deep layers are put together again, and the ids of images computed anew from them.
#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Check only the image of this tag
    #[arg(add = ArgValueCompleter::new(complete::tags))]
    image: Option<String>,
    /// Also compare all contents with their digests, recorded images and seals with the layers, indexes and artifacts
    #[arg(long)]
    deep: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    ok: bool,
    images_checked: u64,
    images_corrupted: u64,
    errors: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stopped: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Row>,
    repo: repository::Document,
}

impl Fsck {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<ExitCode> {
        let repo = app.repository()?;
        let place = Place::new(app)?;
        let cancel = ui::interrupt::watch()?;
        let options = CheckOptions::default().deep(self.deep).threads(app.jobs()).cancel(cancel.clone());
        let oci = fsck::check(&repo, self.image.as_deref(), &options, app.observer().as_ref())?;
        let options = composefs::repo::CheckOptions::default().deep(self.deep).cancel(cancel);
        let report = repository::check(app, &repo, options)?;
        for finding in oci.findings.iter().filter(|finding| finding.level == Level::Warning) {
            crate::ui::say!("warning: {finding}");
        }
        let ok = report.is_ok() && oci.is_ok();
        let stopped = report.stopped || oci.stopped;
        match self.json {
            true => ui::json::print(&Document {
                ok,
                images_checked: oci.images_checked,
                images_corrupted: oci.images_corrupted,
                errors: oci.errors().map(ToString::to_string).collect(),
                stopped,
                findings: oci.findings.iter().map(|finding| place.oci_row(finding)).collect(),
                repo: repository::Document::new(&report, &place),
            })?,
            false => print(&report, &oci)?,
        }
        if stopped {
            return Err(Stopped.into());
        }
        if self.json || ok {
            return Ok(ExitCode::SUCCESS);
        }
        let of_repository = report.findings.iter().map(|finding| Remedy::Repository(finding.remedy.clone()));
        let remedies = of_repository.chain(oci.findings.iter().map(|finding| finding.remedy.clone()));
        Err(Failed::new("OCI integrity check failed").hints(place.hints(remedies)).into())
    }
}

fn print(report: &CheckReport, oci: &Report) -> anyhow::Result<()> {
    let mut out = ui::out();
    repository::print(report, &mut out)?;
    writeln!(out, "oci images: {}/{} ok", oci.images_checked - oci.images_corrupted, oci.images_checked)?;
    let errors = oci.errors().count();
    if errors > 0 {
        writeln!(out, "oci errors: {errors}")?;
        for finding in oci.errors() {
            writeln!(out, "  - {finding}")?;
        }
    }
    Ok(())
}
