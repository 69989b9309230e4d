//! `cfsctl oci inspect`

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs_oci::{
    find::{self, Name},
    ident,
    stored::referrers,
};
use serde::Serialize;

use crate::{app::App, complete, ui};

/// Show an image's manifest, config and composefs image
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A tag, or @ and a manifest's digest
    #[arg(add = ArgValueCompleter::new(complete::tags))]
    image: Name,
    /// Print the manifest's bytes only
    #[arg(long, conflicts_with = "config")]
    manifest: bool,
    /// Print the config's bytes only
    #[arg(long)]
    config: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    manifest: &'a str,
    config: &'a str,
    referrers: Vec<String>,
    composefs_erofs: Option<String>,
    composefs_boot_erofs: Option<String>,
}

impl Inspect {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let image = find::image(&repo, &self.image)?;
        let raw = match (self.manifest, self.config) {
            (true, _) => Some(image.manifest().bytes()),
            (_, true) => Some(image.config().bytes()),
            _ => None,
        };
        if let Some(raw) = raw {
            let mut out = ui::out();
            out.write_all(raw)?;
            writeln!(out)?;
            return Ok(());
        }
        let version = app.version(&repo);
        let text = |bytes| std::str::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", self.image));
        ui::json::print(&Document {
            manifest: text(image.manifest().bytes())?,
            config: text(image.config().bytes())?,
            referrers: referrers::list(&repo, image.manifest().digest())?
                .iter()
                .map(ToString::to_string)
                .collect(),
            composefs_erofs: image.config().image(version).map(ToString::to_string),
            composefs_boot_erofs: image
                .config()
                .named(ident::boot_image_key(version))
                .map(ToString::to_string),
        })
    }
}
