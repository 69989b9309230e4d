//! `cfsctl oci create-image`

use clap::Args;
use composefs::name::RefName;

use crate::{
    app::App,
    cmd::{create_image::commit_image, oci::rootfs_args::RootfsArgs},
};

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
        commit_image(&writer, id, name)
    }
}
