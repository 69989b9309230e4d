//! Mounts as roots of garbage collection: `images/refs/x-mounts/BOOTID-MNTID`.
//!
//! # Format
//! `docs/formats/repository.md`, section 9.

use std::{os::fd::AsFd, path::Path};

use rustix::fs::{AtFlags, StatxFlags};

use crate::{digest::ObjectId, error::Result, repo::Repository, repo::lease::BootId};

use super::error::{MountError, MountStep};

/// Asks for a mount number that is never used twice in one boot (Linux 6.8).
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

/// What tells one mount from every other: the boot it was made in, and its number there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRecord {
    /// The boot.
    pub boot: BootId,
    /// The kernel's number for the mount: from Linux 6.8 on one that is never used again.
    pub mount_id: u64,
}

impl MountRecord {
    /// Identifies the mount that the open file is on.
    ///
    /// # Errors
    /// [`MountError::Kernel`] where the kernel has no `statx`, and of reading the boot's id.
    pub fn of_file(file: impl AsFd, path: &Path) -> Result<Self> {
        let flags = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE) | StatxFlags::MNT_ID;
        // Without asking the file system: a FUSE server may be dead, or wait for this very call.
        let at = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let mut statx = rustix::fs::statx(file.as_fd(), c"", at, flags)
            .map_err(MountError::kernel(MountStep::Identify, path))?;
        if statx.stx_mask & flags.bits() == 0 {
            // A kernel before 5.8. Every overlay is a file system of its own, with a number of its own.
            statx.stx_mnt_id = u64::from(statx.stx_dev_major) << 32 | u64::from(statx.stx_dev_minor);
        }
        Ok(Self { boot: BootId::current()?, mount_id: statx.stx_mnt_id })
    }

    /// Returns the record's file name: `BOOTID-MNTID`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}", self.boot, self.mount_id)
    }

    /// Notes in a repository that the image is mounted; tells whether it did.
    ///
    /// # Errors
    /// As [`Repository::record_mount`].
    pub fn add(&self, repository: &Repository, image: &ObjectId) -> Result<bool> {
        repository.record_mount(image, &self.boot, self.mount_id)
    }

    /// Removes the note from a repository; tells whether there was one.
    ///
    /// # Errors
    /// As [`Repository::forget_mount`].
    pub fn remove(&self, repository: &Repository) -> Result<bool> {
        repository.forget_mount(&self.boot, self.mount_id)
    }
}
