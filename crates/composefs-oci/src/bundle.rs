//! Runtime bundles: what an image's config says, as the `config.json` that crun, runc and youki run.
//!
//! [`config_json`] is pure: the image's config and files in, bytes out. Mounting the root file system and starting a
//! runtime is the caller's.
//!
//! # Format
//! The OCI runtime specification 1.0 (`config.md`, `config-linux.md`), and the image specification's
//! `conversion.md` for what follows from an image's config.

pub mod error;
pub mod user;
pub mod capability;
pub mod seccomp;
pub mod options;
mod annotation;
mod mounts;
mod spec;

pub use error::BundleError;
pub use options::{BundleOptions, NETWORK_FILES, Network, Seccomp, UserNamespace, Volume, VolumeAccess};
pub use spec::config_json;

use composefs::{
    filetree::{FileTree, InodeKind, TreeError, resolve::LastLink},
    image::copy_contents,
    repo::Repository,
};

use crate::error::Error;

/// The most bytes that are read of `/etc/passwd` and of `/etc/group`.
pub const ACCOUNTS_MAX: usize = 16 << 20;

/// Where the files of the image are looked up.
pub trait ImageFiles {
    /// Reads a file by its path in the image, symlinks followed within the image; `None` if there is none.
    ///
    /// # Errors
    /// What reading gives; [`BundleError::TooLarge`] for a file of more than `limit` bytes.
    fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Error>;

    /// Tells whether a path leads to a directory in the image.
    fn is_directory(&self, path: &str) -> bool;
}

/// The files of a stored image.
#[derive(Clone, Copy, Debug)]
pub struct StoredFiles<'a> {
    /// Where the contents are.
    pub repo: &'a Repository,
    /// The names.
    pub tree: &'a FileTree,
}

impl ImageFiles for StoredFiles<'_> {
    fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let found = match self.tree.resolve(path.as_bytes(), LastLink::Follow) {
            Ok(found) => found,
            Err(TreeError::NotFound(_) | TreeError::NotADirectory(_)) => return Ok(None),
            Err(error) => return Err(BundleError::Lookup { path: path.to_owned(), source: error }.into()),
        };
        let InodeKind::Regular(file) = &self.tree.inode(found.inode).kind else { return Ok(None) };
        if file.size() > limit as u64 {
            return Err(BundleError::TooLarge { path: path.to_owned(), size: file.size(), limit }.into());
        }
        let mut contents = Vec::new();
        copy_contents(self.repo, file, |bytes| {
            contents.extend_from_slice(bytes);
            Ok::<_, composefs::error::Error>(())
        })?;
        Ok(Some(contents))
    }

    fn is_directory(&self, path: &str) -> bool {
        self.tree
            .resolve(path.as_bytes(), LastLink::Follow)
            .is_ok_and(|found| self.tree.entries(found.inode).is_some())
    }
}

#[cfg(test)]
mod tests;
