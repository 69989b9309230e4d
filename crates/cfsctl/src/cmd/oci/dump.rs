//! `cfsctl oci dump`

use std::io::Write as _;

use clap::Args;
use composefs::dumpfile;

use crate::{app::App, cmd::oci::rootfs_args::RootfsArgs, ui};

/// Print an image's merged tree as a dumpfile
#[derive(Debug, Args)]
pub(crate) struct Dump {
    #[command(flatten)]
    args: RootfsArgs,
}

impl Dump {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let (_, tree) = self.args.tree(app, &repo)?;
        let mut out = std::io::BufWriter::new(ui::out());
        dumpfile::write(&tree, &mut out)?;
        out.flush()?;
        Ok(())
    }
}
