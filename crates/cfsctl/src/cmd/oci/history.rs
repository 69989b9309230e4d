//! `cfsctl oci history`

use std::{collections::HashMap, io::Write as _};

use clap::Args;
use clap_complete::ArgValueCompleter;
use composefs::repo::Repository;
use composefs_oci::{
    find::{self, Name},
    model::media_type,
    stored::{StoredImage, tags},
};
use serde::Serialize;

use crate::{
    app::App,
    complete,
    ui::{self, size::human, table},
};

/// Show what an image's layers were made by
///
/// A line for each step, the last one first: when it was done, how large the layer's tar is and how large its blob was,
/// how many images with a tag have the layer, and the command. Steps that changed no files have no layer.
///
/// Example: cfsctl oci history debian:12
#[derive(Debug, Args)]
pub(crate) struct History {
    /// A tag, or @ and a manifest's digest
    #[arg(add = ArgValueCompleter::new(complete::tags))]
    image: Name,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    manifest: &'a str,
    config: &'a str,
    history: &'a [Step],
}

#[derive(Serialize)]
struct Step {
    created: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
    layer: Option<Layer>,
}

#[derive(Serialize)]
struct Layer {
    diff_id: String,
    digest: String,
    /// Of the tar.
    size: Option<u64>,
    /// Of the blob as it is shipped.
    blob_size: u64,
    compression: Option<String>,
    /// How many images with a tag have it.
    images: usize,
}

impl History {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let image = find::image(&repo, &self.image)?;
        if !image.is_container() {
            return Err(composefs_oci::Error::NotAContainer(self.image.to_string()).into());
        }
        let steps = steps(&repo, &image)?;
        if self.json {
            return ui::json::print(&Document {
                version: 1,
                manifest: image.manifest().digest().as_str(),
                config: image.config().digest().as_str(),
                history: &steps,
            });
        }
        let mut shown = table::new(&["CREATED", "SIZE", "BLOB", "IMAGES", "CREATED BY"]);
        for step in steps.iter().rev() {
            let layer = step.layer.as_ref();
            let text = |of: Option<String>| of.unwrap_or_default();
            shown.add_row(vec![
                text(step.created.as_deref().map(|time| time.chars().take(19).collect())),
                text(layer.map(|layer| layer.size.map_or_else(|| "?".to_owned(), human))),
                text(layer.map(|layer| human(layer.blob_size))),
                text(layer.map(|layer| layer.images.to_string())),
                printable(step.created_by.as_deref().or(step.comment.as_deref()).unwrap_or_default()),
            ]);
        }
        table::fit(&mut shown);
        writeln!(ui::out(), "{shown}")?;
        Ok(())
    }
}

/// What comes from outside moves no cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn steps(repo: &Repository, image: &StoredImage) -> anyhow::Result<Vec<Step>> {
    let config = image.config().parse()?;
    let used = used(repo)?;
    let mut layers = image.manifest().layers().iter().zip(config.diff_ids()).map(|(descriptor, diff_id)| {
        let stream = image.config().named(diff_id.as_str()).and_then(|id| repo.open_stream(id).ok());
        Layer {
            diff_id: diff_id.to_string(),
            digest: descriptor.digest().to_string(),
            size: stream.and_then(|stream| stream.stream_size()),
            blob_size: descriptor.size(),
            compression: media_type::tar_layer(descriptor.media_type().as_ref())
                .map(|found| found.to_string()),
            images: used.get(diff_id.as_str()).copied().unwrap_or_default(),
        }
    });
    let mut steps = Vec::new();
    for entry in config.parsed().history().iter().flatten() {
        let layer = if entry.empty_layer().unwrap_or(false) { None } else { layers.next() };
        steps.push(Step {
            created: entry.created().clone(),
            created_by: entry.created_by().clone(),
            comment: entry.comment().clone(),
            layer,
        });
    }
    // Of what the history does not mention there is a layer still.
    let rest =
        layers.map(|layer| Step { created: None, created_by: None, comment: None, layer: Some(layer) });
    steps.extend(rest);
    Ok(steps)
}

/// Counts for each layer the images with a tag that have it, each image once.
fn used(repo: &Repository) -> anyhow::Result<HashMap<String, usize>> {
    let mut manifests: Vec<_> = tags::list(repo)?.into_iter().filter_map(|tag| tag.manifest).collect();
    manifests.sort();
    manifests.dedup();
    let mut used = HashMap::new();
    for manifest in manifests {
        // What cannot be read counts for nothing; fsck tells of it.
        let Ok(image) = StoredImage::open(repo, &manifest) else { continue };
        let Ok(mut layers) = image.config().parse().map(|config| config.diff_ids().to_vec()) else {
            continue;
        };
        layers.sort();
        layers.dedup();
        for layer in layers {
            *used.entry(layer.to_string()).or_default() += 1;
        }
    }
    Ok(used)
}
