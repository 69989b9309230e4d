//! The kernel features that mounting uses, by name, and what to do without them.

use std::fmt;

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
    /// EROFS and overlay layers with mapped owners, Linux 5.19; found by trying.
    MappedOwners,
}

impl Feature {
    /// Those that a kernel is asked for.
    pub(super) const PROBED: [Self; 8] = [
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
            Self::MountCalls => "Linux 5.2 or later is needed to mount",
            Self::Erofs => "`modprobe erofs`, or a kernel built with CONFIG_EROFS_FS",
            Self::ErofsFromFile => {
                "Linux 6.12 with CONFIG_EROFS_FS_BACKED_BY_FILE mounts files, on most file systems but tmpfs; a loop device does for the others"
            }
            Self::LoopDevices => "`modprobe loop` on Linux 5.8 or later",
            Self::Overlay => "`modprobe overlay`, or a kernel built with CONFIG_OVERLAY_FS",
            Self::DataOnlyLayers => {
                "Linux 6.5 or later has it; an image of format version 1 without verity does without"
            }
            Self::OverlayVerity => {
                "Linux 6.6 or later has it; `--verity off` mounts without checking that files match the image"
            }
            Self::AppendedLayers => "Linux 6.7 or later has it",
            Self::LayerDescriptors => "Linux 6.13 or later has it",
            Self::DetachedLayers => "Linux 6.15 or later has it",
            Self::MappedOwners => "Linux 5.19 or later has it; `--fuse=yes` does without",
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
            Self::MappedOwners => "EROFS with mapped owners",
        })
    }
}
