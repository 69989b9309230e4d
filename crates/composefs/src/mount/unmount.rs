//! Taking a mount away, with its note in the repository.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
    mount::UnmountFlags,
};

use crate::{disk::beneath, error::Result, repo::Repository};

use super::{
    error::{MountError, MountStep},
    record::MountRecord,
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

/// The most bytes of a mount table that are read: some 100,000 mounts.
const TABLE_MAX: u64 = 32 << 20;

/// Unmounts the composefs mount on top of a directory, and removes its note from `repository`.
///
/// Tells whether there was a note. After [`UnmountWhen::Lazy`] the note stays until the machine restarts:
/// the mount may have users yet.
///
/// # Errors
/// [`Error::Mount`](crate::error::Error::Mount): [`MountError::NotMounted`] if no composefs mount is right there, [`MountError::Kernel`]
/// (`EBUSY` while the mount is in use). [`Error::Io`](crate::error::Error::Io) if the note cannot be removed; the mount is gone then.
pub fn unmount(mountpoint: &Path, repository: Option<&Repository>, when: UnmountWhen) -> Result<bool> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(mountpoint, flags, Mode::empty())
        .map_err(MountError::kernel(MountStep::OpenMountpoint, mountpoint))?;
    if !is_ours(root.as_fd()).map_err(MountError::kernel(MountStep::Identify, mountpoint))? {
        return Err(MountError::NotMounted { path: mountpoint.to_owned() }.into());
    }
    let record = MountRecord::of_file(&root, mountpoint)?;
    // An open descriptor is a user, too.
    drop(root);
    let flags = match when {
        UnmountWhen::Unused => UnmountFlags::empty(),
        UnmountWhen::Lazy => UnmountFlags::DETACH,
    };
    rustix::mount::unmount(mountpoint, flags).map_err(|error| match error {
        Errno::INVAL => MountError::NotMounted { path: mountpoint.to_owned() },
        error => MountError::kernel(MountStep::Unmount, mountpoint)(error),
    })?;
    match repository {
        Some(repository) if when == UnmountWhen::Unused => record.remove(repository),
        _ => Ok(false),
    }
}

/// Tells whether an open file is on an overlay that a composefs tool, not only ours, has mounted.
fn is_ours(file: BorrowedFd<'_>) -> io::Result<bool> {
    let read = |path: &str| -> io::Result<String> {
        let contents = beneath::read_all(beneath::open_file(CWD, path)?, TABLE_MAX)?;
        Ok(String::from_utf8_lossy(&contents).into_owned())
    };
    let info = read(&format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let number =
        info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim).unwrap_or_default();
    let table = read("/proc/self/mountinfo")?;
    Ok(table.lines().any(|line| line.split(' ').next() == Some(number) && is_composefs(line)))
}

/// Looks at the file system and source in a line of `/proc/self/mountinfo`: the fields after the lone dash.
fn is_composefs(line: &str) -> bool {
    line.split_once(" - overlay ").is_some_and(|(_, rest)| {
        let source = rest.split(' ').next().unwrap_or_default();
        source == "composefs" || source.starts_with("composefs:")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composefs_mounts_are_told_by_their_source() {
        for (line, ours) in [
            ("36 35 0:53 / /mnt ro,relatime shared:1 - overlay composefs:abc ro,lowerdir+=/", true),
            ("36 35 0:53 / /mnt ro,relatime - overlay composefs ro", true),
            ("36 35 0:53 / /mnt rw - overlay overlay rw,lowerdir=/a", false),
            ("36 35 0:53 / /composefs:x rw - tmpfs composefs:x rw", false),
            ("", false),
        ] {
            assert_eq!(is_composefs(line), ours, "{line}");
        }
    }
}
