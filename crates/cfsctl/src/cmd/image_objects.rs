//! `cfsctl image-objects`

use std::io::Write as _;

use clap::Args;

use crate::{app::App, ui};

/// List the objects that an image names
#[derive(Debug, Args)]
pub(crate) struct ImageObjects {
    /// An image id, refs/ and a name, or a bare name
    name: String,
}

impl ImageObjects {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let id = repo.resolve_image(&self.name)?.id;
        let mut out = std::io::BufWriter::new(ui::out());
        for object in repo.image_objects(&id)? {
            writeln!(out, "{}", object.prefixed())?;
        }
        out.flush()?;
        Ok(())
    }
}
