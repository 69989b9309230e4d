//! `cfsctl mount` and `umount`

mod fuse;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use composefs::{
    digest::ObjectId,
    mount::{
        Access, IdMap, IdRange, ImageSource, MountError, MountOptions, MountPlan, UnmountWhen, VerityPolicy,
    },
    repo::Repository,
};
use composefs_fuse::{FuseOptions, Owners, Verify};
use rustix::io::Errno;

use crate::{app::App, cmd::gc::units, ui::error::Usage};

/// How an image is mounted.
#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// Whether to mount by FUSE; auto: where the kernel's own mount is not permitted
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    fuse: Fuse,
    /// Keep a FUSE server in the foreground until the mount is gone
    #[arg(long)]
    foreground: bool,
    /// Writable directory on top (with --workdir)
    #[arg(long, value_name = "DIR", requires = "workdir")]
    upperdir: Option<PathBuf>,
    /// Work directory of overlayfs, on the file system of --upperdir
    #[arg(long, value_name = "DIR", requires = "upperdir")]
    workdir: Option<PathBuf>,
    /// Mount writable; without --upperdir changes are kept in memory
    #[arg(long)]
    read_write: bool,
    /// The most bytes that changes in memory take: a number, or one with K, M, G or T; default: half of the memory
    #[arg(long, value_name = "SIZE", value_parser = units::size, requires = "read_write", conflicts_with = "upperdir")]
    upper_size: Option<u64>,
    /// Show SIZE ids of the image from CONTAINER on as those from HOST on (can be repeated)
    #[arg(long, value_name = "CONTAINER:HOST:SIZE")]
    idmap: Vec<IdRange>,
    /// Whether the kernel must check every file by fs-verity; auto: in repositories with fs-verity
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    verity: Verity,
}

/// Whether FUSE is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Fuse {
    /// As the privileges allow
    Auto,
    /// Always
    Yes,
    /// Never
    No,
}

/// When the kernel must check files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verity {
    /// In repositories with fs-verity
    Auto,
    /// Always
    Require,
    /// Files that have fs-verity
    On,
    /// Never
    Off,
}

impl From<Verity> for VerityPolicy {
    fn from(wish: Verity) -> Self {
        match wish {
            Verity::Auto => Self::Auto,
            Verity::Require => Self::Require,
            Verity::On => Self::On,
            Verity::Off => Self::Off,
        }
    }
}

impl MountArgs {
    /// Makes sure that nobody asked the kernel to look away from what was verified.
    pub(crate) fn insist(&self, repo: &Repository) -> anyhow::Result<()> {
        if matches!(self.verity, Verity::On | Verity::Off) {
            bail!(Usage("--require-seal needs fs-verity wherever it is; leave out --verity".to_owned()));
        }
        // The process that started the server has said so.
        if !repo.is_verified() && !fuse::is_server() {
            crate::ui::say!(
                "warning: this repository has no fs-verity: what was verified is not checked again when it is read"
            );
        }
        Ok(())
    }

    pub(crate) fn mount(
        &self,
        repo: Repository,
        image: &ObjectId,
        name: &str,
        at: &Path,
    ) -> anyhow::Result<()> {
        let idmap = IdMap::new(self.idmap.clone()).map_err(|error| Usage(format!("--idmap: {error}")))?;
        let what = || format!("mount {name} at {}", at.display());
        let serve = |repo: Repository, idmap, foreground| {
            let source = Self::source(&repo, image, name)?;
            // The mount's note keeps the image; with the lock held here no collector would ever have a turn.
            drop(repo);
            fuse::serve(source, at, &self.fuse_options(idmap), foreground).with_context(what)
        };
        if fuse::is_server() {
            return serve(repo, idmap, false);
        }
        if self.fuse == Fuse::Yes && self.writable() {
            bail!(Usage(
                "a FUSE mount takes no changes: --fuse=yes goes with none of --upperdir, --read-write"
                    .to_owned()
            ));
        }
        let refused = if self.fuse == Fuse::Yes {
            None
        } else {
            match self.mount_by_kernel(Self::source(&repo, image, name)?, idmap.clone(), at) {
                Err(error) if self.fuse == Fuse::Auto && !self.writable() && is_refused(&error) => {
                    Some(error)
                }
                result => {
                    if self.foreground && result.is_ok() {
                        tracing::info!("--foreground has no effect on a kernel mount");
                    }
                    return result.with_context(what);
                }
            }
        };
        if let Some(error) = &refused {
            tracing::info!(error = format!("{error:#}"), "mounting by FUSE");
        }
        if self.foreground {
            return serve(repo, idmap, true);
        }
        // The server takes the lock itself, while ours keeps collectors away.
        fuse::start_server().inspect_err(|_| {
            if let Some(error) = &refused {
                crate::ui::say!("note: before that the kernel refused to mount it itself: {error:#}");
            }
        })
    }

    /// Whether the mount takes changes, or shows earlier ones.
    const fn writable(&self) -> bool {
        self.read_write || self.upperdir.is_some()
    }

    fn source(repo: &Repository, image: &ObjectId, name: &str) -> anyhow::Result<ImageSource> {
        let mut source = ImageSource::open(repo, image)?;
        name.clone_into(&mut source.name);
        Ok(source)
    }

    fn mount_by_kernel(&self, source: ImageSource, idmap: IdMap, at: &Path) -> anyhow::Result<()> {
        let mut options =
            MountOptions::default().idmap(idmap).temporary_bytes(self.upper_size).verity(self.verity.into());
        if let (Some(upper), Some(work)) = (&self.upperdir, &self.workdir) {
            options = options.upper(upper, work);
        }
        if self.read_write {
            options = options.access(Access::ReadWrite);
        }
        MountPlan::of(source, &options)?.apply(at)?;
        Ok(())
    }

    fn fuse_options(&self, idmap: IdMap) -> FuseOptions {
        let verify = match self.verity {
            Verity::Auto => Verify::Auto,
            Verity::Require | Verity::On => Verify::Kernel,
            Verity::Off => Verify::Off,
        };
        let owners = if idmap.is_empty() { Owners::Image } else { Owners::Map(idmap) };
        FuseOptions::default().verify(verify).owners(owners)
    }
}

/// Tells whether the kernel does not let this process mount, or cannot.
fn is_refused(error: &anyhow::Error) -> bool {
    error.chain().find_map(|cause| cause.downcast_ref()).is_some_and(|error| match error {
        MountError::NotPermitted { .. } | MountError::MissingFeature { .. } => true,
        MountError::Kernel { source, .. } => source.raw_os_error() == Some(Errno::ACCESS.raw_os_error()),
        _ => false,
    })
}

/// Mount an image
///
/// In a repository with fs-verity the kernel checks every file it reads. The mount is read-only unless --read-write is
/// given. Who may not mount with the kernel gets a FUSE mount: a server in the background shows the image until it is
/// unmounted, and hashes files before it gives them away where the kernel does not check them.
///
/// Example: cfsctl mount refs/web/v1 /mnt
#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// An image id, refs/ and a name, or a bare name
    name: String,
    /// Where to mount it
    mountpoint: PathBuf,
    #[command(flatten)]
    args: MountArgs,
}

impl Mount {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let repo = app.repository()?;
        let id = repo.resolve_image(&self.name)?.id;
        self.args.mount(repo, &id, &self.name, &self.mountpoint)
    }
}

/// Unmount an image
#[derive(Debug, Args)]
pub(crate) struct Umount {
    /// Where it is mounted
    mountpoint: PathBuf,
    /// Unmount also what is in use: it is gone from sight now, and ends with its last user
    #[arg(short, long)]
    lazy: bool,
}

impl Umount {
    pub(crate) fn run(self, app: &App) -> anyhow::Result<()> {
        let when = if self.lazy { UnmountWhen::Lazy } else { UnmountWhen::Unused };
        // Without the repository its note of the mount goes with the next boot.
        let repo = app.repository().ok();
        composefs_fuse::unmount(&self.mountpoint, repo.as_ref(), when)?;
        Ok(())
    }
}
