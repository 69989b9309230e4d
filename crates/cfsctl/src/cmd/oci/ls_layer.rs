//! `cfsctl oci ls-layer`

use clap::Args;
use composefs_oci::digest::{DiffId, Digest};

use crate::app::App;

/// List a layer's entries, a line of a dumpfile each
#[derive(Debug, Args)]
pub(crate) struct LsLayer {
    /// The layer's digest, refs/ and a name, or the name of a stream
    name: String,
}

impl LsLayer {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let composefs::repo::Resolved { entry, id } = repo.resolve_stream(&self.name)?;
        let text = entry.strip_prefix("oci-layer-").unwrap_or(&entry);
        let digest =
            composefs_oci::find::parse_digest(text).unwrap_or_else(|_| Digest::sha256(text.as_bytes()));
        super::layer::print_entries(app, &repo, &DiffId::new(digest), &id)
    }
}
