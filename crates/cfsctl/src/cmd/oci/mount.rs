//! `cfsctl oci mount`

use std::path::PathBuf;

use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs_oci::{
    Error,
    find::{self, Name},
    seal::SealError,
    trust,
};

use crate::{app::App, cmd::mount::MountArgs, complete};

/// Mount an OCI image's root file system
///
/// Example: cfsctl oci mount web /mnt
#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// A tag, a manifest's digest, or a config's digest
    #[arg(add = ArgValueCompleter::new(complete::tags))]
    image: Name,
    /// Where to mount it
    mountpoint: PathBuf,
    /// Mount the bootable image
    #[arg(long)]
    bootable: bool,
    /// Mount only what `oci verify` has verified, by a certificate or a trusted manifest
    #[arg(long)]
    require_seal: bool,
    #[command(flatten)]
    args: MountArgs,
}

impl Mount {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let version = app.version(&repo);
        let kind = if self.bootable { find::ImageKind::Boot } else { find::ImageKind::Root };
        let id = find::mountable(&repo, &self.image, version, kind)?;
        if self.require_seal {
            let stored = find::image(&repo, &self.image).map_err(|error| match error {
                Error::NotFound(name) => SealError::NotVerified(name).into(),
                error => error,
            })?;
            let name = self.image.to_string();
            trust::demand(&repo, stored.manifest().digest(), &name, kind, &id)?;
            self.args.insist(&repo)?;
        }
        self.args.mount(repo, &id, &self.image.to_string(), &self.mountpoint)
    }
}
