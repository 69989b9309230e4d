//! `cfsctl oci compute-id`

use std::io::Write as _;

use clap::Args;
use composefs_oci::rootfs::image::image_id;

use crate::{app::App, cmd::oci::rootfs_args::RootfsArgs, ui};

/// Print the id that an image's composefs image has, computed anew
#[derive(Debug, Args)]
pub(crate) struct ComputeId {
    #[command(flatten)]
    args: RootfsArgs,
}

impl ComputeId {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let (_, tree) = self.args.tree(app, &repo)?;
        writeln!(ui::out(), "{}", image_id(&tree, app.version(&repo), repo.algorithm())?)?;
        Ok(())
    }
}
