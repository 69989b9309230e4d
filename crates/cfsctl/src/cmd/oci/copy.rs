//! `cfsctl oci copy`

mod between;

use std::{io::Write, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Args;
use composefs::progress::Observer;
use composefs_oci::{
    copy::{Copied, CopyOptions, Which, copy},
    model::platform::Platform,
    reference::Reference,
    transport::{self, SinkOptions},
};
use serde::Serialize;

use super::{
    artifact_args::ArtifactArgs,
    policy_args::PolicyArgs,
    registry_args::{Creds, RegistryArgs},
};
use crate::{
    app::App,
    ui::{self, digest_file::DigestFile},
};

/// Copy an image from one place to another, without a repository
///
/// Bytes and digests stay what they are, and what the destination has is not sent. Its name leads to the new image when
/// all of it is there, and not before. What seals the image comes with it; --with-referrers brings whatever else refers
/// to it.
///
/// SOURCE is whatever `oci pull` takes. DESTINATION is docker://NAME[:TAG] in a registry, oci:DIRECTORY[:TAG],
/// oci-archive:FILE[:TAG] or dir:DIRECTORY.
///
/// With --from it is copied from another composefs repository into this one. Files of 64 KiB and more share their blocks
/// with those there, where the file system can do that.
///
/// Example: cfsctl oci copy --all docker://docker.io/library/debian:12 oci:/srv/layouts/debian:12
#[derive(Debug, Args)]
pub(crate) struct Copy {
    /// Where the image is; with --from a tag there, or @ and a manifest's digest
    source: String,
    /// Where it shall be
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    destination: Option<String>,
    #[command(flatten)]
    between: between::Between,
    /// The platform to take of several, OS/ARCH or OS/ARCH/VARIANT; default: this machine's
    #[arg(long, value_name = "PLATFORM", conflicts_with = "all")]
    platform: Option<Platform>,
    /// Copy the index with the images for all platforms
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    artifacts: ArtifactArgs,
    /// Write the digest of what was copied into this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    policy: PolicyArgs,
    /// As --creds, for SOURCE alone
    #[arg(long, value_name = "USER[:PASSWORD]", help_heading = "Registry options")]
    src_creds: Option<Creds>,
    /// As --creds, for DESTINATION alone
    #[arg(long, value_name = "USER[:PASSWORD]", help_heading = "Registry options")]
    dest_creds: Option<Creds>,
    /// As --tls-verify, for SOURCE alone
    #[arg(long, value_name = "BOOL", help_heading = "Registry options")]
    src_tls_verify: Option<bool>,
    /// As --tls-verify, for DESTINATION alone
    #[arg(long, value_name = "BOOL", help_heading = "Registry options")]
    dest_tls_verify: Option<bool>,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    source: String,
    destination: String,
    manifest: &'a str,
    media_type: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<&'a str>,
    blobs: Blobs,
}

#[derive(Serialize)]
struct Blobs {
    copied: u64,
    copied_bytes: u64,
    present: u64,
}

impl Copy {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        if let Some(from) = &self.between.from {
            return self.between.run(app, &self.source, from, self.artifacts.which(), self.json);
        }
        let place = self.destination.clone().unwrap_or_default();
        let source: Reference = self.source.parse()?;
        let destination: Reference = place.parse()?;
        let observer: Arc<dyn Observer> = app.observer().into();
        let context = || format!("copy {} to {place}", self.source);
        let from = self.side(&self.src_creds, self.src_tls_verify).source_options(&observer)?;
        let from = self.policy.over(from).with_context(context)?;
        let to = self.side(&self.dest_creds, self.dest_tls_verify).source_options(&observer)?;
        let mut options =
            CopyOptions::default().artifacts(self.artifacts.which()).cancel(ui::interrupt::watch()?);
        options = match self.platform.clone() {
            _ if self.all => options.which(Which::All),
            Some(platform) => options.which(Which::One(platform)),
            None => options,
        };
        if let Some(jobs) = app.global.jobs {
            options = options.jobs(jobs.into());
        }
        let to = SinkOptions::default().registry(to.registry).source(&source);
        let digest_file = DigestFile::prepare(self.digestfile.as_deref())?;
        let copied = {
            let from = transport::open(&source, &from).with_context(context)?;
            let to = transport::create(&destination, &to).with_context(context)?;
            copy(from.as_ref(), to.as_ref(), &options, observer.as_ref()).with_context(context)?
        };
        // With the last of them the bars go.
        drop((from, to, observer));
        if let Some(file) = digest_file {
            file.write(copied.manifest.as_str())?;
        }
        match self.json {
            true => print_json(&copied, &source, &destination),
            false => print(&copied),
        }
    }

    /// The options of one side.
    fn side(&self, creds: &Option<Creds>, tls_verify: Option<bool>) -> RegistryArgs {
        let mut side = self.registry.clone();
        side.creds = creds.clone().or(side.creds);
        side.tls_verify = tls_verify.or(side.tls_verify);
        side
    }
}

fn print_json(copied: &Copied, source: &Reference, destination: &Reference) -> anyhow::Result<()> {
    ui::json::print(&Document {
        version: 1,
        source: source.to_string(),
        destination: destination.to_string(),
        manifest: copied.manifest.as_str(),
        media_type: &copied.media_type,
        artifacts: copied.artifacts.iter().map(|artifact| artifact.as_str()).collect(),
        blobs: Blobs { copied: copied.blobs, copied_bytes: copied.bytes, present: copied.present },
    })
}

fn print(copied: &Copied) -> anyhow::Result<()> {
    let mut out = ui::out();
    writeln!(out, "manifest {}", copied.manifest)?;
    for artifact in &copied.artifacts {
        writeln!(out, "artifact {artifact}")?;
    }
    write_blobs(&mut out, copied)
}

/// Says how many blobs went over.
pub(super) fn write_blobs(out: &mut impl Write, copied: &Copied) -> anyhow::Result<()> {
    writeln!(
        out,
        "blobs    {} copied + {} already present; {} sent",
        copied.blobs,
        copied.present,
        ui::size::human(copied.bytes)
    )?;
    Ok(())
}
