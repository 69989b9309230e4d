//! Roots held by mounts: while an image is mounted, a ref keeps it from collectors, ours and others'.
//!
//! The ref's name has the boot's id in it, so that records left behind by a crash are told from live ones.
//!
//! # Format
//! `docs/formats/repository.md`, section 9.

use std::{fmt, io, os::fd::OwnedFd, path::PathBuf};

use rustix::fs::CWD;

use super::{Origin, Repository, layout};
use crate::{
    digest::ObjectId,
    disk::{
        beneath,
        publish::{self, Modes},
    },
    error::{Category, Error, Result, Step},
};

/// The id of a boot of the kernel: 36 hexadecimal digits and dashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootId(String);

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const BOOT_ID_LENGTH: usize = 36;

impl BootId {
    /// Reads the id of the running kernel's boot.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no `/proc`.
    pub fn current() -> Result<Self> {
        let fd = beneath::open_file(CWD, BOOT_ID).map_err(Error::io(Step::Open, BOOT_ID))?;
        let text = beneath::read_all(fd, 4096).map_err(Error::io(Step::Read, BOOT_ID))?;
        Self::parse(String::from_utf8_lossy(&text).trim()).ok_or_else(|| {
            Error::io(Step::Read, BOOT_ID)(std::io::Error::from(std::io::ErrorKind::InvalidData))
        })
    }

    /// Takes an id's text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let good = text.len() == BOOT_ID_LENGTH && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        good.then(|| Self(text.to_owned()))
    }

    /// Returns the name, below `images/refs/x-mounts/`, of the record of a mount in this boot.
    fn record(&self, mount_id: u64) -> String {
        format!("{}-{mount_id}", self.0)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Tells whether a ref below `images/refs/` records a mount of another boot.
pub(super) fn is_stale(name: &str, current: &BootId) -> bool {
    let Some(record) = name.strip_prefix(layout::MOUNTS).and_then(|rest| rest.strip_prefix('/')) else {
        return false;
    };
    record
        .get(..BOOT_ID_LENGTH)
        .filter(|_| record.get(BOOT_ID_LENGTH..).is_some_and(|rest| rest.starts_with('-')))
        .and_then(BootId::parse)
        .is_some_and(|boot| boot != *current)
}

/// Where records are, below the repository.
const RECORDS: [&str; 3] = [Category::Images.directory(), layout::REFS, layout::MOUNTS];

impl Repository {
    /// Records that an image is mounted; it is a root until the record is removed or the machine boots.
    ///
    /// Tells whether it did: an old repository, or one with features we do not know, stays as it is, since
    /// mounting is reading. Nothing is synced: after a power cut there is no mount, and the record means
    /// nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the image has no entry, [`Error::Io`].
    pub fn record_mount(&self, image: &ObjectId, boot: &BootId, mount_id: u64) -> Result<bool> {
        if !self.is_writable() {
            return Ok(false);
        }
        if self.image_entry(image)?.is_none() {
            return Err(Error::NotFound { category: Category::Images, name: image.to_hex() });
        }
        let modes = Modes::new();
        let mut below = PathBuf::new();
        for component in RECORDS {
            below.push(component);
            modes
                .make_directory(self.directory(), below.as_path())
                .map_err(Error::io(Step::MakeDirectory, self.path_of(&below)))?;
        }
        let name = boot.record(mount_id);
        let path = self.path_of(below.join(&name));
        let records = self
            .mount_records()?
            .ok_or_else(|| Error::io(Step::Open, &path)(io::Error::from(io::ErrorKind::NotFound)))?;
        publish::swap_symlink(self.directory(), records, &name, &layout::ref_target(2, &image.to_hex()))
            .map_err(Error::io(Step::Symlink, path))?;
        self.note_use(&image.to_hex());
        Ok(true)
    }

    /// Removes the record of a mount; tells whether there was one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn forget_mount(&self, boot: &BootId, mount_id: u64) -> Result<bool> {
        let Some(records) = self.mount_records()? else { return Ok(false) };
        let name = boot.record(mount_id);
        let path = self.path_of(RECORDS.iter().collect::<PathBuf>().join(&name));
        publish::remove(records, name).map_err(Error::io(Step::Unlink, path))
    }

    fn mount_records(&self) -> Result<Option<OwnedFd>> {
        beneath::open_directory(self.directory(), self.path(), RECORDS.map(str::as_bytes))
    }

    pub(super) fn is_writable(&self) -> bool {
        matches!(self.origin(), Origin::Meta(meta) if meta.version > 0 && meta.unknown_read_only.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_records_of_other_boots_are_stale() {
        let boot = BootId::parse("01234567-89ab-cdef-0123-456789abcdef").unwrap();
        assert!(!is_stale("x-mounts/01234567-89ab-cdef-0123-456789abcdef-7", &boot));
        assert!(is_stale("x-mounts/11234567-89ab-cdef-0123-456789abcdef-7", &boot));
        for other in
            ["x-mounts", "x-mounts/x", "x-mounts/11234567-89ab-cdef-0123-456789abcdef", "x", "oci/x-mounts/a"]
        {
            assert!(!is_stale(other, &boot), "{other}");
        }
        assert!(BootId::current().is_ok());
    }

    #[test]
    fn records_are_refs_to_images_that_have_an_entry() {
        use crate::{
            digest::Algorithm,
            repo::{InitOptions, OpenOptions, init},
        };
        let directory = tempfile::tempdir().unwrap();
        init(CWD, directory.path(), &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
        let repository = Repository::open(CWD, directory.path(), &OpenOptions::default()).unwrap();
        let writer = repository.writer().unwrap();
        let image = writer.store_bytes(&[2; 100]).unwrap().id;
        let boot = BootId::current().unwrap();
        assert!(!repository.forget_mount(&boot, 7).unwrap());
        assert!(repository.record_mount(&image, &boot, 7).unwrap_err().is_missing());
        let mut commit = writer.begin();
        commit.image(image);
        commit.finish().unwrap();
        assert!(repository.record_mount(&image, &boot, 7).unwrap());
        let path = directory.path().join(format!("images/refs/x-mounts/{boot}-7"));
        assert_eq!(std::fs::read_link(path).unwrap().to_str().unwrap(), format!("../../{image}"));
        assert!(repository.forget_mount(&boot, 7).unwrap());
        assert!(!repository.forget_mount(&boot, 7).unwrap());
    }
}
