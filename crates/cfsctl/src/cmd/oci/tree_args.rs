//! Which image is looked into.

use std::ffi::OsStr;

use anyhow::Context as _;
use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs::{
    filetree::{
        FileTree,
        resolve::{LastLink, Resolved},
    },
    repo::Repository,
};
use composefs_oci::find::{self, ImageKind, Name};

use crate::{app::App, complete};

/// An image whose files are wanted.
#[derive(Debug, Args)]
pub(crate) struct TreeArgs {
    /// A tag, a manifest's or config's digest, an image id, or refs/ and a name
    #[arg(add = ArgValueCompleter::new(complete::tags))]
    image: Name,
    /// Look into the bootable image
    #[arg(long)]
    bootable: bool,
}

impl TreeArgs {
    /// Reads the image's tree; nothing is mounted.
    pub(crate) fn tree(&self, app: &App, repo: &Repository) -> anyhow::Result<FileTree> {
        let kind = if self.bootable { ImageKind::Boot } else { ImageKind::Root };
        Ok(find::tree(repo, &self.image, app.version(repo), kind)?)
    }

    /// Finds a path in the tree.
    pub(crate) fn resolve<'t>(
        &self,
        tree: &'t FileTree,
        path: &OsStr,
        last: LastLink,
    ) -> anyhow::Result<Resolved<'t>> {
        tree.resolve(path.as_encoded_bytes(), last).with_context(|| format!("in image {}", self.image))
    }
}
