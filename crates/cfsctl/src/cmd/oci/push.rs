//! `cfsctl oci push`

use std::{io::Write as _, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::{Args, builder::PossibleValuesParser};
use clap_complete::ArgValueCompleter;
use composefs::{progress::Observer, repo::Repository};
use composefs_oci::{
    export::{ExportOptions, ExportedImage, ExportedLayer, Packing, Pushed, push},
    find::{self, Name},
    reference::Reference,
    stored::{origins, referrers},
    transport::{self, SinkOptions},
};
use serde::Serialize;

use super::{artifact_args::ArtifactArgs, copy::write_blobs, registry_args::RegistryArgs};
use crate::{
    app::App,
    complete,
    ui::{self, digest_file::DigestFile, error::Usage},
};

/// Bring an image out to a registry, a layout, an archive or a directory
///
/// The layers are put together again bit by bit and checked, and the config goes out as it came in, so the image's id
/// stays. Without --compression each layer goes out as the blob it was, if it never was compressed or `oci pull
/// --keep-blobs` has kept it, else as its manifest says; if
/// all of them do the first, the manifest and its digest stay, too. What the other side has is not sent, and a registry
/// takes over what it has in the repository the image was pulled from. The destination's name leads to the new image
/// when all of it is there, and not before.
///
/// DESTINATION is docker://NAME[:TAG] in a registry, oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG] or dir:DIRECTORY.
///
/// Example: cfsctl oci push --compression zstd debian:12 docker://registry.example/debian:12
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// A tag, or @ and a manifest's digest
    #[arg(add = ArgValueCompleter::new(complete::tags))]
    name: Name,
    /// Where it shall be
    destination: String,
    /// Compress layers so; the blobs that they were go out if they are here and compressed so
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(["gzip", "zstd", "none"]))]
    compression: Option<String>,
    /// How much to spend on it: gzip 0 to 9, zstd 1 to 22; then all are compressed anew; default: 6 and 3
    #[arg(long, value_name = "N", requires = "compression")]
    level: Option<i64>,
    /// Bring out the index with the images for all platforms, which `oci pull --all-platforms` keeps
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    artifacts: ArtifactArgs,
    /// Push what refers to the image alone, to a registry that has the image itself
    #[arg(long, conflicts_with_all = ["compression", "all"])]
    only_referrers: bool,
    /// Write the digest of what was pushed into this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    name: String,
    destination: String,
    manifest: &'a str,
    media_type: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<&'a str>,
    images: Vec<Image<'a>>,
    blobs: Blobs,
}

#[derive(Serialize)]
struct Image<'a> {
    manifest: &'a str,
    /// What the manifest is in the repository.
    stored_manifest: &'a str,
    config: &'a str,
    layers: Vec<Layer<'a>>,
}

#[derive(Serialize)]
struct Layer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    diff_id: Option<&'a str>,
    digest: &'a str,
    size: u64,
    compression: Option<String>,
    form: String,
}

#[derive(Serialize)]
struct Blobs {
    copied: u64,
    copied_bytes: u64,
    present: u64,
}

impl Push {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let destination: Reference = self.destination.parse()?;
        let packing = Packing::new(self.compression.as_deref(), self.level)
            .map_err(|error| Usage(error.to_string()))?;
        let repo = app.repository()?;
        let observer: Arc<dyn Observer> = app.observer().into();
        let context = || format!("push {} to {}", self.name, self.destination);
        let mut options = ExportOptions::default()
            .packing(packing)
            .all(self.all)
            .artifacts(self.artifacts.which())
            .cancel(ui::interrupt::watch()?);
        if let Some(jobs) = app.global.jobs {
            options = options.jobs(jobs.into());
        }
        let mut to = SinkOptions::default().registry(self.registry.source_options(&observer)?.registry);
        if self.only_referrers {
            return self.push_artifacts(&repo, &destination, &to, &options, &observer).with_context(context);
        }
        if let Some(from) = same_registry(&repo, &self.name, &destination) {
            to = to.source(&from);
        }
        let digest_file = DigestFile::prepare(self.digestfile.as_deref())?;
        let pushed = {
            let to = transport::create(&destination, &to).with_context(context)?;
            push(&repo, &self.name, to.as_ref(), &options, observer.as_ref()).with_context(context)?
        };
        // With the last of them the bars go.
        drop((to, observer));
        if let Some(file) = digest_file {
            file.write(pushed.copied.manifest.as_str())?;
        }
        match self.json {
            true => self.print_json(&pushed, &destination),
            false => print(&pushed),
        }
    }

    /// Pushes each artifact under its digest.
    fn push_artifacts(
        &self,
        repo: &Repository,
        destination: &Reference,
        to: &SinkOptions,
        options: &ExportOptions,
        observer: &Arc<dyn Observer>,
    ) -> anyhow::Result<()> {
        let Reference::Registry(registry) = destination else {
            anyhow::bail!(Usage("--only-referrers is for registries".to_owned()));
        };
        let image = find::image(repo, &self.name)?;
        let mut artifacts = Vec::new();
        for digest in referrers::list(repo, image.manifest().digest())? {
            let artifact = find::image(repo, &Name::Digest(digest.digest().clone()))?;
            let kind = transport::artifacts::kind_of(artifact.manifest());
            if self.artifacts.which().kind().is_none_or(|wanted| wanted == kind) {
                artifacts.push(digest);
            }
        }
        anyhow::ensure!(!artifacts.is_empty(), "nothing refers to it");
        for digest in &artifacts {
            let place: Reference = format!("docker://{}@{digest}", registry.name()).parse()?;
            let sink = transport::create(&place, to)?;
            let name = Name::Digest(digest.digest().clone());
            push(
                repo,
                &name,
                sink.as_ref(),
                &options.clone().artifacts(transport::Artifacts::None),
                observer.as_ref(),
            )?;
        }
        if self.json {
            let artifacts: Vec<&str> = artifacts.iter().map(|digest| digest.as_str()).collect();
            return ui::json::print(&serde_json::json!({
                "version": 1,
                "name": self.name.to_string(),
                "destination": destination.to_string(),
                "manifest": image.manifest().digest().as_str(),
                "artifacts": artifacts,
            }));
        }
        let mut out = ui::out();
        for digest in artifacts {
            writeln!(out, "artifact {digest}")?;
        }
        Ok(())
    }

    fn print_json(&self, pushed: &Pushed, destination: &Reference) -> anyhow::Result<()> {
        let copied = &pushed.copied;
        ui::json::print(&Document {
            version: 1,
            name: self.name.to_string(),
            destination: destination.to_string(),
            manifest: copied.manifest.as_str(),
            media_type: &copied.media_type,
            artifacts: copied.artifacts.iter().map(|artifact| artifact.as_str()).collect(),
            images: pushed.images.iter().map(Image::of).collect(),
            blobs: Blobs { copied: copied.blobs, copied_bytes: copied.bytes, present: copied.present },
        })
    }
}

/// Finds where an image was pulled from, if that is in the registry it goes to.
fn same_registry(repo: &Repository, name: &Name, destination: &Reference) -> Option<Reference> {
    let Reference::Registry(to) = destination else { return None };
    let image = find::image(repo, name).ok()?;
    let origins = origins::of(repo, image.manifest().digest().digest()).ok()?;
    let same =
        |origin: &Reference| matches!(origin, Reference::Registry(from) if from.domain() == to.domain());
    origins.into_iter().find(same)
}

impl<'a> Image<'a> {
    fn of(image: &'a ExportedImage) -> Self {
        Self {
            manifest: image.manifest.as_str(),
            stored_manifest: image.original.as_str(),
            config: image.config.as_str(),
            layers: image.layers.iter().map(Layer::of).collect(),
        }
    }
}

impl<'a> Layer<'a> {
    fn of(layer: &'a ExportedLayer) -> Self {
        Self {
            diff_id: layer.diff_id.as_ref().map(|id| id.as_str()),
            digest: layer.digest.as_str(),
            size: layer.size,
            compression: layer.compression.map(|compression| compression.to_string()),
            form: layer.form.to_string(),
        }
    }
}

fn print(pushed: &Pushed) -> anyhow::Result<()> {
    let (copied, mut out) = (&pushed.copied, ui::out());
    writeln!(out, "manifest {}", copied.manifest)?;
    for artifact in &copied.artifacts {
        writeln!(out, "artifact {artifact}")?;
    }
    for image in &pushed.images {
        let anew = image.original != image.manifest;
        match (pushed.images.len(), anew) {
            (1, true) => {
                writeln!(out, "  made anew, since layers are other blobs than in {}", image.original)?;
            }
            (1, false) => {}
            (_, true) => writeln!(out, "image    {}, made anew from {}", image.manifest, image.original)?,
            (_, false) => writeln!(out, "image    {}", image.manifest)?,
        }
        if pushed.images.len() == 1 {
            writeln!(out, "config   {}", image.config)?;
        }
    }
    write_blobs(&mut out, copied)
}
