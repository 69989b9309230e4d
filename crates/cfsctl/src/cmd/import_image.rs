//! `cfsctl import-image`

use std::io::{Read as _, Write as _};

use clap::Args;
use composefs::name::RefName;

use crate::{app::App, ui};

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
        let mut input = std::io::stdin().lock();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let got = input.read(&mut buffer)?;
            if got == 0 {
                break;
            }
            object.write_all(buffer.get(..got).unwrap_or_default())?;
        }
        let id = object.finish()?.id;
        let mut commit = writer.begin();
        commit.image(id);
        commit.image_ref(name, &id);
        commit.finish()?;
        writeln!(ui::out(), "{}", id.prefixed())?;
        Ok(())
    }
}
