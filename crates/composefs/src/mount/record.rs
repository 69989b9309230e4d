//! Mounts as roots of garbage collection: `images/refs/x-mounts/BOOTID-MNTID`.
//!
//! # Format
//! `docs/formats/repository.md`, section 9.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};

use crate::{
    digest::ObjectId,
    disk::{
        beneath,
        publish::{self, Modes},
    },
    error::{Category, Error, Step},
    repo::{Origin, Repository, layout},
};

use super::error::{MountError, MountStep, Result};

/// Asks for a mount number that is never used twice in one boot (Linux 6.8).
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;

/// What tells one mount from every other: the boot it was made in, and its number there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MountRecord {
    /// The boot, as `/proc/sys/kernel/random/boot_id` has it.
    pub boot_id: String,
    /// The kernel's number for the mount: from Linux 6.8 on one that is never used again.
    pub mount_id: u64,
}

impl MountRecord {
    /// Identifies the mount that the open file is on.
    ///
    /// # Errors
    /// [`MountError::Kernel`] where `/proc` or `statx` is missing.
    pub fn of_file(file: impl AsFd, path: &Path) -> Result<Self> {
        let error = || MountError::kernel::<io::Error>(MountStep::Identify, path);
        let flags = StatxFlags::from_bits_retain(STATX_MNT_ID_UNIQUE) | StatxFlags::MNT_ID;
        let mut statx = rustix::fs::statx(file.as_fd(), c"", AtFlags::EMPTY_PATH, flags)
            .map_err(|errno| error()(errno.into()))?;
        if statx.stx_mask & flags.bits() == 0 {
            // A kernel before 5.8. Device and inode of the root tell mounts of different images apart.
            statx.stx_mnt_id = u64::from(statx.stx_dev_major) << 32 | u64::from(statx.stx_dev_minor);
        }
        Ok(Self { boot_id: boot_id().map_err(error())?, mount_id: statx.stx_mnt_id })
    }

    /// Reads a record's file name; `None` for any other name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (boot_id, number) = name.rsplit_once('-')?;
        if boot_id.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self { boot_id: boot_id.to_owned(), mount_id: number.parse().ok()? })
    }

    /// Returns the file name: `BOOTID-MNTID`.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}", self.boot_id, self.mount_id)
    }

    /// Returns the ref's name below `images/refs/`: `x-mounts/BOOTID-MNTID`.
    #[must_use]
    pub fn ref_name(&self) -> String {
        format!("{}/{}", layout::MOUNTS, self.file_name())
    }
}

/// Notes a mount in the repository: the image stays until the note is removed or the machine restarts.
///
/// Tells whether it did: an old repository, or one with features we do not know, is left as it is. Nothing is
/// synced: after a power cut there is no mount, and the note means nothing.
pub(crate) fn add(repository: &Repository, record: &MountRecord, image: &ObjectId) -> Result<bool, Error> {
    match repository.origin() {
        Origin::Meta(meta) if meta.version > 0 && meta.unknown_read_only.is_empty() => {}
        // Mounting is reading, which must not upgrade an old repository.
        _ => return Ok(false),
    }
    let (directory, path) = (repository.directory(), repository.path());
    let modes = Modes::new();
    let mut below = String::new();
    for component in [Category::Images.directory(), layout::REFS, layout::MOUNTS] {
        if !below.is_empty() {
            below.push('/');
        }
        below.push_str(component);
        modes
            .make_directory(directory, below.as_str())
            .map_err(Error::io(Step::MakeDirectory, path.join(&below)))?;
    }
    let records = open_records(repository)?
        .ok_or_else(|| Error::io(Step::Open, path.join(&below))(io::Error::from(io::ErrorKind::NotFound)))?;
    let target = layout::ref_target(2, &image.to_hex());
    publish::swap_symlink(directory, records, &record.file_name(), &target)
        .map_err(Error::io(Step::Symlink, path.join(below).join(record.file_name())))?;
    Ok(true)
}

/// Takes the note back; tells whether there was one.
pub(crate) fn remove(repository: &Repository, record: &MountRecord) -> Result<bool, Error> {
    let Some(records) = open_records(repository)? else { return Ok(false) };
    let path = layout::ref_path(Category::Images, &record.ref_name());
    publish::remove(records, record.file_name())
        .map_err(Error::io(Step::Unlink, repository.path().join(path)))
}

fn open_records(repository: &Repository) -> Result<Option<OwnedFd>, Error> {
    let components = [Category::Images.directory(), layout::REFS, layout::MOUNTS];
    beneath::open_directory(repository.directory(), repository.path(), components.map(str::as_bytes))
}

/// Returns the number of this boot, 36 characters.
///
/// # Errors
/// Of reading `/proc`; [`io::ErrorKind::InvalidData`] if that is not what it holds.
pub fn boot_id() -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, c"/proc/sys/kernel/random/boot_id", flags, Mode::empty())?;
    let mut buffer = [0; 64];
    let length = rustix::io::read(fd, &mut buffer)?;
    let text = buffer.get(..length).and_then(|text| std::str::from_utf8(text).ok()).map(str::trim);
    match text {
        Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') => {
            Ok(text.to_owned())
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "not a boot id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let record = MountRecord {
            boot_id: "5c1e3ff8-24ba-4a5b-8f02-1d8a47d2c9b6".to_owned(),
            mount_id: 2_147_483_999,
        };
        assert_eq!(MountRecord::parse(&record.file_name()), Some(record.clone()));
        assert_eq!(record.ref_name(), "x-mounts/5c1e3ff8-24ba-4a5b-8f02-1d8a47d2c9b6-2147483999");
        for bad in ["", "-", "5c1e", "5c1e-", "-17", "5c1e-1x", "5c1e-99999999999999999999"] {
            assert_eq!(MountRecord::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_boot_has_a_number() {
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
