//! Taking a mount away, with the kernel or as a user.

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
};

use composefs::{
    error::Error,
    mount::{MountError, Mounter, UnmountWhen, find},
    repo::Repository,
};

use crate::{
    device::HELPER,
    error::{FuseError, FuseStep, Result},
};

/// Unmounts the composefs mount on top of a directory, the kernel's or one by FUSE, and removes its note from
/// `repository`. What the process may not unmount itself and is FUSE's goes by `fusermount3`.
///
/// Tells whether there was a note.
///
/// # Errors
/// As [`composefs::mount::unmount()`]; [`FuseError::Io`] and [`FuseError::Refused`] of `fusermount3`.
pub fn unmount(mountpoint: &Path, repository: Option<&Repository>, when: UnmountWhen) -> Result<bool> {
    let found = find(mountpoint)?;
    match composefs::mount::unmount(mountpoint, repository, when) {
        Err(Error::Mount(MountError::NotPermitted { .. })) if found.mounter == Mounter::Fuse => {}
        result => return Ok(result?),
    }
    let mut helper = Command::new(HELPER)
        .arg("-u")
        .args((when == UnmountWhen::Lazy).then_some("-z"))
        .arg("--")
        .arg(mountpoint)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(FuseError::io(FuseStep::Helper, HELPER))?;
    let mut message = Vec::new();
    if let Some(stderr) = helper.stderr.take() {
        let _ = stderr.take(4096).read_to_end(&mut message);
    }
    let status = helper.wait().map_err(FuseError::io(FuseStep::Helper, HELPER))?;
    if !status.success() {
        let message = String::from_utf8_lossy(&message).trim().to_owned();
        return Err(FuseError::Refused { path: mountpoint.to_owned(), message });
    }
    match repository {
        Some(repository) if when == UnmountWhen::Unused => Ok(found.record.remove(repository)?),
        _ => Ok(false),
    }
}
