//! `cfsctl gc`

pub(crate) mod units;

use std::{fmt::Write as _, io::Write as _, process::ExitCode, time::Duration};

use clap::Args;
use composefs::repo::{
    GcOptions, GcPlan, Limit, Wait,
    gc::{Dropped, Fit},
};
use composefs_oci::stored::unused::{Named, least_recently_used};

use crate::{
    app::App,
    ui::{self, error::Failed, size::human},
};

use units::date;

/// Remove what no tag or ref needs
///
/// Looks first, with other users of the repository at work, and then removes in one short step alone. Pulls that wait
/// for a registry are no hindrance, and what they have stored stays. An artifact about an image, such as a signature,
/// goes with that image unless it has a tag of its own.
///
/// With --max-size images without a tag stay while the store fits, and go when it does not, the least recently used
/// first; with --untag those with a tag follow. What was pulled, tagged or mounted with this program was used then;
/// anything else, when it was made. What is mounted stays. If all that does not suffice, the exit status is 1.
///
/// Example: cfsctl gc --keep-newer 7d --max-size 20G --untag
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// An image or stream to keep besides (can be repeated)
    #[arg(short, long, value_name = "NAME")]
    root: Vec<String>,
    /// Show what would be removed and remove nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Keep images and objects made or used within this time, such as 90m, 12h, 7d or 2w
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    keep_newer: Option<Duration>,
    /// Remove images until all objects have at most so many bytes, such as 500M or 20G
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    max_size: Option<u64>,
    /// With --max-size: remove tags, too, once no other images are left to go
    #[arg(long, requires = "max_size")]
    untag: bool,
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
        let mut options = GcOptions::default().force(self.force).keep_newer(self.keep_newer);
        if let Some(size) = self.max_size {
            let named = if self.untag { Named::MayGo } else { Named::Stay };
            let candidates = least_recently_used(&repo, named)?;
            options = options.limit(Some(Limit::new(size, candidates)));
        }
        for root in &self.root {
            options = options.root(root);
        }
        let plan = GcPlan::new(&repo, &options)?;
        for name in &plan.foreign {
            crate::ui::say!("warning: {name} is none of ours and stays");
        }
        let texts = |list: &[composefs::repo::gc::Unreadable]| -> Vec<String> {
            list.iter().map(|one| one.error.to_string()).collect()
        };
        let (unreadable, fit);
        if self.dry_run {
            (unreadable, fit) = (texts(&plan.unreadable), plan.fit);
            match self.json {
                true => ui::json::print(&serde_json::json!({"version": 1, "dry_run": true, "plan": plan}))?,
                false if !unreadable.is_empty() && !self.force => {}
                false => {
                    write!(
                        ui::out(),
                        "Dry run (no files deleted):\n{plan}\n{}",
                        said(&plan.dropped, plan.fit)
                    )?;
                }
            }
        } else {
            let wait =
                self.timeout.map_or(Wait::Forever, |seconds| Wait::AtMost(Duration::from_secs(seconds)));
            let report = plan.apply(&repo.sweeper(wait)?, app.observer().as_ref())?;
            composefs_oci::notes::prune(&repo)?;
            (unreadable, fit) = (texts(&report.unreadable), report.fit);
            match self.json {
                true => ui::json::print(&serde_json::json!({
                    "version": 1,
                    "dry_run": false,
                    "objects_removed": report.objects_removed,
                    "bytes": report.bytes,
                    "images_pruned": report.images_pruned,
                    "streams_pruned": report.streams_pruned,
                    "referrers_removed": report.referrers_removed,
                    "mounts_reaped": report.mounts_reaped,
                    "pulls_reaped": report.pulls_reaped,
                    "temporaries_removed": report.temporaries_removed,
                    "dropped": report.dropped,
                    "fit": report.fit,
                    "unreadable": unreadable,
                }))?,
                // Totals are what is said when it is done.
                false if !unreadable.is_empty() && !self.force => {}
                false => write!(ui::out(), "{report}\n{}", said(&report.dropped, report.fit))?,
            }
        }
        if unreadable.is_empty() {
            return match fit {
                Some(fit) if !fit.fits() => Err(self.too_large(fit).into()),
                _ => Ok(ExitCode::SUCCESS),
            };
        }
        for one in &unreadable {
            crate::ui::say!("warning: needed and unreadable: {one}");
        }
        let kept = if self.force { "" } else { "; no object was removed" };
        Err(Failed::new(format!("{} needed streams or images cannot be read{kept}", unreadable.len())).into())
    }

    fn too_large(&self, fit: Fit) -> Failed {
        let what =
            if self.untag { "mounted, named otherwise or too young" } else { "tagged, mounted or too young" };
        let have = human(fit.bytes);
        Failed::new(format!("the store keeps {have}, more than {}: the rest is {what}", human(fit.limit)))
    }
}

/// Says which images go and why, and what the store has then.
fn said(dropped: &[Dropped], fit: Option<Fit>) -> String {
    let mut text = String::new();
    for one in dropped {
        let what = if one.named { "Untagged" } else { "Dropped" };
        let _ = writeln!(text, "{what}: {}, last used {}", one.name, date(one.used));
    }
    if let Some(fit) = fit {
        let _ = writeln!(text, "Store: {} of {}", human(fit.bytes), human(fit.limit));
    }
    text
}
