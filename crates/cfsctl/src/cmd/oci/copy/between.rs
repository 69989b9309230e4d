//! From repository to repository.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use composefs::repo::{OpenOptions, Repository};
use composefs_oci::{
    export::KeptSource,
    find::Name,
    import::Sharing,
    pull::{PullOptions, Pulled, pull},
    transport::Artifacts,
};
use serde::Serialize;

use crate::{app::App, ui};

/// What there is to say of another repository.
#[derive(Debug, Args)]
pub(crate) struct Between {
    /// Copy from this composefs repository
    #[arg(long, value_name = "REPO")]
    pub(crate) from: Option<PathBuf>,
    /// The tag the image gets here; without one nothing keeps it
    #[arg(long, value_name = "TAG", requires = "from")]
    name: Option<String>,
    /// Share the blocks of large files, or fail
    #[arg(long, requires = "from")]
    zerocopy: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    source: String,
    from: &'a Path,
    tag: Option<&'a str>,
    manifest: &'a str,
    manifest_verity: String,
    config: &'a str,
    config_verity: String,
    artifacts: Vec<&'a str>,
    objects: Objects,
}

#[derive(Serialize)]
struct Objects {
    new: u64,
    present: u64,
    reflinked: u64,
    reflinked_bytes: u64,
    stored_bytes: u64,
    inlined_bytes: u64,
}

impl Between {
    pub(crate) fn run(
        &self,
        app: &App,
        image: &str,
        from: &Path,
        artifacts: Artifacts,
        json: bool,
    ) -> anyhow::Result<()> {
        let name: Name = image.parse()?;
        let context = || format!("copy {image} from {}", from.display());
        let other = Repository::open(rustix::fs::CWD, from, &OpenOptions::default()).with_context(context)?;
        let source = KeptSource::open(&other, &name).with_context(context)?;
        let mut options = PullOptions::default()
            .mode(app.mode())
            .jobs(app.jobs())
            .artifacts(artifacts)
            .cancel(ui::interrupt::watch()?);
        if let Some(tag) = &self.name {
            options = options.tag(tag);
        }
        if self.zerocopy {
            options = options.sharing(Sharing::Required);
        }
        let observer = app.observer();
        let writer = app.writer_or_create()?;
        let pulled = pull(&writer, &source, &options, observer.as_ref()).with_context(context)?;
        // With the last of them the bars go.
        drop(observer);
        if json {
            return self.print_json(&pulled, image, from);
        }
        self.print(app, &pulled, image, from)
    }

    fn print(&self, app: &App, pulled: &Pulled, image: &str, from: &Path) -> anyhow::Result<()> {
        let mut out = ui::out();
        let show = ui::path::name;
        let tagged = self.name.as_ref().map_or_else(String::new, |tag| format!(", tagged as {}", show(tag)));
        let (image, from) = (show(image), from.display().to_string());
        writeln!(out, "Copied image {image} from {} to destination repo{tagged}", show(&from))?;
        writeln!(out, "Manifest digest: {}", pulled.manifest)?;
        writeln!(out, "Manifest verity: {}", pulled.manifest_stream)?;
        writeln!(out, "Config digest:   {}", pulled.config)?;
        writeln!(out, "Config verity:   {}", pulled.config_stream)?;
        for artifact in &pulled.artifacts {
            writeln!(out, "Artifact:        {artifact}")?;
        }
        let (objects, human) = (&pulled.objects, ui::size::human);
        if !app.global.quiet {
            ui::say!(
                "{} reflinked + {} copied + {} already present objects; {} reflinked, {} copied, {} inlined",
                objects.shared,
                objects.new.saturating_sub(objects.shared),
                objects.present,
                human(objects.shared_bytes),
                human(objects.new_bytes.saturating_sub(objects.shared_bytes)),
                human(pulled.inlined_bytes)
            );
        }
        Ok(())
    }

    fn print_json(&self, pulled: &Pulled, image: &str, from: &Path) -> anyhow::Result<()> {
        let objects = &pulled.objects;
        ui::json::print(&Document {
            version: 1,
            source: image.to_owned(),
            from,
            tag: self.name.as_deref(),
            manifest: pulled.manifest.as_str(),
            manifest_verity: pulled.manifest_stream.to_string(),
            config: pulled.config.as_str(),
            config_verity: pulled.config_stream.to_string(),
            artifacts: pulled.artifacts.iter().map(|artifact| artifact.as_str()).collect(),
            objects: Objects {
                new: objects.new,
                present: objects.present,
                reflinked: objects.shared,
                reflinked_bytes: objects.shared_bytes,
                stored_bytes: objects.new_bytes,
                inlined_bytes: pulled.inlined_bytes,
            },
        })
    }
}
