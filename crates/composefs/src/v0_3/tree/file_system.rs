//! A whole tree, and its image.

use crate::{
    erofs::{self, FormatVersion},
    error::{Error, Result},
    filetree::FileTree,
    v0_3::{
        fsverity::{self, FsVerityHashValue},
        repository::Repository,
        tree::{Directory, Stat},
    },
};

/// A file system: a root directory, and whether something said what its metadata are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem<ObjectID: FsVerityHashValue> {
    /// The root.
    pub root: Directory<ObjectID>,
    /// Whether the root's metadata are its own.
    pub have_root_stat: bool,
}

impl<ObjectID: FsVerityHashValue> Default for FileSystem<ObjectID> {
    fn default() -> Self {
        let stat = Stat { st_mode: 0o555, ..Stat::default() };
        Self { root: Directory::new(stat), have_root_stat: false }
    }
}

impl<ObjectID: FsVerityHashValue> FileSystem<ObjectID> {
    /// Sets the root's metadata.
    pub fn set_root_stat(&mut self, stat: Stat) {
        self.root.stat = stat;
        self.have_root_stat = true;
    }

    /// Gives a root without metadata of its own the newest time in the tree.
    ///
    /// # Errors
    /// [`Error::Tree`] for names no tree can hold.
    pub fn done(&mut self) -> Result<()> {
        if !self.have_root_stat {
            let newest = self.to_native()?.newest_mtime_seconds().unwrap_or(0);
            self.root.stat.st_mtim_sec = newest;
            self.have_root_stat = true;
        }
        Ok(())
    }

    /// Computes the id of the image, which is of the format 0.3 wrote.
    ///
    /// # Errors
    /// [`Error::Tree`] for a tree that no image can hold.
    pub fn compute_image_id(&self) -> Result<ObjectID> {
        let tree = self.to_native()?;
        let options = erofs::WriteOptions::default();
        let id = erofs::compute_id(&tree, FormatVersion::V2, fsverity::algorithm::<ObjectID>(), &options);
        let id = id.map_err(Error::caller)?;
        ObjectID::from_native(&id).map_err(Error::caller)
    }

    /// Stores and names the image, and gives it a ref, if one is given. The image is of the format 0.3 wrote.
    ///
    /// # Errors
    /// As [`FileSystem::compute_image_id`] and [`Repository::write_image`].
    pub fn commit_image(&self, repository: &Repository<ObjectID>, name: Option<&str>) -> Result<ObjectID> {
        let image = erofs::to_vec(&self.to_native()?, FormatVersion::V2, &erofs::WriteOptions::default());
        repository.write_image(name, &image.map_err(Error::caller)?)
    }

    /// Converts a native tree.
    ///
    /// # Errors
    /// [`Error::Tree`] for what 0.3 cannot hold.
    pub fn from_native(tree: &FileTree) -> Result<Self> {
        super::convert::from_native(tree)
    }

    /// Converts to a native tree.
    ///
    /// # Errors
    /// [`Error::Tree`] for names no tree can hold.
    pub fn to_native(&self) -> Result<FileTree> {
        super::convert::to_native(self)
    }
}
