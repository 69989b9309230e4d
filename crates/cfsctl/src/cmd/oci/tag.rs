//! `cfsctl oci tag` and `untag`

use std::io::Write as _;

use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs_oci::{
    digest::{DigestError, ManifestDigest},
    find::parse_digest,
    stored::tags,
};

use crate::{app::App, complete, ui};

/// A manifest's digest as it is typed.
pub(crate) fn manifest_digest(text: &str) -> Result<ManifestDigest, DigestError> {
    parse_digest(text.strip_prefix('@').unwrap_or(text)).map(ManifestDigest::new)
}

/// Give a manifest that is here a name, or move the name to it
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The manifest's digest
    #[arg(value_parser = manifest_digest)]
    digest: ManifestDigest,
    /// The name
    name: String,
}

impl Tag {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        tags::set(&app.writer()?, &self.name, &self.digest)?;
        writeln!(ui::out(), "Tagged {} as {}", self.digest, ui::path::name(&self.name))?;
        Ok(())
    }
}

/// Remove a name; the image stays until the next gc
#[derive(Debug, Args)]
pub(crate) struct Untag {
    /// The name
    #[arg(add = ArgValueCompleter::new(complete::tags))]
    name: String,
}

impl Untag {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        tags::remove(&app.writer()?, &self.name)?;
        writeln!(ui::out(), "Removed tag {}", ui::path::name(&self.name))?;
        Ok(())
    }
}
