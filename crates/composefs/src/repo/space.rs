//! How much room the file system has that the repository is on.

use rustix::fs::fstatvfs;

use super::Repository;
use crate::error::{Error, Result, Step};

/// Room that is left on a file system, for those without privileges. Quotas are not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes; `None` where the file system does not say, as some network and FUSE file systems do not.
    pub bytes: Option<u64>,
    /// Files and directories; `None` where there is no limit of its own to them, as on btrfs.
    pub files: Option<u64>,
}

impl Repository {
    /// Asks how much room there is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn free_space(&self) -> Result<FreeSpace> {
        let found = fstatvfs(self.directory()).map_err(Error::io(Step::Stat, self.path()))?;
        Ok(FreeSpace {
            bytes: (found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize)),
            files: (found.f_files > 0).then_some(found.f_favail),
        })
    }
}
