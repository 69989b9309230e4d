//! Containers: a bundle over a mount, and a runtime that runs it.

mod bundle;
mod runtime;
mod signals;

pub(crate) use bundle::{ROOTFS, place, remove, write};
pub(crate) use runtime::{Runtime, exit_status};
pub(crate) use signals::{Forwarding, forward};

use anyhow::Context as _;
use composefs::{
    mount::{Access, ImageSource, MountOptions, MountPlan, VerityPolicy},
    repo::Repository,
};
use composefs_oci::find::{self, ImageKind, Name};

use crate::app::App;

/// Decides how the root file system is mounted: with changes in memory, so that runtimes can make places for their
/// mounts.
pub(crate) fn plan(
    app: &App,
    repo: &Repository,
    image: &Name,
    verity: VerityPolicy,
) -> anyhow::Result<MountPlan> {
    let id = find::mountable(repo, image, app.version(repo), ImageKind::Root)?;
    let mut source = ImageSource::open(repo, &id)?;
    source.name = image.to_string();
    let options = MountOptions::default().verity(verity).access(Access::ReadWrite);
    MountPlan::of(source, &options).with_context(|| format!("mount {image}"))
}
