//! `cfsctl oci save`

use std::{
    io::{BufWriter, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum, builder::PossibleValuesParser};
use clap_complete::ArgValueCompleter;
use composefs::{disk::folder::Folder, progress::Observer};
use composefs_oci::{
    export::{
        ExportOptions, Packing,
        save::{ArchiveForm, SavedImage, save},
    },
    find::Name,
};
use serde::Serialize;

use crate::{
    app::App,
    complete,
    ui::{self, error::Usage},
};

/// Write images into an archive that other tools load
///
/// Layers that several images have are in it once, and the same images give the same archive. The form docker-archive is
/// what `docker save` writes: layers as tars, no manifests, and names only where they can be one there. What is in
/// FILE is replaced when all of the new one is there; - is stdout.
///
/// Example: cfsctl oci save --format docker-archive debian:12 - | docker load
#[derive(Debug, Args)]
pub(crate) struct Save {
    /// A tag, or @ and a manifest's digest (can be repeated)
    #[arg(required = true, num_args = 1.., value_name = "NAME", add = ArgValueCompleter::new(complete::tags))]
    names: Vec<Name>,
    /// The archive
    #[arg(required = true)]
    file: PathBuf,
    /// Its form
    #[arg(long, value_name = "FORM", default_value = "oci-archive")]
    format: Form,
    /// Compress layers so; as for `oci push`
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(["gzip", "zstd", "none"]))]
    compression: Option<String>,
    /// How much to spend on it; as for `oci push`
    #[arg(long, value_name = "N", requires = "compression")]
    level: Option<i64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// The forms of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// An OCI layout
    OciArchive,
    /// What `docker save` writes
    DockerArchive,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    file: String,
    format: &'static str,
    images: Vec<Image<'a>>,
}

#[derive(Serialize)]
struct Image<'a> {
    name: String,
    saved_as: Option<&'a str>,
    /// None where the form has no manifests.
    manifest: Option<&'a str>,
    stored_manifest: &'a str,
    config: &'a str,
}

impl Save {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let packing = Packing::new(self.compression.as_deref(), self.level)
            .map_err(|error| Usage(error.to_string()))?;
        if self.format == Form::DockerArchive && !matches!(packing, Packing::AsPulled | Packing::Plain) {
            bail!(Usage("the layers of a docker-archive are not compressed".to_owned()));
        }
        let to_stdout = self.file.as_os_str() == "-";
        if to_stdout && self.json {
            bail!(Usage("--json and the archive cannot both go to stdout".to_owned()));
        }
        if to_stdout && std::io::stdout().is_terminal() {
            bail!("an archive is nothing for a terminal; redirect the output, or name a file");
        }
        let repo = app.repository()?;
        let observer: Arc<dyn Observer> = app.observer().into();
        let mut options = ExportOptions::default().packing(packing).cancel(ui::interrupt::watch()?);
        if let Some(jobs) = app.global.jobs {
            options = options.jobs(jobs.into());
        }
        let form = match self.format {
            Form::OciArchive => ArchiveForm::Oci,
            Form::DockerArchive => ArchiveForm::Docker,
        };
        let context = || format!("save to {}", self.file.display());
        let saved = if to_stdout {
            let mut out = BufWriter::with_capacity(128 * 1024, ui::out());
            save(&repo, &self.names, form, &options, &mut out, observer.as_ref()).with_context(context)?
        } else {
            let (folder, name) = place(&self.file)?;
            let staged = folder.stage().with_context(context)?;
            let mut out = BufWriter::with_capacity(128 * 1024, staged.file());
            let saved = save(&repo, &self.names, form, &options, &mut out, observer.as_ref())
                .with_context(context)?;
            drop(out);
            // What has a name is whole, after a crash too.
            folder.sync().with_context(context)?;
            staged.publish(&name).with_context(context)?;
            saved
        };
        // With the last of them the bars go.
        drop(observer);
        match (to_stdout, self.json) {
            (true, _) => Ok(()),
            (false, true) => self.print_json(&saved),
            (false, false) => self.print(&saved),
        }
    }

    fn print_json(&self, saved: &[SavedImage]) -> anyhow::Result<()> {
        let image = |saved: &'_ SavedImage| -> (String, Option<String>) {
            (saved.name.to_string(), saved.called.clone())
        };
        let named: Vec<_> = saved.iter().map(image).collect();
        ui::json::print(&Document {
            version: 1,
            file: self.file.display().to_string(),
            format: match self.format {
                Form::OciArchive => "oci-archive",
                Form::DockerArchive => "docker-archive",
            },
            images: saved
                .iter()
                .zip(&named)
                .map(|(saved, (name, called))| Image {
                    name: name.clone(),
                    saved_as: called.as_deref(),
                    manifest: (self.format == Form::OciArchive).then(|| saved.image.manifest.as_str()),
                    stored_manifest: saved.image.original.as_str(),
                    config: saved.image.config.as_str(),
                })
                .collect(),
        })
    }

    fn print(&self, saved: &[SavedImage]) -> anyhow::Result<()> {
        let mut out = ui::out();
        for SavedImage { name, called, image, .. } in saved {
            match called {
                Some(called) => writeln!(out, "saved    {name} as {called}")?,
                None => writeln!(out, "saved    {name} without a name")?,
            }
            if self.format == Form::OciArchive {
                writeln!(out, "manifest {}", image.manifest)?;
            }
            writeln!(out, "config   {}", image.config)?;
        }
        Ok(())
    }
}

/// Splits the path of a file that is to be.
fn place(path: &Path) -> anyhow::Result<(Folder, String)> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} names no file", path.display()))?;
    if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        bail!("{} is there and is no file", path.display());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((Folder::make(parent)?, name.to_owned()))
}
