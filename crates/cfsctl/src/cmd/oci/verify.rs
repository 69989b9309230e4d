//! `cfsctl oci verify`

use std::{io::Write as _, path::PathBuf, process::ExitCode, time::SystemTime};

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs_oci::{
    digest::ManifestDigest,
    find::{self, Name, parse_digest},
    trust::{self, Outcome, Record, Settled, StepReport, Trust, Verification, VerifyOptions},
};
use serde::Serialize;

use super::sign;
use crate::{app::App, ui};

/// Verify an image's seal
///
/// Computes the digests of manifest, config, composefs image and files anew and compares them with what the image's
/// manifest and the artifacts beside it say. Every step is shown with its outcome.
///
/// With --cert, all digests must be signed by the owner of one of these certificates. Without it, the digests alone are
/// checked, which anybody may have written: unless they stand in a manifest that --expected-digest says is trusted, `oci
/// mount --require-seal` does not take that.
///
/// What was established is noted beside the image. A note that says more stays while all it depends on is as it was; a
/// verification that finds anything changed or damaged, or a certificate of the note expired, removes it. With --forget
/// it goes first, whatever is found.
///
/// Example: cfsctl oci verify web --cert release.pem
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A tag, or @ and a manifest's digest
    #[arg(value_name = "NAME", add = ArgValueCompleter::new(crate::complete::tags))]
    image: Name,
    /// Certificates of who may have signed, PEM or DER (can be repeated)
    #[arg(long, value_name = "FILE")]
    cert: Vec<PathBuf>,
    /// The digest of the manifest that is trusted; another one is refused
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    expected_digest: Option<ManifestDigest>,
    /// The digest of an artifact that is trusted though it is not signed (can be repeated)
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    trusted_artifact: Vec<ManifestDigest>,
    /// Remove the note of earlier verifications first
    #[arg(long)]
    forget: bool,
    /// Leave no note of the result
    #[arg(long)]
    no_record: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn digest(text: &str) -> Result<ManifestDigest, composefs_oci::digest::DigestError> {
    parse_digest(text).map(ManifestDigest::new)
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    manifest: &'a str,
    valid: bool,
    trust: &'static str,
    signers: &'a [String],
    steps: &'a [StepReport],
    recorded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Verify {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<ExitCode> {
        let mut certificates = Vec::new();
        for path in &self.cert {
            certificates.extend(sign::certificates(path)?);
        }
        let repo = app.repository()?;
        let manifest = find::manifest(&repo, &self.image)?;
        if self.forget {
            Record::forget(&repo, &manifest)?;
        }
        let options = VerifyOptions::new(SystemTime::now())
            .manifest(self.expected_digest.clone())
            .artifacts(self.trusted_artifact.clone())
            .certificates(certificates);
        let context = || format!("verify {}", self.image);
        let found = match trust::verify_manifest(&repo, &manifest, &options) {
            Err(error @ composefs_oci::Error::NotFound(_)) => return Err(error.into()),
            found => found.with_context(context)?,
        };
        let settled = if self.no_record { None } else { record(app, repo, &found) };
        if self.json {
            print_json(&found, settled == Some(Settled::Noted))?;
        } else {
            print(&found)?;
            if let Some(Settled::Kept(old)) = settled {
                let by = if old.signers.is_empty() { "" } else { " by " };
                let (trust, signers) = (old.trust, old.signers.join(" and "));
                writeln!(ui::out(), "the note of an earlier verification stays: {trust}{by}{signers}")?;
            }
        }
        match found.failure {
            Some(error) => Err(anyhow::Error::from(composefs_oci::Error::from(error)).context(context())),
            None => Ok(ExitCode::SUCCESS),
        }
    }
}

/// Notes the result, and tells what became of the note; where nothing can be written, says so.
fn record(app: &App, repo: composefs::repo::Repository, found: &Verification) -> Option<Settled> {
    let settled = Record::settle(repo, found);
    if let Err(error) = &settled
        && !app.global.quiet
    {
        crate::ui::say!("warning: the result is not noted: {error}");
    }
    settled.ok()
}

fn signers(trust: &Trust) -> &[String] {
    match trust {
        Trust::Signed { signers, .. } => signers,
        _ => &[],
    }
}

fn print(found: &Verification) -> anyhow::Result<()> {
    let mut out = ui::out();
    for step in &found.steps {
        let outcome = match step.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::Skipped => "-",
        };
        writeln!(out, "{:<16} {outcome:<7} {}", step.step, step.detail)?;
    }
    let result = match &found.trust {
        _ if found.failure.is_some() => "not valid".to_owned(),
        Trust::None => "the digests are right; nothing that is trusted vouches for them".to_owned(),
        Trust::Manifest => "valid: the digests stand in the trusted manifest".to_owned(),
        Trust::Artifact(digest) => format!("valid: the digests stand in the trusted artifact {digest}"),
        Trust::Signed { .. } => format!("valid: signed by {}", signers(&found.trust).join(" and ")),
        _ => "valid".to_owned(),
    };
    writeln!(out, "result: {result}")?;
    Ok(())
}

fn print_json(found: &Verification, recorded: bool) -> anyhow::Result<()> {
    ui::json::print(&Document {
        version: 1,
        manifest: found.manifest.as_str(),
        valid: found.failure.is_none(),
        trust: found.trust.name(),
        signers: signers(&found.trust),
        steps: &found.steps,
        recorded,
        error: found.failure.as_ref().map(ToString::to_string),
    })
}
