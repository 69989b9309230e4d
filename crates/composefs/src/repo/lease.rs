//! Roots held by mounts: while an image is mounted, a ref keeps it from collectors, ours and others'.
//!
//! [`crate::mount::record`] makes and removes them. The ref's name has the boot's id in it, so that records
//! left behind by a crash are told from live ones, which is done here.
//!
//! # Format
//! `docs/formats/repository.md`, section 9.

use rustix::fs::CWD;

use super::layout;
use crate::{
    disk::beneath,
    error::{Error, Result, Step},
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
}
