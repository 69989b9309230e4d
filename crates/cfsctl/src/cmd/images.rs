//! `cfsctl images`

use std::io::Write as _;

use clap::Args;
use composefs::{Category, repo::layout::MOUNTS};
use serde::Serialize;

use crate::{app::App, ui};

/// List the named images
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Show digests in full
    #[arg(long)]
    no_trunc: bool,
}

#[derive(Serialize)]
struct Document {
    images: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    digest: String,
}

impl Images {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let refs = repo.refs(Category::Images, "")?;
        // Records of mounts are refs, too, but nobody's names.
        let is_record = |name: &str| name.split('/').next() == Some(MOUNTS);
        let images: Vec<Row> = refs
            .into_iter()
            .filter(|(name, _)| !is_record(name))
            .map(|(name, digest)| Row { name, digest })
            .collect();
        if self.json {
            return ui::json::print(&Document { images });
        }
        let mut out = ui::out();
        if images.is_empty() {
            writeln!(out, "No images found")?;
            return Ok(());
        }
        let mut table = ui::table::new(&["NAME", "DIGEST"]);
        for row in &images {
            let digest = if self.no_trunc { &row.digest } else { ui::table::short(&row.digest) };
            table.add_row([row.name.as_str(), digest]);
        }
        writeln!(out, "{table}")?;
        Ok(())
    }
}
