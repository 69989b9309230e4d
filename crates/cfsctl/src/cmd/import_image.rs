//! `cfsctl import-image`

use std::io::BufReader;

use clap::Args;
use composefs::name::RefName;

use crate::{app::App, cmd::create_image::commit_image};

/// Store an EROFS image from stdin under a name, unchecked
///
/// Nothing but its digest is known of such an image: mount only what you trust.
#[derive(Debug, Args)]
pub(crate) struct ImportImage {
    /// The name below images/refs/
    reference: String,
}

impl ImportImage {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let name = RefName::new(&self.reference)?;
        let writer = app.writer_or_create()?;
        let mut object = writer.object_writer(0)?;
        std::io::copy(&mut BufReader::with_capacity(256 * 1024, std::io::stdin().lock()), &mut object)?;
        let id = object.finish()?.id;
        commit_image(&writer, id, Some(name))
    }
}
