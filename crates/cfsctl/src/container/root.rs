//! The root file system of a container: the kernel's mount for root; for others FUSE and an overlay in a user namespace.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use composefs::{
    mount::{Access, ImageSource, MountOptions, MountPlan, UnmountWhen, VerityPolicy, unmount},
    repo::Repository,
};
use composefs_fuse::{FuseMount, FuseOptions, Ids, Owners, enter_user_namespace};
use composefs_oci::{
    bundle::UserNamespace,
    find::{self, ImageKind, Name},
};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::{app::App, ui};

/// Which user namespace there is to run in.
#[derive(Debug)]
pub(crate) enum Privileges {
    /// None: the process is root.
    Root,
    /// One of the process's own, with these ids.
    User(Ids),
}

impl Privileges {
    /// Makes an ordinary user root in a user namespace. The process must have one thread yet.
    pub(crate) fn get() -> anyhow::Result<Self> {
        if rustix::process::geteuid().is_root() {
            return Ok(Self::Root);
        }
        let ids = enter_user_namespace().context("run without root")?;
        if let Ids::One { reason } = &ids {
            ui::say!("warning: there is one user id here, yours as 0: {reason}");
        }
        Ok(Self::User(ids))
    }

    /// The namespace, as bundles know it.
    pub(crate) fn namespace(&self) -> Option<UserNamespace> {
        match self {
            Self::Root => None,
            Self::User(Ids::Ranges { uids, gids }) => Some(UserNamespace { uids: *uids, gids: *gids }),
            Self::User(Ids::One { .. }) => Some(UserNamespace { uids: 1, gids: 1 }),
        }
    }
}

/// An image about to be a root file system.
pub(crate) fn source(app: &App, repo: &Repository, image: &Name) -> anyhow::Result<ImageSource> {
    let id = find::mountable(repo, image, app.version(repo), ImageKind::Root)?;
    let mut source = ImageSource::open(repo, &id)?;
    source.name = image.to_string();
    Ok(source)
}

/// Decides how the kernel mounts it: with changes in memory, so that runtimes can make places for their mounts.
pub(crate) fn plan(source: ImageSource, verity: VerityPolicy) -> anyhow::Result<MountPlan> {
    let name = source.name.clone();
    let options = MountOptions::default().verity(verity).access(Access::ReadWrite);
    MountPlan::of(source, &options).with_context(|| format!("mount {name}"))
}

/// A root file system with changes in memory. Nothing is left mounted when it is dropped.
#[derive(Debug)]
pub(crate) struct Root {
    at: PathBuf,
    /// Without it the kernel has the mount.
    image: Option<FuseMount>,
    mounted: bool,
}

impl Root {
    /// Mounts an image on `at`, a directory; `beside` is another, where what is beneath goes.
    pub(crate) fn mount(
        source: ImageSource,
        privileges: &Privileges,
        verity: VerityPolicy,
        (at, beside): (&Path, &Path),
    ) -> anyhow::Result<Self> {
        let context = format!("mount {} at {}", source.name, at.display());
        let image = match privileges {
            Privileges::Root => {
                plan(source, verity)?.apply(at).context(context)?;
                None
            }
            Privileges::User(ids) => Some(overlay_fuse(source, ids, at, beside).context(context)?),
        };
        Ok(Self { at: at.to_owned(), image, mounted: true })
    }

    /// Unmounts, and removes the note of the mount.
    pub(crate) fn unmount(mut self, repo: Option<&Repository>) -> anyhow::Result<()> {
        self.mounted = false;
        let context = || format!("unmount {}", self.at.display());
        if let Some(image) = self.image.take() {
            rustix::mount::unmount(&self.at, UnmountFlags::DETACH).with_context(context)?;
            return image.unmount().with_context(context);
        }
        if unmount(&self.at, repo, UnmountWhen::Unused).is_err() {
            // Something that the container has left uses it yet.
            unmount(&self.at, repo, UnmountWhen::Lazy).with_context(context)?;
        }
        Ok(())
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if self.mounted {
            let _ = rustix::mount::unmount(&self.at, UnmountFlags::DETACH);
        }
    }
}

fn make(path: PathBuf) -> anyhow::Result<PathBuf> {
    DirBuilder::new().mode(0o755).create(&path).with_context(|| format!("make {}", path.display()))?;
    Ok(path)
}

/// Serves the image by FUSE, and lays an overlay over it whose changes are in memory.
fn overlay_fuse(source: ImageSource, ids: &Ids, at: &Path, beside: &Path) -> anyhow::Result<FuseMount> {
    let owners = match ids {
        Ids::Ranges { .. } => Owners::Image,
        Ids::One { .. } => Owners::One { uid: 0, gid: 0 },
    };
    let lower = make(beside.join("image"))?;
    let image = FuseMount::spawn(source, &lower, &FuseOptions::default().owners(owners))?;
    let memory = make(beside.join("changes"))?;
    rustix::mount::mount("tmpfs", &memory, "tmpfs", MountFlags::empty(), c"mode=755")
        .context("mount a file system in memory")?;
    let mounted = overlay(at, &lower, &memory);
    // The overlay has what it needs of it.
    let hidden = rustix::mount::unmount(&memory, UnmountFlags::DETACH);
    mounted?;
    hidden.with_context(|| format!("unmount {}", memory.display()))?;
    Ok(image)
}

/// Mounts an overlay on `at`, with changes in an empty directory.
fn overlay(at: &Path, lower: &Path, changes: &Path) -> anyhow::Result<()> {
    let (upper, work) = (make(changes.join("upper"))?, make(changes.join("work"))?);
    take_after(lower, &upper)?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={},userxattr",
        escaped(lower)?,
        escaped(&upper)?,
        escaped(&work)?
    );
    let options = std::ffi::CString::new(options).context("a path has a zero byte")?;
    rustix::mount::mount("overlay", at, "overlay", MountFlags::empty(), options.as_c_str())
        .context("mount an overlay in a user namespace")
}

/// The upper directory is what the root looks like.
fn take_after(image: &Path, upper: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let root = std::fs::metadata(image).context("look at the image's root")?;
    // Owners that are not to be had stay away.
    let _ = std::os::unix::fs::chown(upper, Some(root.uid()), Some(root.gid()));
    let mode = std::fs::Permissions::from_mode(root.mode() & 0o7777);
    std::fs::set_permissions(upper, mode).context("set the mode of the root")
}

/// A path in the options of overlayfs.
fn escaped(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not in UTF-8", path.display()))?;
    Ok(text
        .chars()
        .flat_map(|c| [Some('\\').filter(|_| "\\:,".contains(c)), Some(c)].into_iter().flatten())
        .collect())
}
