//! `cfsctl cat`

use clap::Args;

use crate::{app::App, ui};

/// Write the contents of a stream to stdout
///
/// NAME is a path below streams/: an identifier, or refs/ and a name. 64 bare hex digits are looked for as a layer,
/// config, manifest and blob in turn.
///
/// Example: cfsctl cat refs/oci/debian | jq .
#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// The stream
    name: String,
}

impl Cat {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let id = repo.resolve_stream(&self.name)?.id;
        let stream = repo.open_stream(&id)?;
        let mut out = std::io::BufWriter::with_capacity(128 * 1024, ui::out());
        repo.replay_stream(&id, &stream, &mut out)?;
        std::io::Write::flush(&mut out)?;
        Ok(())
    }
}
