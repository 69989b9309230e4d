//! What this kernel can do, by name.

use std::{collections::BTreeSet, fmt, os::fd::AsFd, path::Path, sync::OnceLock};

use rustix::{fs::Mode, mount::MountAttrFlags};

use super::{
    context::{Context, open_directory, open_root},
    error::{MountError, MountStep, Result},
    feature::Feature,
};

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
        Feature::ErofsFromFile | Feature::LoopDevices | Feature::MappedOwners => false,
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
