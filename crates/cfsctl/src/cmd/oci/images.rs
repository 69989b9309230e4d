//! `cfsctl oci images`

use std::io::Write as _;

use clap::Args;
use composefs::repo::Repository;
use composefs_oci::{
    Error,
    stored::{StoredImage, referrers, tags},
};
use serde::Serialize;

use crate::{app::App, ui};

/// List the tagged images
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    images: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    manifest_digest: String,
    is_container: bool,
    architecture: String,
    os: String,
    created: Option<String>,
    layer_count: usize,
    referrer_count: usize,
}

impl Images {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let mut images = Vec::new();
        for tag in tags::list(&repo)? {
            let Some(digest) = tag.manifest else { continue };
            match StoredImage::open(&repo, &digest).and_then(|image| row(&repo, tag.name.clone(), &image)) {
                Ok(row) => images.push(row),
                Err(error) => crate::ui::say!("warning: {}: {error}; `cfsctl oci fsck` tells more", tag.name),
            }
        }
        if self.json {
            return ui::json::print(&Document { images });
        }
        let mut out = ui::out();
        if images.is_empty() {
            writeln!(out, "No images found")?;
            return Ok(());
        }
        let mut table = ui::table::new(&["NAME", "DIGEST", "ARCH", "LAYERS", "REFS"]);
        for row in &images {
            let digest =
                row.manifest_digest.split_once(':').map_or(row.manifest_digest.as_str(), |(_, hex)| hex);
            let architecture = if row.is_container { row.architecture.as_str() } else { "artifact" };
            table.add_row([
                &ui::path::name(&row.name),
                ui::table::short(digest),
                &ui::path::name(architecture),
                &row.layer_count.to_string(),
                &row.referrer_count.to_string(),
            ]);
        }
        writeln!(out, "{table}")?;
        Ok(())
    }
}

fn row(repo: &Repository, name: String, image: &StoredImage) -> Result<Row, Error> {
    let mut row = Row {
        name,
        manifest_digest: image.manifest().digest().to_string(),
        is_container: image.is_container(),
        architecture: String::new(),
        os: String::new(),
        created: None,
        layer_count: image.manifest().layers().len(),
        referrer_count: referrers::list(repo, image.manifest().digest())?.len(),
    };
    if image.is_container() {
        let config = image.config().parse()?;
        row.architecture = config.parsed().architecture().to_string();
        row.os = config.parsed().os().to_string();
        row.created.clone_from(config.parsed().created());
    }
    Ok(row)
}
