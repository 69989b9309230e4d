//! `cfsctl oci load`

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::Args;
use composefs::progress::Observer;
use composefs_oci::{
    Error,
    environment::Environment,
    model::platform::Platform,
    policy::Policy,
    pull::{Blobs, PullOptions, Pulled, pull},
    stored::tags,
    transport::saved::SavedArchive,
};
use serde::Serialize;

use crate::{
    app::App,
    ui::{self, error::Usage},
};

/// Take all images out of an archive of podman, skopeo, Docker or `oci save`
///
/// An OCI layout or what `docker save` writes, packed or not; - is stdin. Each image gets the tags that are its names in
/// the archive; one without gets the digest of its manifest as its tag, or with NAME that one. Images that were taken
/// before one fails stay.
///
/// Example: podman save debian:12 | cfsctl oci load -
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The archive
    file: PathBuf,
    /// The tag to give the one image instead of its names
    name: Option<String>,
    /// The platform to take of several, OS/ARCH or OS/ARCH/VARIANT; default: this machine's
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Keep the layers as they are shipped, too
    #[arg(long)]
    keep_blobs: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Go by this policy.json; default: as for `oci pull`
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document {
    version: u32,
    images: Vec<Image>,
}

#[derive(Serialize)]
struct Image {
    tags: Vec<String>,
    manifest: String,
    config: String,
    images: Vec<String>,
}

impl Load {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let context = || format!("load {}", self.file.display());
        let policy =
            Policy::load(&Environment::from_process(), self.policy.as_deref()).map_err(Error::from)?;
        let archive = match self.file.as_os_str() == "-" {
            true => SavedArchive::read(std::io::stdin(), Path::new("/dev/stdin"), &policy),
            false => SavedArchive::open(&self.file, &policy),
        }
        .with_context(context)?;
        if self.name.is_some() && archive.images().len() != 1 {
            bail!(Usage(format!(
                "the archive has {} images, so one NAME does not do",
                archive.images().len()
            )));
        }
        let writer = app.writer_or_create()?;
        let observer: Arc<dyn Observer> = app.observer().into();
        let mut options =
            PullOptions::default().mode(app.mode()).jobs(app.jobs()).cancel(ui::interrupt::watch()?);
        if let Some(platform) = self.platform.clone() {
            options = options.platform(platform);
        }
        if self.keep_blobs {
            options = options.blobs(Blobs::Keep);
        }
        if let Some(version) = app.global.erofs_version {
            options = options.formats(vec![version.into()]);
        }
        let mut loaded: Vec<(Vec<String>, Pulled)> = Vec::new();
        for (position, names) in archive.images().iter().enumerate() {
            let names = self.name.as_ref().map_or_else(|| names.clone(), |name| vec![name.clone()]);
            let source = archive.image(position).with_context(context)?;
            let named = names.first().map_or_else(|| options.clone(), |name| options.clone().tag(name));
            let pulled = pull(&writer, source.as_ref(), &named, observer.as_ref()).with_context(context)?;
            let names = if names.is_empty() { vec![pulled.manifest.to_string()] } else { names };
            for name in &names {
                tags::set(&writer, name, &pulled.manifest).with_context(context)?;
            }
            loaded.push((names, pulled));
        }
        // With the last of them the bars go.
        drop(observer);
        match self.json {
            true => print_json(loaded),
            false => print(&loaded),
        }
    }
}

fn print_json(loaded: Vec<(Vec<String>, Pulled)>) -> anyhow::Result<()> {
    let image = |(tags, pulled): (Vec<String>, Pulled)| Image {
        tags,
        manifest: pulled.manifest.to_string(),
        config: pulled.config.to_string(),
        images: pulled.images.iter().map(|(_, id)| id.to_hex()).collect(),
    };
    ui::json::print(&Document { version: 1, images: loaded.into_iter().map(image).collect() })
}

fn print(loaded: &[(Vec<String>, Pulled)]) -> anyhow::Result<()> {
    let mut out = ui::out();
    for (names, pulled) in loaded {
        writeln!(out, "manifest {}", pulled.manifest)?;
        writeln!(out, "config   {}", pulled.config)?;
        for name in names {
            writeln!(out, "tagged   {name}")?;
        }
    }
    Ok(())
}
