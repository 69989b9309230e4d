//! `cfsctl oci mount`

use std::path::PathBuf;

use clap::Args;
use composefs_oci::find::{self, Name};

use crate::{app::App, cmd::mount::MountArgs};

/// Mount an OCI image's root file system
///
/// Example: cfsctl oci mount web /mnt
#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// A tag, a manifest's digest, or a config's digest
    image: Name,
    /// Where to mount it
    mountpoint: PathBuf,
    /// Mount the bootable image
    #[arg(long)]
    bootable: bool,
    #[command(flatten)]
    args: MountArgs,
}

impl Mount {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let version = app.version(&repo);
        let kind = if self.bootable { find::ImageKind::Boot } else { find::ImageKind::Root };
        let id = find::mountable(&repo, &self.image, version, kind)?;
        self.args.mount(&repo, &id, &self.image.to_string(), &self.mountpoint)
    }
}
