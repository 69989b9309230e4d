//! `cfsctl oci bundle`

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs_oci::find::Name;
use serde::Serialize;

use crate::{
    app::App,
    cmd::oci::container_args::ContainerArgs,
    container::{self, ROOTFS},
    ui,
};

/// Make a bundle for crun, runc or youki
///
/// DIR gets config.json, from the image's config and these options, and rootfs, where the image is mounted with changes
/// kept in memory. When it is no longer used: cfsctl umount DIR/rootfs.
///
/// Example: cfsctl oci bundle web /run/web && crun run --bundle /run/web web
#[derive(Debug, Args)]
pub(crate) struct Bundle {
    #[command(flatten)]
    args: ContainerArgs,
    /// Leave rootfs empty
    #[arg(long)]
    no_mount: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// A tag, or a manifest's or config's digest
    #[arg(add = ArgValueCompleter::new(crate::complete::tags))]
    image: Name,
    /// A directory that is missing or empty
    dir: PathBuf,
    /// What to run, in place of the image's command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    bundle: &'a Path,
    mounted: bool,
}

impl Bundle {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let hostname = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let config = self.args.config_json(app, &repo, (&self.image, &self.command), &hostname, None)?;
        let plan = match self.no_mount {
            true => None,
            false => {
                Some(container::plan(container::source(app, &repo, &self.image)?, self.args.verity.into())?)
            }
        };
        container::write(&self.dir, &config)?;
        if let Some(plan) = &plan {
            let rootfs = self.dir.join(ROOTFS);
            if let Err(error) = plan.apply(&rootfs) {
                container::remove(&self.dir);
                return Err(error).with_context(|| format!("mount {} at {}", self.image, rootfs.display()));
            }
        }
        if self.json {
            return ui::json::print(&Document { version: 1, bundle: &self.dir, mounted: plan.is_some() });
        }
        writeln!(ui::out(), "bundle   {}", self.dir.display())?;
        Ok(())
    }
}
