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

/// What shows an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mounter {
    /// The kernel's overlayfs.
    Kernel,
    /// A FUSE server.
    Fuse,
}

/// A composefs mount that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which mount it is.
    pub record: MountRecord,
    /// What shows it.
    pub mounter: Mounter,
}

/// Finds the composefs mount on top of a directory. A FUSE server is not asked, and may be dead.
///
/// # Errors
/// [`Error::Mount`](crate::error::Error::Mount): [`MountError::NotMounted`] if no composefs mount is right there, [`MountError::Kernel`].
pub fn find(mountpoint: &Path) -> Result<Found> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::io::retry_on_intr(|| rustix::fs::open(mountpoint, flags, Mode::empty()))
        .map_err(MountError::kernel(MountStep::OpenMountpoint, mountpoint))?;
    let mounter = mounter(root.as_fd())
        .map_err(MountError::kernel(MountStep::Identify, mountpoint))?
        .ok_or_else(|| MountError::NotMounted { path: mountpoint.to_owned() })?;
    // The descriptor is a user of the mount, and gone when this returns.
    Ok(Found { record: MountRecord::of_file(&root, mountpoint)?, mounter })
}

/// Unmounts the composefs mount on top of a directory, and removes its note from `repository`.
///
/// Tells whether there was a note. After [`UnmountWhen::Lazy`] the note stays until the machine restarts:
/// the mount may have users yet.
///
/// # Errors
/// [`Error::Mount`](crate::error::Error::Mount): [`MountError::NotMounted`] if no composefs mount is right there, [`MountError::Kernel`]
/// (`EBUSY` while the mount is in use). [`Error::Io`](crate::error::Error::Io) if the note cannot be removed; the mount is gone then.
pub fn unmount(mountpoint: &Path, repository: Option<&Repository>, when: UnmountWhen) -> Result<bool> {
    let found = find(mountpoint)?;
    let flags = match when {
        UnmountWhen::Unused => UnmountFlags::empty(),
        UnmountWhen::Lazy => UnmountFlags::DETACH,
    };
    rustix::mount::unmount(mountpoint, flags).map_err(|error| match error {
        Errno::INVAL => MountError::NotMounted { path: mountpoint.to_owned() },
        error => MountError::kernel(MountStep::Unmount, mountpoint)(error),
    })?;
    match repository {
        Some(repository) if when == UnmountWhen::Unused => found.record.remove(repository),
        _ => Ok(false),
    }
}

/// Tells what shows an open file, if a composefs tool, not only ours, has mounted that.
fn mounter(file: BorrowedFd<'_>) -> io::Result<Option<Mounter>> {
    let read = |path: &str| -> io::Result<String> {
        let contents = beneath::read_all(beneath::open_file(CWD, path)?, TABLE_MAX)?;
        Ok(String::from_utf8_lossy(&contents).into_owned())
    };
    let info = read(&format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let number =
        info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim).unwrap_or_default();
    let table = read("/proc/self/mountinfo")?;
    Ok(table.lines().find(|line| line.split(' ').next() == Some(number)).and_then(mounter_of))
}

/// Looks at the file system and source in a line of `/proc/self/mountinfo`: the fields after the lone dash.
fn mounter_of(line: &str) -> Option<Mounter> {
    let (_, rest) = line.split_once(" - ")?;
    let mut fields = rest.split(' ');
    let mounter = match fields.next()? {
        "overlay" => Mounter::Kernel,
        "fuse" | "fuse.composefs" => Mounter::Fuse,
        _ => return None,
    };
    let source = fields.next()?;
    (source == "composefs" || source.starts_with("composefs:")).then_some(mounter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composefs_mounts_are_told_by_their_source() {
        for (line, mounter) in [
            (
                "36 35 0:53 / /mnt ro,relatime shared:1 - overlay composefs:abc ro,lowerdir+=/",
                Some(Mounter::Kernel),
            ),
            ("36 35 0:53 / /mnt ro,relatime - overlay composefs ro", Some(Mounter::Kernel)),
            ("36 35 0:53 / /mnt ro - fuse.composefs composefs:abc ro,user_id=0", Some(Mounter::Fuse)),
            ("36 35 0:53 / /mnt ro - fuse.sshfs composefs:abc ro,user_id=0", None),
            ("36 35 0:53 / /mnt rw - overlay overlay rw,lowerdir=/a", None),
            ("36 35 0:53 / /composefs:x rw - tmpfs composefs:x rw", None),
            ("", None),
        ] {
            assert_eq!(mounter_of(line), mounter, "{line}");
        }
    }
}
