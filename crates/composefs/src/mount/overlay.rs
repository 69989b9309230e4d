//! The overlay: the image's names over the object store's contents, and the ways to name the layers.

use std::{
    fmt,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::mount::MountAttrFlags;

use super::{
    context::Context,
    error::{MountError, MountStep, Result},
    feature::Feature,
    options::VerityPolicy,
    probe::Kernel,
};

/// How layers are named to overlayfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LayerSyntax {
    /// One by one, as open directories (Linux 6.13).
    Descriptors,
    /// One by one, as paths (Linux 6.7).
    Appended,
    /// As one string, `lowerdir=names::contents` (Linux 6.5).
    DataOnlyString,
    /// As one string of ordinary layers, `lowerdir=names:contents`. Only images of format versions 0 and 1
    /// hide the directories of the object store then.
    StackedString,
}

impl LayerSyntax {
    /// Chooses the best way the kernel has.
    #[must_use]
    pub fn choose(kernel: &Kernel) -> Self {
        if kernel.has(Feature::LayerDescriptors) {
            Self::Descriptors
        } else if kernel.has(Feature::AppendedLayers) {
            Self::Appended
        } else if kernel.has(Feature::DataOnlyLayers) {
            Self::DataOnlyString
        } else {
            Self::StackedString
        }
    }
}

impl fmt::Display for LayerSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Descriptors => "layers by descriptor",
            Self::Appended => "layers one by one",
            Self::DataOnlyString => "layers in one string",
            Self::StackedString => "stacked layers",
        })
    }
}

/// What overlayfs checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OverlayVerity {
    /// `verity=require`.
    Require,
    /// `verity=on`.
    On,
    /// Nothing.
    Off,
}

impl OverlayVerity {
    /// Decides by policy, repository and kernel. What cannot be had is refused, never left out.
    ///
    /// # Errors
    /// [`MountError::NotVerified`], [`MountError::MissingFeature`].
    pub(crate) fn choose(policy: VerityPolicy, verified: bool, kernel: &Kernel) -> Result<Self> {
        let verity = match (policy, verified) {
            (VerityPolicy::Off, _) | (VerityPolicy::Auto, false) => return Ok(Self::Off),
            // Every read of an external file would be an error: they have digests and no fs-verity.
            (VerityPolicy::Require | VerityPolicy::On, false) => return Err(MountError::NotVerified),
            (VerityPolicy::Auto | VerityPolicy::Require, true) => Self::Require,
            (VerityPolicy::On, true) => Self::On,
        };
        kernel.require(Feature::OverlayVerity)?;
        Ok(verity)
    }

    const fn option(self) -> Option<&'static str> {
        match self {
            Self::Require => Some("require"),
            Self::On => Some("on"),
            Self::Off => None,
        }
    }
}

impl fmt::Display for OverlayVerity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.option().unwrap_or("off"))
    }
}

/// The directories of an overlay, none of them opened for its path only.
#[derive(Debug)]
pub(crate) struct Layers<'a> {
    /// The EROFS mount's root.
    pub(crate) names: BorrowedFd<'a>,
    /// The object store.
    pub(crate) contents: BorrowedFd<'a>,
    /// Upper and work directory.
    pub(crate) upper: Option<(BorrowedFd<'a>, BorrowedFd<'a>)>,
}

/// The longest source the kernel takes, in bytes.
const SOURCE_MAX: usize = 255;

/// Makes an overlay mount that has no place yet. `source` is what mount tables show.
pub(crate) fn mount(
    layers: &Layers<'_>,
    syntax: LayerSyntax,
    verity: OverlayVerity,
    source: &str,
    attributes: MountAttrFlags,
) -> Result<OwnedFd> {
    let context = Context::open(Feature::Overlay, MountStep::MountOverlay, Path::new(source))?;
    if source.len() <= SOURCE_MAX {
        context.set("source", source)?;
    } else {
        context.set("source", "composefs")?;
    }
    context.set("metacopy", "on")?;
    context.set("redirect_dir", "on")?;
    if let Some(verity) = verity.option() {
        context.set("verity", verity)?;
    }
    let [names, contents] = [layers.names, layers.contents].map(path_of);
    match syntax {
        LayerSyntax::Descriptors => {
            context.set_fd("lowerdir+", layers.names)?;
            context.set_fd("datadir+", layers.contents)?;
        }
        LayerSyntax::Appended => {
            context.set("lowerdir+", &names)?;
            context.set("datadir+", &contents)?;
        }
        LayerSyntax::DataOnlyString => context.set("lowerdir", &format!("{names}::{contents}"))?,
        LayerSyntax::StackedString => context.set("lowerdir", &format!("{names}:{contents}"))?,
    }
    if let Some((upper, work)) = layers.upper {
        if syntax == LayerSyntax::Descriptors {
            context.set_fd("upperdir", upper)?;
            context.set_fd("workdir", work)?;
        } else {
            context.set("upperdir", &path_of(upper))?;
            context.set("workdir", &path_of(work))?;
        }
    }
    context.mount(attributes)
}

/// Names an open directory by a path that nothing can redirect, and that needs no escapes or shortening.
fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
