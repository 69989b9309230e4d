//! `cfsctl mount` and `umount`

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use composefs::{
    digest::ObjectId,
    mount::{Access, ImageSource, MountOptions, MountPlan, UnmountWhen, VerityPolicy, unmount},
    repo::Repository,
};

use crate::{app::App, ui::error::Usage};

/// How an image is mounted.
#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// Whether to mount by FUSE; this version mounts with the kernel
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    fuse: Fuse,
    /// Keep a FUSE server in the foreground
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
        if !repo.is_verified() {
            crate::ui::say!(
                "warning: this repository has no fs-verity: what was verified is not checked again when it is read"
            );
        }
        Ok(())
    }

    pub(crate) fn mount(
        &self,
        repo: &Repository,
        image: &ObjectId,
        name: &str,
        at: &std::path::Path,
    ) -> anyhow::Result<()> {
        if self.fuse == Fuse::Yes {
            bail!("this version has no FUSE server; leave out --fuse=yes to mount with the kernel");
        }
        if self.foreground && self.fuse != Fuse::Yes {
            tracing::info!("--foreground has no effect on a kernel mount");
        }
        let mut options = MountOptions::default().verity(self.verity.into());
        if let (Some(upper), Some(work)) = (&self.upperdir, &self.workdir) {
            options = options.upper(upper, work);
        }
        if self.read_write {
            options = options.access(Access::ReadWrite);
        }
        let mut source = ImageSource::open(repo, image)?;
        name.clone_into(&mut source.name);
        let plan = MountPlan::of(source, &options).with_context(|| format!("mount {name}"))?;
        plan.apply(at).with_context(|| format!("mount {name} at {}", at.display()))?;
        Ok(())
    }
}

/// Mount an image
///
/// In a repository with fs-verity the kernel checks every file it reads. The mount is read-only unless --upperdir and
/// --workdir are given.
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
        self.args.mount(&repo, &id, &self.name, &self.mountpoint)
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
        unmount(&self.mountpoint, repo.as_ref(), when)?;
        Ok(())
    }
}
