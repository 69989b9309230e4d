//! `cfsctl oci layer`

use std::{
    collections::BTreeSet,
    io::{IsTerminal as _, Write as _},
};

use anyhow::{Context as _, bail};
use clap::Args;
use composefs::{digest::ObjectId, repo::Repository};
use composefs_oci::{
    digest::{DiffId, DigestError},
    find::parse_digest,
    ident,
    rootfs::image::entries,
};
use serde::Serialize;

use crate::{app::App, ui};

fn diff_id(text: &str) -> Result<DiffId, DigestError> {
    parse_digest(text.strip_prefix('@').unwrap_or(text)).map(DiffId::new)
}

/// Write a layer's tar to stdout, or show what is in it
#[derive(Debug, Args)]
pub(crate) struct Layer {
    /// The layer's diff_id
    #[arg(value_parser = diff_id)]
    layer: DiffId,
    /// Print a line of a dumpfile for each entry, in the order of the tar
    #[arg(long, conflicts_with = "json")]
    dumpfile: bool,
    /// Print what the layer holds as one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    diff_id: String,
    verity: String,
    size: u64,
    entry_count: u64,
    splitstream: Parts,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parts {
    external_objects: usize,
    external_size: u64,
    inline_size: u64,
}

impl Layer {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let stream = repo
            .stream_entry(&ident::layer(&self.layer)?)?
            .with_context(|| format!("layer {} is not in this repository", self.layer))?;
        if self.json {
            return self.print_json(app, &repo, &stream);
        }
        if self.dumpfile {
            return print_entries(app, &repo, &self.layer, &stream);
        }
        let out = ui::out();
        if out.is_terminal() {
            bail!("a tar is nothing for a terminal; redirect the output, or say --dumpfile or --json");
        }
        let opened = repo.open_stream(&stream)?;
        let mut out = std::io::BufWriter::with_capacity(128 * 1024, out);
        repo.replay_stream(&stream, &opened, &mut out)?;
        out.flush()?;
        Ok(())
    }

    fn print_json(&self, app: &App, repo: &Repository, id: &ObjectId) -> anyhow::Result<()> {
        let mut count = 0;
        let mut external_size = 0;
        let mut objects = BTreeSet::new();
        entries(repo, &self.layer, id, app.mode(), |_, object| {
            count += 1;
            if let Some((id, size)) = object {
                objects.insert(id);
                external_size += size;
            }
            Ok(())
        })?;
        let size = repo.open_stream(id)?.stream_size().unwrap_or_default();
        ui::json::print(&Document {
            diff_id: self.layer.to_string(),
            verity: id.to_hex(),
            size,
            entry_count: count,
            splitstream: Parts {
                external_objects: objects.len(),
                external_size,
                inline_size: size.saturating_sub(external_size),
            },
        })
    }
}

/// Prints a line for each entry of a layer.
pub(crate) fn print_entries(
    app: &App,
    repo: &Repository,
    layer: &DiffId,
    stream: &ObjectId,
) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(ui::out());
    let mut failed = None;
    entries(repo, layer, stream, app.mode(), |member, object| {
        if failed.is_none()
            && let Err(error) = composefs_oci::import::entry_line(&member, object.map(|(id, _)| id))
                .map_err(anyhow::Error::from)
                .and_then(|mut line| {
                    line.push(b'\n');
                    Ok(out.write_all(&line)?)
                })
        {
            failed = Some(error);
        }
        Ok(())
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(out.flush()?),
    }
}
