//! Taking a mount away, with its note in the repository.

use std::path::Path;

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::UnmountFlags,
};

use crate::{error::Result, repo::Repository};

use super::{
    error::{MountError, MountStep},
    record::{self, MountRecord},
};

/// What to do with a mount that is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnmountWhen {
    /// Leave it, with an error.
    #[default]
    Unused,
    /// Take it out of sight now; it ends with its last user.
    Lazy,
}

/// The number overlayfs gives as the type of its file systems.
const OVERLAYFS_MAGIC: u64 = 0x794c_7630;

/// Unmounts the composefs mount on top of a directory, and removes its note from `repository`.
///
/// Tells whether there was a note. After [`UnmountWhen::Lazy`] the note stays until the machine restarts:
/// the mount may have users yet.
///
/// # Errors
/// [`Error::Mount`](crate::error::Error::Mount): [`MountError::NotMounted`] if no overlay is mounted right there, [`MountError::Kernel`]
/// (`EBUSY` while the mount is in use). [`Error::Io`](crate::error::Error::Io) if the note cannot be removed; the mount is gone then.
pub fn unmount(mountpoint: &Path, repository: Option<&Repository>, when: UnmountWhen) -> Result<bool> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::open(mountpoint, flags, Mode::empty())
        .map_err(MountError::kernel(MountStep::OpenMountpoint, mountpoint))?;
    let kind =
        rustix::fs::fstatfs(&root).map_err(MountError::kernel(MountStep::Identify, mountpoint))?.f_type;
    if u64::try_from(kind).ok() != Some(OVERLAYFS_MAGIC) {
        return Err(MountError::NotMounted { path: mountpoint.to_owned() }.into());
    }
    let record = MountRecord::of_file(&root, mountpoint)?;
    // An open descriptor is a user, too.
    drop(root);
    let flags = match when {
        UnmountWhen::Unused => UnmountFlags::NOFOLLOW,
        UnmountWhen::Lazy => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    rustix::mount::unmount(mountpoint, flags).map_err(|error| match error {
        Errno::INVAL => MountError::NotMounted { path: mountpoint.to_owned() },
        error => MountError::kernel(MountStep::Unmount, mountpoint)(error),
    })?;
    match repository {
        Some(repository) if when == UnmountWhen::Unused => record::remove(repository, &record),
        _ => Ok(false),
    }
}
