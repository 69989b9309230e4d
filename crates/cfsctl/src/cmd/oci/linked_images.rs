//! `cfsctl oci linked-erofs-images`

use clap::Args;
use composefs::digest::ObjectId;
use composefs_oci::find::{self, LinkedImage};
use serde::Serialize;

use crate::{app::App, ui};

/// List the composefs images of the OCI image that one of them belongs to
#[derive(Debug, Args)]
pub(crate) struct LinkedErofsImages {
    /// The id of a composefs image
    #[arg(value_parser = |text: &str| ObjectId::from_any_hex(text))]
    id: ObjectId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    bootable: bool,
    version: u8,
    xattr_mode: Option<String>,
}

impl LinkedErofsImages {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let rows: Vec<Row> = find::linked_images(&repo, &self.id)?
            .into_iter()
            .map(|LinkedImage { id, bootable, version, xattr_mode, .. }| Row {
                id: id.to_hex(),
                bootable,
                version,
                xattr_mode,
            })
            .collect();
        ui::json::print(&rows)
    }
}
