//! `cfsctl oci fsck`

use std::{io::Write as _, process::ExitCode};

use clap::Args;
use composefs_oci::stored::check::{self, Finding};
use serde::Serialize;

use crate::{
    app::App,
    cmd::fsck,
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
    repo: fsck::Document,
}

impl Fsck {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<ExitCode> {
        let repo = app.repository()?;
        let oci = check::check(&repo, self.image.as_deref())?;
        let report = fsck::check(app, &repo, false, false)?;
        let ok = report.is_ok() && oci.is_ok();
        if self.json {
            ui::json::print(&Document {
                ok,
                images_checked: oci.images_checked,
                images_corrupted: oci.images_corrupted,
                errors: oci.findings.iter().map(ToString::to_string).collect(),
                repo: fsck::Document::new(&report),
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut out = ui::out();
        fsck::print(&report, &mut out)?;
        writeln!(out, "oci images: {}/{} ok", oci.images_checked - oci.images_corrupted, oci.images_checked)?;
        if !oci.is_ok() {
            writeln!(out, "oci errors: {}", oci.findings.len())?;
            for finding in &oci.findings {
                writeln!(out, "  - {finding}")?;
            }
        }
        if ok {
            return Ok(ExitCode::SUCCESS);
        }
        let remedies = report.errors().map(|finding| finding.remedy.to_string());
        let remedies = remedies.chain(oci.findings.iter().map(Finding::remedy));
        Err(Failed::new("OCI integrity check failed").hints(remedies).into())
    }
}
