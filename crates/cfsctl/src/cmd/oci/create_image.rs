//! `cfsctl oci create-image`

use std::io::Write as _;

use clap::Args;
use composefs::{digest::ObjectId, name::RefName, repo::Writer};
use composefs_oci::digest::ConfigDigest;

use crate::{app::App, cmd::oci::rootfs_args::RootfsArgs, ui};

/// Store the composefs image of a config's layers
#[derive(Debug, Args)]
pub(crate) struct CreateImage {
    #[command(flatten)]
    args: RootfsArgs,
    /// A name for the image, below images/refs/
    #[arg(long, value_name = "NAME")]
    image_name: Option<String>,
}

impl CreateImage {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let name = self.image_name.map(RefName::new).transpose()?;
        let writer = app.writer()?;
        let (_, tree) = self.args.tree(app, &writer)?;
        let id = composefs::image::store(&writer, &tree, app.version(&writer))?;
        let mut commit = writer.begin();
        commit.image(id);
        if let Some(name) = name {
            commit.image_ref(name, &id);
        }
        commit.finish()?;
        writeln!(ui::out(), "{}", id.prefixed())?;
        Ok(())
    }
}

/// Makes the boot image of a config and records it.
pub(crate) fn boot_image(
    _: &App,
    _: &Writer,
    _: &ConfigDigest,
    _: Option<ObjectId>,
) -> anyhow::Result<String> {
    anyhow::bail!("bootable images are not supported yet")
}
