//! `cfsctl repair`

use std::{io::Write as _, path::Path, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use composefs::{
    progress::Observer,
    repo::{OpenOptions, Repository, Wait},
};
use composefs_oci::{
    find::Name,
    model::platform::Platform,
    reference::Reference,
    repair::{Left, RepairOptions, RepairPlan, RepairReport, Sources},
    transport,
};
use rustix::fs::CWD;

use super::oci::registry_args::RegistryArgs;
use crate::{
    app::App,
    ui::{self, error::Failed, size::human},
};

/// Mend what is damaged or missing, as `fsck` finds it
///
/// What can be made from what is here is: images from their layers, layers from blobs that are kept as they were shipped,
/// fs-verity where it is missing. The rest is fetched, from --from or from where each image was pulled: only the layers
/// that are needed, each checked as in a pull. Good objects are left alone, and a damaged one stays until its successor
/// is on disk. What is damaged and needed by nothing is removed.
///
/// What cannot be mended is listed with what to do next, and the exit status is 1. Interrupted, it goes on when it is run
/// again.
///
/// Example: cfsctl repair --dry-run --from docker.io/library/debian:12
#[derive(Debug, Args)]
pub(crate) struct Repair {
    /// The images to mend, by tag or @DIGEST; default: everything
    #[arg(value_name = "NAME")]
    names: Vec<Name>,
    /// Take what is missing from this image, or from the composefs repository in this directory
    #[arg(long, value_name = "REF")]
    from: Option<String>,
    /// Use nothing but what is here and --from; not where images were pulled from
    #[arg(long)]
    no_recorded: bool,
    /// Also read every object, and put every stream together and compare it with its name
    #[arg(long)]
    deep: bool,
    /// Then enable fs-verity on every object, and make the repository one that demands it
    #[arg(long, conflicts_with_all = ["names", "insecure"])]
    enable_verity: bool,
    /// The platform to take of several, OS/ARCH or OS/ARCH/VARIANT; default: this machine's
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Show what would be done, and how many bytes would come; changes nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Print one JSON document: the plan with --dry-run, else what was done
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

impl Repair {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<ExitCode> {
        let (from, other) = self.from()?;
        let observer: Arc<dyn Observer> = app.observer().into();
        let source_options = self.registry.source_options(&observer)?;
        let open = |reference: &Reference| transport::open(reference, &source_options);
        let sources = Sources::new(&open).from(from).repository(other).noted(!self.no_recorded);
        let mut options = RepairOptions::default()
            .deep(self.deep)
            .jobs(app.jobs())
            .mode(app.mode())
            .cancel(ui::interrupt::watch()?);
        if let Some(platform) = self.platform.clone() {
            options = options.platform(platform);
        }
        for name in &self.names {
            options = options.name(name.clone());
        }
        if self.dry_run {
            let repo = app.repository()?;
            let plan = RepairPlan::new(&repo, &sources, &options, observer.as_ref())?;
            return self.show(&plan);
        }
        let writer = app.writer()?;
        let repo = writer.repository().clone();
        let report = RepairPlan::new(&writer, &sources, &options, observer.as_ref())?
            .apply(writer, observer.as_ref())?;
        let mut verified = None;
        if self.enable_verity && report.is_ok() {
            let sweeper = repo.sweeper(Wait::Forever)?;
            verified = Some(sweeper.make_verified(app.jobs(), observer.as_ref())?);
        }
        self.tell(&report, verified)
    }

    /// What --from means.
    fn from(&self) -> anyhow::Result<(Option<Reference>, Option<Repository>)> {
        let Some(text) = &self.from else { return Ok((None, None)) };
        let path = Path::new(text);
        let is_repository = path.join("meta.json").is_file() || path.join("objects").is_dir();
        if is_repository && !path.join("oci-layout").exists() {
            let repo = Repository::open(CWD, path, &OpenOptions::default().no_upgrade(true))
                .with_context(|| format!("open {text}"))?;
            return Ok((None, Some(repo)));
        }
        Ok((Some(text.parse()?), None))
    }

    fn show(&self, plan: &RepairPlan<'_>) -> anyhow::Result<ExitCode> {
        let mut out = ui::out();
        if self.json {
            ui::json::print(&serde_json::json!({"version": 1, "dry_run": true, "plan": plan}))?;
        } else if plan.is_empty() {
            writeln!(out, "nothing to mend")?;
        } else {
            writeln!(out, "Dry run (nothing is changed):")?;
            for step in &plan.steps {
                writeln!(out, "  {step}")?;
            }
            writeln!(out, "to fetch: {}", human(plan.bytes_to_fetch()))?;
        }
        self.end(&plan.left)
    }

    fn tell(&self, report: &RepairReport, verified: Option<usize>) -> anyhow::Result<ExitCode> {
        let mut out = ui::out();
        if self.json {
            ui::json::print(&serde_json::json!({
                "version": 1,
                "dry_run": false,
                "report": report,
                "made_verified": verified.is_some(),
            }))?;
        } else {
            writeln!(out, "{report}")?;
            if let Some(enabled) = verified {
                writeln!(out, "fs-verity enabled on {enabled} objects; the repository demands it now")?;
            }
            match report.left.len() {
                0 => writeln!(out, "status: ok")?,
                left => writeln!(out, "status: {left} left")?,
            }
        }
        self.end(&report.left)
    }

    /// Lists what is not mended, and says so by the exit status.
    fn end(&self, left: &[Left]) -> anyhow::Result<ExitCode> {
        if left.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        if !self.json {
            let mut out = ui::out();
            writeln!(out, "cannot be mended:")?;
            for left in left {
                writeln!(out, "  - {left}")?;
            }
        }
        let next = left.iter().map(|left| left.next.clone());
        let things = if left.len() == 1 { "thing" } else { "things" };
        Err(Failed::new(format!("{} {things} cannot be mended", left.len())).hints(next).into())
    }
}
