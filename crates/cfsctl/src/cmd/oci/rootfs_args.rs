//! Which config is meant, and how its layers become a tree.

use clap::Args;
use composefs::{digest::ObjectId, filetree::FileTree, repo::Repository};
use composefs_oci::{
    boot::boot_tree,
    find::{self, Name},
    rootfs::{RootfsOptions, tree},
    stored::StoredConfig,
};

use crate::{app::App, cmd::fs_options::Xattrs};

/// A config, and the options of its tree.
#[derive(Debug, Args)]
pub(crate) struct RootfsArgs {
    /// A tag, @ and a config's digest, a config's digest in bare hex, or refs/ and a name
    pub(crate) config_name: Name,
    /// The id of the config's stream; it is then not looked up by name
    #[arg(value_parser = |text: &str| ObjectId::from_any_hex(text))]
    pub(crate) config_verity: Option<ObjectId>,
    /// Make the tree ready to boot: SELinux labels, /boot and /sysroot emptied
    #[arg(long)]
    pub(crate) bootable: bool,
    /// Which extended attributes stay
    #[arg(long, value_name = "MODE", default_value = "allowlist-only")]
    pub(crate) xattrs: Xattrs,
}

impl RootfsArgs {
    /// Opens the config and merges its layers.
    pub(crate) fn tree(&self, app: &App, repo: &Repository) -> anyhow::Result<(StoredConfig, FileTree)> {
        let config = find::config(repo, &self.config_name, self.config_verity.as_ref())?;
        let options = RootfsOptions::default().mode(app.mode()).xattrs(self.xattrs.into());
        let make = if self.bootable { boot_tree } else { tree };
        let tree = make(repo, config.digest(), &config.layers()?, &options)?;
        Ok((config, tree))
    }
}
