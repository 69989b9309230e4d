//! `cfsctl oci pull`

mod dry_run;

use std::{io::Write as _, sync::Arc};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use composefs::{digest::ObjectId, filetree::XattrMode, progress::Observer, repo::Writer};
use composefs_oci::{
    boot::{self, BootImage},
    digest::{Digest, ManifestDigest},
    find::parse_digest,
    import::Sharing,
    model::platform::Platform,
    pull::{Blobs, ImageBuild, Platforms, PullOptions, PullPlan, Pulled, SpaceCheck},
    reference::Reference,
    rootfs::RootfsOptions,
    stored::tags,
    transport,
};
use serde::Serialize;

use super::{artifact_args::ArtifactArgs, policy_args::PolicyArgs, registry_args::RegistryArgs};
use crate::{
    app::App,
    ui::{self, error::Usage},
};

/// Pull an image into the repository
///
/// Every blob is checked against its digest and size and every layer against its diff_id while the data flow by; what
/// is here already is not read again. The image is tagged last, when all of it is durable. Ctrl-C ends a pull with
/// what is finished by then; a second one ends it at once.
///
/// IMAGE is docker://NAME[:TAG|@DIGEST] for an image of a registry, a bare name such as debian:12 (registries.conf
/// says which registries that means, else Docker Hub), oci:DIRECTORY[:TAG], oci-archive:FILE[:TAG],
/// docker-archive:FILE[:NAME], dir:DIRECTORY, containers-storage:NAME or docker-daemon:NAME.
///
/// With --all-platforms the images for other platforms are kept as they are shipped, and the index with them; the tag
/// is that of the image for this machine or for --platform. A later pull for one of those platforms fetches nothing.
///
/// Example: cfsctl oci pull --dry-run docker.io/library/debian:12
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Where the image is
    image: String,
    /// The tag to give it; default: IMAGE as it is
    name: Option<String>,
    /// Also make the bootable image
    #[arg(long)]
    bootable: bool,
    /// Refuse anything but this manifest (sha256:…); with --bootable and bare hex: the boot image to arrive at
    #[arg(long, value_name = "DIGEST")]
    expected_digest: Option<String>,
    /// How containers-storage: is read
    #[arg(long, value_name = "HOW", default_value = "auto")]
    local_fetch: LocalFetch,
    /// The platform to take of several, OS/ARCH or OS/ARCH/VARIANT; default: this machine's
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Keep the images for all other platforms, too
    #[arg(long)]
    all_platforms: bool,
    /// Keep the layers as they are shipped, too, so that `oci push` gives the very manifest
    #[arg(long)]
    keep_blobs: bool,
    #[command(flatten)]
    artifacts: ArtifactArgs,
    /// Show which layers are here and which come, and do nothing; makes no repository
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Try it even if the disk has less room than is needed at the least
    #[arg(long)]
    no_space_check: bool,
    /// Don't build the EROFS image
    #[arg(long, conflicts_with = "bootable")]
    no_image: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// How images of containers/storage are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LocalFetch {
    /// Through skopeo
    Disabled,
    /// Natively; files share their blocks with the store where the file system can do that
    Auto,
    /// Natively, and files of 64 KiB and more without copying them, or not at all
    Zerocopy,
}

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    manifest: &'a str,
    config: &'a str,
    verity: String,
    tag: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    images: Vec<Image>,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_image: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<&'a str>,
    objects: Objects,
}

#[derive(Serialize)]
struct Image {
    format: u32,
    id: String,
}

#[derive(Serialize)]
struct Objects {
    new: u64,
    present: u64,
    stored_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reflinked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reflinked_bytes: Option<u64>,
    inlined_bytes: u64,
}

impl Pull {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let tag = self.name.as_deref().unwrap_or(&self.image);
        let (expected, expected_boot) = self.expected()?;
        let mut options =
            PullOptions::default().mode(app.mode()).jobs(app.jobs()).artifacts(self.artifacts.which());
        if self.local_fetch == LocalFetch::Zerocopy {
            options = options.sharing(Sharing::Required);
        }
        // An image that must boot gets its tag when it does; while we hold the repository, nothing collects it.
        let tag_last = self.bootable && expected_boot.is_none();
        if tag_last {
            composefs_oci::ident::tag(tag)?;
        } else {
            options = options.tag(tag);
        }
        if let Some(platform) = self.platform.clone() {
            options = options.platform(platform);
        }
        if self.no_image {
            options = options.image(ImageBuild::Skip);
        }
        if self.no_space_check {
            options = options.space(SpaceCheck::Skip);
        }
        if let Some(expected) = expected {
            options = options.expected(expected);
        }
        if let Some(version) = app.global.erofs_version {
            options = options.formats(vec![version.into()]);
        }
        if self.keep_blobs {
            options = options.blobs(Blobs::Keep);
        }
        if self.all_platforms {
            options = options.platforms(Platforms::All);
        }
        let mut reference: Reference = self.image.parse()?;
        if self.local_fetch == LocalFetch::Disabled && matches!(reference, Reference::ContainersStorage(_)) {
            reference = Reference::Proxy(reference.to_string());
        }
        if let Ok(base) = std::env::current_dir() {
            options = options.origin(reference.lasting(&base));
        }
        let context = || format!("pull {}", self.image);
        let observer: Arc<dyn Observer> = app.observer().into();
        let from = self.policy.over(self.registry.source_options(&observer)?).with_context(context)?;
        let source = transport::open(&reference, &from).with_context(context)?;
        options = options.cancel(ui::interrupt::watch()?);
        if self.dry_run {
            let repo = app.repository_if_any()?;
            let plan = PullPlan::new(repo.as_ref(), source.as_ref(), &options, observer.as_ref())
                .with_context(context)?;
            drop((source, observer));
            return match self.json {
                true => ui::json::print(&serde_json::json!({"version": 1, "dry_run": true, "plan": plan})),
                false => Ok(ui::out().write_all(dry_run::text(&plan).as_bytes())?),
            };
        }
        let writer = app.writer_or_create()?;
        let pulled = composefs_oci::pull::pull(&writer, source.as_ref(), &options, observer.as_ref())
            .with_context(context)?;
        // With the last of them the bars go.
        drop((source, observer));
        let make =
            || make_bootable(app, &writer, &pulled.manifest, expected_boot).map(Some).with_context(context);
        let mut boot_image = None;
        if tag_last {
            boot_image = make()?;
            tags::set(&writer, tag, &pulled.manifest)?;
        }
        if !self.json {
            print(&pulled, tag)?;
        }
        if self.bootable && !tag_last {
            boot_image = make()?;
        }
        if self.json {
            return print_json(&pulled, tag, boot_image.as_ref());
        }
        if let Some(found) = boot_image {
            let mode = match found.xattrs {
                XattrMode::KeepUserXattrs => "keep-user-xattrs",
                _ => "allowlist-only",
            };
            match expected_boot.is_some() {
                true => writeln!(
                    ui::out(),
                    "Boot image: {} (xattr-mode={mode}, format-version=V{})",
                    found.id,
                    found.version
                )?,
                false => writeln!(ui::out(), "Boot image: {}", found.id)?,
            }
        }
        Ok(())
    }

    /// What --expected-digest means: a manifest, or with --bootable the boot image.
    fn expected(&self) -> anyhow::Result<(Option<ManifestDigest>, Option<ObjectId>)> {
        let Some(text) = &self.expected_digest else { return Ok((None, None)) };
        if text.contains(':') {
            let digest = parse_digest(text).map_err(|error| Usage(error.to_string()))?;
            return Ok((Some(ManifestDigest::new(digest)), None));
        }
        if !self.bootable {
            bail!(Usage(format!(
                "--expected-digest {text}: a manifest's digest begins with sha256:; bare hex needs --bootable"
            )));
        }
        Ok((None, Some(ObjectId::from_any_hex(text).map_err(|error| Usage(error.to_string()))?)))
    }
}

/// Makes and records the boot image; an expected one with whatever options give it.
fn make_bootable(
    app: &App,
    writer: &Writer,
    manifest: &ManifestDigest,
    expected: Option<ObjectId>,
) -> anyhow::Result<BootImage> {
    let options = RootfsOptions::default().mode(app.mode());
    Ok(match expected {
        None => boot::create(writer, manifest, app.version(writer), &options)?,
        Some(expected) => boot::create_matching(writer, manifest, &expected, &options)?,
    })
}

fn print_json(pulled: &Pulled, tag: &str, boot_image: Option<&BootImage>) -> anyhow::Result<()> {
    let shared = Some(&pulled.objects).filter(|objects| objects.shared > 0);
    ui::json::print(&Document {
        version: 1,
        manifest: pulled.manifest.as_str(),
        config: pulled.config.as_str(),
        verity: pulled.verity.to_hex(),
        tag,
        index: pulled.index.as_ref().map(Digest::as_str),
        images: pulled
            .images
            .iter()
            .map(|(format, id)| Image { format: format.number(), id: id.to_hex() })
            .collect(),
        boot_image: boot_image.map(|image| image.id.to_hex()),
        artifacts: pulled.artifacts.iter().map(|artifact| artifact.as_str()).collect(),
        objects: Objects {
            new: pulled.objects.new,
            present: pulled.objects.present,
            stored_bytes: pulled.objects.new_bytes,
            reflinked: shared.map(|objects| objects.shared),
            reflinked_bytes: shared.map(|objects| objects.shared_bytes),
            inlined_bytes: pulled.inlined_bytes,
        },
    })
}

fn print(pulled: &Pulled, tag: &str) -> anyhow::Result<()> {
    let objects = &pulled.objects;
    let mut out = ui::out();
    writeln!(out, "manifest {}", pulled.manifest)?;
    writeln!(out, "config   {}", pulled.config)?;
    if let Some(index) = &pulled.index {
        writeln!(out, "index    {index}")?;
    }
    writeln!(out, "verity   {}", pulled.verity)?;
    writeln!(out, "tagged   {}", ui::path::name(tag))?;
    for artifact in &pulled.artifacts {
        writeln!(out, "artifact {artifact}")?;
    }
    let human = ui::size::human;
    let inlined = human(pulled.inlined_bytes);
    let (new, present) = (objects.new, objects.present);
    if objects.shared == 0 {
        let stored = human(objects.new_bytes);
        writeln!(
            out,
            "objects  {new} new + {present} already present objects; {stored} stored, {inlined} inlined"
        )?;
    } else {
        let (shared, copied) = (objects.shared, new.saturating_sub(objects.shared));
        let copied_bytes = human(objects.new_bytes.saturating_sub(objects.shared_bytes));
        writeln!(
            out,
            "objects  {shared} reflinked + {copied} copied + {present} already present objects; {} reflinked, {copied_bytes} copied, {inlined} inlined",
            human(objects.shared_bytes)
        )?;
    }
    Ok(())
}
