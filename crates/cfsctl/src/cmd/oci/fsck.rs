//! `cfsctl oci fsck`

use std::{io::Write as _, process::ExitCode};

use clap::Args;
use composefs_oci::stored::check::{self, Level, Remedy};
use serde::Serialize;

use crate::{
    app::App,
    cmd::fsck::{
        self,
        remedies::{Place, Row},
    },
    ui::{self, error::Failed},
};

/// Check the tagged images, and the repository
#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Check only the image of this tag
    image: Option<String>,
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Row>,
    repo: fsck::Document,
}

impl Fsck {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<ExitCode> {
        let repo = app.repository()?;
        let place = Place::new(app)?;
        let oci = check::check(&repo, self.image.as_deref())?;
        let report = fsck::check(app, &repo, false, false)?;
        for finding in oci.findings.iter().filter(|finding| finding.level == Level::Warning) {
            crate::ui::say!("warning: {finding}");
        }
        let ok = report.is_ok() && oci.is_ok();
        if self.json {
            ui::json::print(&Document {
                ok,
                images_checked: oci.images_checked,
                images_corrupted: oci.images_corrupted,
                errors: oci.errors().map(ToString::to_string).collect(),
                findings: oci.findings.iter().map(|finding| place.oci_row(finding)).collect(),
                repo: fsck::Document::new(&report, &place),
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut out = ui::out();
        fsck::print(&report, &mut out)?;
        writeln!(out, "oci images: {}/{} ok", oci.images_checked - oci.images_corrupted, oci.images_checked)?;
        if !oci.is_ok() {
            writeln!(out, "oci errors: {}", oci.errors().count())?;
            for finding in oci.errors() {
                writeln!(out, "  - {finding}")?;
            }
        }
        if ok {
            return Ok(ExitCode::SUCCESS);
        }
        let of_repository = report.findings.iter().map(|finding| Remedy::Repository(finding.remedy.clone()));
        let remedies = of_repository.chain(oci.findings.iter().map(|finding| finding.remedy.clone()));
        Err(Failed::new("OCI integrity check failed").hints(place.hints(remedies)).into())
    }
}
