//! The image as an EROFS mount: straight from its file, else through a loop device.

use std::{
    fmt,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{io::Errno, mount::MountAttrFlags};

use super::{
    context::Context,
    error::{MountError, MountStep, Result},
    feature::Feature,
    options::AttachPolicy,
};

/// What an EROFS mount reads from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// The image file itself.
    File,
    /// A loop device, which goes away with the mount.
    Loop {
        /// The device.
        device: PathBuf,
    },
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("image file"),
            Self::Loop { device } => write!(f, "{}", device.display()),
        }
    }
}

/// Makes a mount of the image that has no place yet. `name` is for errors.
///
/// # Errors
/// [`MountError::MissingFeature`] where neither way is open, [`MountError::Kernel`] for an image that EROFS
/// refuses.
pub(crate) fn attach(
    image: BorrowedFd<'_>,
    name: &Path,
    policy: AttachPolicy,
) -> Result<(OwnedFd, Attachment)> {
    if policy != AttachPolicy::Loop {
        match from_file(image, name) {
            Ok(mount) => return Ok((mount, Attachment::File)),
            // ENOTBLK: the kernel, or the file's file system, cannot do it.
            Err(error) if error.errno() == Some(Errno::NOTBLK) => {
                if policy == AttachPolicy::File {
                    return Err(MountError::MissingFeature {
                        feature: Feature::ErofsFromFile,
                        source: Some(Errno::NOTBLK.into()),
                    });
                }
                tracing::debug!("EROFS cannot be mounted from this file, taking a loop device");
            }
            Err(error) => return Err(error),
        }
    }
    from_loop_device(image, name)
}

/// Configures EROFS over `source` and mounts it.
fn mount(source: &str, step: MountStep, name: &Path) -> Result<OwnedFd> {
    let context = Context::open(Feature::Erofs, step, name)?;
    context.set_flag("ro")?;
    context.set("source", source)?;
    context.mount(MountAttrFlags::MOUNT_ATTR_RDONLY)
}

fn from_file(image: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd> {
    // By descriptor: the file whose digest was measured, whatever its name leads to by now.
    mount(&format!("/proc/self/fd/{}", image.as_raw_fd()), MountStep::MountImageFile, name)
}

fn from_loop_device(image: BorrowedFd<'_>, name: &Path) -> Result<(OwnedFd, Attachment)> {
    let device = composefs_linux::loop_device::attach(image).map_err(|error| {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            // A kernel before 5.8, or a /dev without a driver behind it.
            Some(Errno::NOTTY | Errno::NODEV | Errno::NXIO) => {
                MountError::MissingFeature { feature: Feature::LoopDevices, source: Some(error) }
            }
            _ => MountError::kernel(MountStep::AttachLoop, name)(error),
        }
    })?;
    // Through the open descriptor: the path in /dev may be another device in a container.
    let source = format!("/proc/self/fd/{}", device.fd.as_fd().as_raw_fd());
    let mount = mount(&source, MountStep::MountImageLoop, name)?;
    Ok((mount, Attachment::Loop { device: device.path }))
}
