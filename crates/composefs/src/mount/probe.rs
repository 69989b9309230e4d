//! What this kernel can do, by name.

use std::{collections::BTreeSet, fmt, os::fd::AsFd, path::Path, sync::OnceLock};

use rustix::{fs::Mode, mount::MountAttrFlags};

use super::{
    context::{Context, open_directory, open_root},
    error::{MountError, MountStep, Result},
};

/// A kernel feature that mounting uses.
///
/// Whether EROFS can be mounted straight from a file is none of them: that depends on the file too, and is
/// found by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Feature {
    /// `fsopen` and its family, Linux 5.2.
    MountCalls,
    /// The EROFS file system.
    Erofs,
    /// EROFS straight from a file, Linux 6.12.
    ErofsFromFile,
    /// Loop devices configured in one call, Linux 5.8.
    LoopDevices,
    /// The overlay file system.
    Overlay,
    /// Overlay layers that hold contents and no names, Linux 6.5.
    DataOnlyLayers,
    /// Overlay layers checked by fs-verity, Linux 6.6.
    OverlayVerity,
    /// Overlay layers given one by one, Linux 6.7.
    AppendedLayers,
    /// Overlay layers given as open directories, Linux 6.13.
    LayerDescriptors,
    /// Overlay layers from mounts that have no place, Linux 6.15.
    DetachedLayers,
}

impl Feature {
    const PROBED: [Self; 8] = [
        Self::MountCalls,
        Self::Erofs,
        Self::Overlay,
        Self::DataOnlyLayers,
        Self::OverlayVerity,
        Self::AppendedLayers,
        Self::LayerDescriptors,
        Self::DetachedLayers,
    ];

    /// Returns what can be done where the kernel lacks it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::MountCalls => "Linux 5.2 or later is needed to mount; FUSE (`--fuse=yes`) needs none of it",
            Self::Erofs => {
                "`modprobe erofs`, or a kernel built with CONFIG_EROFS_FS; FUSE (`--fuse=yes`) does without"
            }
            Self::ErofsFromFile => {
                "Linux 6.12 with CONFIG_EROFS_FS_BACKED_BY_FILE mounts files, on most file systems but tmpfs; a loop device does for the others"
            }
            Self::LoopDevices => "`modprobe loop` on Linux 5.8 or later, or FUSE (`--fuse=yes`)",
            Self::Overlay => {
                "`modprobe overlay`, or a kernel built with CONFIG_OVERLAY_FS; FUSE (`--fuse=yes`) does without"
            }
            Self::DataOnlyLayers => {
                "Linux 6.5 or later has it; an image of format version 1 without verity, or FUSE (`--fuse=yes`), does without"
            }
            Self::OverlayVerity => {
                "Linux 6.6 or later has it; `--verity off` mounts without checking that files match the image"
            }
            Self::AppendedLayers => "Linux 6.7 or later has it",
            Self::LayerDescriptors => "Linux 6.13 or later has it",
            Self::DetachedLayers => "Linux 6.15 or later has it",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::MountCalls => "mount calls (fsopen)",
            Self::Erofs => "EROFS",
            Self::ErofsFromFile => "EROFS from a file",
            Self::LoopDevices => "loop devices",
            Self::Overlay => "overlayfs",
            Self::DataOnlyLayers => "overlayfs data-only layers",
            Self::OverlayVerity => "overlayfs verity",
            Self::AppendedLayers => "overlayfs layers one by one",
            Self::LayerDescriptors => "overlayfs layers by descriptor",
            Self::DetachedLayers => "overlayfs layers from detached mounts",
        })
    }
}

/// What a kernel can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    features: BTreeSet<Feature>,
}

impl Kernel {
    /// Returns what the running kernel can do; it is asked once in a process.
    ///
    /// # Errors
    /// [`MountError::NotPermitted`] for a process that may not mount.
    pub fn current() -> Result<&'static Self> {
        static CURRENT: OnceLock<Kernel> = OnceLock::new();
        if let Some(kernel) = CURRENT.get() {
            return Ok(kernel);
        }
        let kernel = Self::probe()?;
        Ok(CURRENT.get_or_init(|| kernel))
    }

    /// Asks the running kernel, by configuring file systems and throwing them away. Nothing stays mounted.
    ///
    /// # Errors
    /// [`MountError::NotPermitted`] for a process that may not mount.
    pub fn probe() -> Result<Self> {
        let mut features = BTreeSet::new();
        for feature in Feature::PROBED {
            match has(feature, &features) {
                Ok(true) => {
                    features.insert(feature);
                }
                Err(error @ MountError::NotPermitted { .. }) => return Err(error),
                Ok(false) | Err(_) => {}
            }
        }
        tracing::debug!(?features, "probed kernel");
        Ok(Self { features })
    }

    /// Tells whether the kernel has a feature.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// Returns the same without one feature, as an older kernel would be.
    #[must_use]
    pub fn without(mut self, feature: Feature) -> Self {
        self.features.remove(&feature);
        self
    }

    /// Passes if the kernel has a feature.
    ///
    /// # Errors
    /// [`MountError::MissingFeature`].
    pub fn require(&self, feature: Feature) -> Result<()> {
        if self.has(feature) { Ok(()) } else { Err(MountError::MissingFeature { feature, source: None }) }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, feature) in self.features.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            feature.fmt(f)?;
        }
        Ok(())
    }
}

fn open(filesystem: Feature) -> Result<Context> {
    Context::open(filesystem, MountStep::Probe, Path::new(""))
}

fn has(feature: Feature, known: &BTreeSet<Feature>) -> Result<bool> {
    Ok(match feature {
        Feature::MountCalls => !matches!(
            open(Feature::Overlay),
            Err(MountError::MissingFeature { feature: Feature::MountCalls, .. })
        ),
        Feature::Erofs | Feature::Overlay => open(feature).is_ok(),
        // Overlayfs before 6.5 takes any option until the mount is made, known or not. The same version
        // that looks at options at once has data-only layers.
        Feature::DataOnlyLayers => open(Feature::Overlay)?.set_flag("composefs-no-such-option").is_err(),
        _ if !known.contains(&Feature::DataOnlyLayers) => false,
        Feature::OverlayVerity => open(Feature::Overlay)?.set("verity", "require").is_ok(),
        Feature::AppendedLayers => open(Feature::Overlay)?.set("lowerdir+", "/").is_ok(),
        Feature::LayerDescriptors => {
            let root = open_directory(rustix::fs::CWD, c"/", MountStep::Probe, Path::new("/"))?;
            open(Feature::Overlay)?.set_fd("lowerdir+", root).is_ok()
        }
        Feature::DetachedLayers => known.contains(&Feature::LayerDescriptors) && detached_layers_work()?,
        Feature::ErofsFromFile | Feature::LoopDevices => false,
    })
}

/// Makes an overlay of two directories in a file system that is mounted nowhere.
fn detached_layers_work() -> Result<bool> {
    let subject = Path::new("");
    let mount = open(Feature::MountCalls)?.mount(MountAttrFlags::empty())?;
    let root = open_root(&mount, MountStep::Probe, subject)?;
    let directory = |name: &str| {
        rustix::fs::mkdirat(&root, name, Mode::RWXU)
            .map_err(MountError::kernel(MountStep::Probe, subject))?;
        open_directory(root.as_fd(), name, MountStep::Probe, subject)
    };
    let overlay = open(Feature::Overlay)?;
    overlay.set_fd("lowerdir+", directory("names")?)?;
    overlay.set_fd("datadir+", directory("contents")?)?;
    Ok(overlay.mount(MountAttrFlags::MOUNT_ATTR_RDONLY).is_ok())
}
