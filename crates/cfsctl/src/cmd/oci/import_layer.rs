//! `cfsctl oci import-layer`

use std::io::Write as _;

use clap::Args;
use composefs::{
    name::RefName,
    repo::{PoolOptions, StorePool},
};
use composefs_oci::{
    digest::{DiffId, DigestError},
    find::parse_digest,
    ident,
    import::{LayerDigest, LayerImporter},
};

use crate::{app::App, ui};

fn diff_id(text: &str) -> Result<DiffId, DigestError> {
    parse_digest(text).map(DiffId::new)
}

/// Store a layer from a tar on stdin
///
/// The tar must hash to DIGEST. A layer that is here already is not read again.
#[derive(Debug, Args)]
pub(crate) struct ImportLayer {
    /// The layer's diff_id
    #[arg(value_parser = diff_id)]
    digest: DiffId,
    /// A name for it, below streams/refs/
    name: Option<String>,
}

impl ImportLayer {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let name = self.name.map(RefName::new).transpose()?;
        let writer = app.writer_or_create()?;
        let stream = ident::layer(&self.digest)?;
        let id = match writer.stream_entry(&stream)? {
            Some(id) => id,
            None => {
                let pool = StorePool::new(&writer, PoolOptions::default().threads(app.jobs()))?;
                let importer = LayerImporter::new(&writer, &pool, app.mode());
                importer.import_tar(std::io::stdin(), &LayerDigest::DiffId(self.digest.clone()))?.stream
            }
        };
        let mut commit = writer.begin();
        commit.stream(stream.clone(), id);
        if let Some(name) = name {
            commit.stream_ref(name, &stream);
        }
        commit.finish()?;
        writeln!(ui::out(), "{}", id.prefixed())?;
        Ok(())
    }
}
