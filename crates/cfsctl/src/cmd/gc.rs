//! `cfsctl gc`

use std::{io::Write as _, process::ExitCode, time::Duration};

use clap::Args;
use composefs::repo::{GcOptions, GcPlan, Wait};

use crate::{
    app::App,
    ui::{self, error::Failed},
};

/// Remove what no tag or ref needs
///
/// Looks first, with other users of the repository at work, and then removes in one short step alone.
///
/// Example: cfsctl gc --dry-run
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// An image or stream to keep besides (can be repeated)
    #[arg(short, long, value_name = "NAME")]
    root: Vec<String>,
    /// Show what would be removed and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Remove objects even though something that is needed cannot be read
    #[arg(long)]
    force: bool,
    /// Wait at most so long for other users of the repository; default: until they are done
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Print one JSON document: the plan with --dry-run, else what was removed
    #[arg(long)]
    json: bool,
}

impl Gc {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<ExitCode> {
        let repo = app.repository()?;
        let mut options = GcOptions::default().force(self.force);
        for root in self.root {
            options = options.root(root);
        }
        let plan = GcPlan::new(&repo, &options)?;
        for name in &plan.foreign {
            crate::ui::say!("warning: {name} is none of ours and stays");
        }
        let texts = |list: &[composefs::repo::gc::Unreadable]| -> Vec<String> {
            list.iter().map(|one| one.error.to_string()).collect()
        };
        let unreadable;
        if self.dry_run {
            unreadable = texts(&plan.unreadable);
            match self.json {
                true => ui::json::print(&serde_json::json!({"version": 1, "dry_run": true, "plan": plan}))?,
                false if !unreadable.is_empty() && !self.force => {}
                false => writeln!(ui::out(), "Dry run (no files deleted):\n{plan}")?,
            }
        } else {
            let wait =
                self.timeout.map_or(Wait::Forever, |seconds| Wait::AtMost(Duration::from_secs(seconds)));
            let report = plan.apply(&repo.sweeper(wait)?, app.observer().as_ref())?;
            unreadable = texts(&report.unreadable);
            match self.json {
                true => ui::json::print(&serde_json::json!({
                    "version": 1,
                    "dry_run": false,
                    "objects_removed": report.objects_removed,
                    "bytes": report.bytes,
                    "images_pruned": report.images_pruned,
                    "streams_pruned": report.streams_pruned,
                    "mounts_reaped": report.mounts_reaped,
                    "pulls_reaped": report.pulls_reaped,
                    "temporaries_removed": report.temporaries_removed,
                    "unreadable": unreadable,
                }))?,
                // Totals are what is said when it is done.
                false if !unreadable.is_empty() && !self.force => {}
                false => writeln!(ui::out(), "{report}")?,
            }
        }
        if unreadable.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        for one in &unreadable {
            crate::ui::say!("warning: needed and unreadable: {one}");
        }
        let kept = if self.force { "" } else { "; no object was removed" };
        Err(Failed::new(format!("{} needed streams or images cannot be read{kept}", unreadable.len())).into())
    }
}
