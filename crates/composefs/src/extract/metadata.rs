//! Owner, permissions, extended attributes and time of what was made, in the order in which they last.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::{
    fs::{
        AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_NOW, Uid, XattrFlags, chmodat, chownat, fchmod,
        fchown, fsetxattr, futimens, lsetxattr, utimensat,
    },
    io::Errno,
};

use super::{Extracted, Owners};
use crate::{
    disk::beneath,
    error::{Error, Result, Step},
    filetree::{Inode, InodeKind, Stat},
};

/// Set-id bits, which mean nothing good with another owner.
const SET_ID: u16 = 0o6000;

/// How metadata are restored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Restore {
    owners: bool,
    /// Whether what needs privilege may be missing.
    lenient: bool,
}

impl Restore {
    pub(super) fn new(owners: Owners) -> Self {
        let root = rustix::process::geteuid().is_root();
        match owners {
            Owners::Auto => Self { owners: root, lenient: true },
            Owners::Image => Self { owners: true, lenient: false },
            Owners::Own => Self { owners: false, lenient: true },
        }
    }

    /// Whether devices and attributes that need privilege may be left out.
    pub(super) const fn may_leave_out(self) -> bool {
        self.lenient
    }

    fn mode(self, stat: &Stat) -> Mode {
        let bits = if self.owners { stat.mode } else { stat.mode & !SET_ID };
        Mode::from_raw_mode(u32::from(bits & 0o7777))
    }

    /// Restores the metadata of an open file or directory.
    pub(super) fn open(self, fd: &OwnedFd, stat: &Stat, path: &[u8], done: &mut Extracted) -> Result<()> {
        if self.owners {
            fchown(fd, owner(stat), group(stat)).map_err(Error::io(Step::SetOwner, beneath::os(path)))?;
        }
        // A change of owner takes set-id bits and capabilities away, so they come after it.
        fchmod(fd, self.mode(stat)).map_err(Error::io(Step::SetMode, beneath::os(path)))?;
        self.xattrs(stat, path, done, |name, value| fsetxattr(fd, name, value, XattrFlags::empty()))?;
        futimens(fd, &times(stat)).map_err(Error::io(Step::SetTime, beneath::os(path)))
    }

    /// Restores the metadata of what cannot be opened: symlinks, devices, fifos, sockets.
    pub(super) fn named(
        self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        inode: &Inode,
        path: &[u8],
        done: &mut Extracted,
    ) -> Result<()> {
        let stat = &inode.stat;
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        if self.owners {
            chownat(directory, name, owner(stat), group(stat), nofollow)
                .map_err(Error::io(Step::SetOwner, beneath::os(path)))?;
        }
        if !matches!(inode.kind, InodeKind::Symlink(_)) {
            // The directory is private, so this is what was made just now and no symlink.
            chmodat(directory, name, self.mode(stat), AtFlags::empty())
                .map_err(Error::io(Step::SetMode, beneath::os(path)))?;
        }
        if !stat.xattrs.is_empty() {
            let mut link = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
            link.extend_from_slice(name);
            self.xattrs(stat, path, done, |name, value| {
                lsetxattr(link.as_slice(), name, value, XattrFlags::empty())
            })?;
        }
        utimensat(directory, name, &times(stat), nofollow)
            .map_err(Error::io(Step::SetTime, beneath::os(path)))
    }

    fn xattrs(
        self,
        stat: &Stat,
        path: &[u8],
        done: &mut Extracted,
        set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>,
    ) -> Result<()> {
        for (name, value) in stat.xattrs.iter() {
            match set(name, value) {
                // No privilege for it, or a file system or kernel without that kind.
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL | Errno::ACCESS) if self.lenient => {
                    let files = done.xattrs_left_out.entry(name.to_vec()).or_default();
                    *files = files.saturating_add(1);
                }
                set => set.map_err(Error::io(Step::SetXattrs, beneath::os(path)))?,
            }
        }
        Ok(())
    }
}

fn owner(stat: &Stat) -> Option<Uid> {
    Some(Uid::from_raw(stat.uid))
}

fn group(stat: &Stat) -> Option<Gid> {
    Some(Gid::from_raw(stat.gid))
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        last_modification: Timespec { tv_sec: stat.mtime_seconds, tv_nsec: i64::from(stat.mtime_nanos) },
    }
}
