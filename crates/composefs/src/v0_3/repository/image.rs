//! Images: store, name, open, mount.

use std::{collections::HashSet, io::Read, os::fd::OwnedFd, path::Path};

use super::Repository;
use crate::{
    digest::ObjectId,
    erofs::ReadLimits,
    error::{Error, Result},
    mount::{ImageSource, MountOptions, MountPlan},
    name::RefName,
    v0_3::fsverity::FsVerityHashValue,
};

impl<ObjectID: FsVerityHashValue> Repository<ObjectID> {
    /// Stores and names an image, and gives it a ref, if one is given.
    ///
    /// # Errors
    /// What storing and committing give.
    pub fn write_image(&self, name: Option<&str>, data: &[u8]) -> Result<ObjectID> {
        let reference = name.map(RefName::new).transpose()?;
        let writer = self.writer()?;
        let id = writer.store_bytes(data)?.id;
        let mut commit = writer.begin();
        commit.image(id);
        if let Some(reference) = reference {
            commit.image_ref(reference, &id);
        }
        commit.finish()?;
        ObjectID::from_native(&id).map_err(Error::caller)
    }

    /// Stores an image that is read from somewhere, at most 1 GiB, under a ref.
    ///
    /// # Errors
    /// [`Error::Caller`] with what reading gives; as [`Repository::write_image`].
    pub fn import_image<R: Read>(&self, name: &str, image: &mut R) -> Result<ObjectID> {
        let limit = ReadLimits::default().image_bytes;
        let mut data = Vec::new();
        image.take(limit.saturating_add(1)).read_to_end(&mut data).map_err(Error::caller)?;
        if data.len() as u64 > limit {
            return Err(Error::caller(format!("image is larger than {limit} bytes")));
        }
        self.write_image(Some(name), &data)
    }

    fn image(&self, name: &str) -> Result<ObjectId> {
        self.reader().resolve_image(name).map(|found| found.id)
    }

    /// Opens an image by its id or `refs/…`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::ObjectMismatch`].
    pub fn open_image(&self, name: &str) -> Result<OwnedFd> {
        let id = self.image(name)?;
        self.open_object(&ObjectID::from_native(&id).map_err(Error::caller)?)
    }

    /// Lists the objects that an image names.
    ///
    /// # Errors
    /// As [`Repository::open_image`]; [`Error::Image`].
    pub fn objects_for_image(&self, name: &str) -> Result<HashSet<ObjectID>> {
        let objects = self.reader().image_objects(&self.image(name)?)?;
        objects.iter().map(|id| ObjectID::from_native(id).map_err(Error::caller)).collect()
    }

    /// Mounts an image, by its id or `refs/…`, onto a directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Mount`].
    pub fn mount(&self, name: &str, mountpoint: &str) -> Result<()> {
        let mut source = ImageSource::open(&self.reader(), &self.image(name)?)?;
        name.clone_into(&mut source.name);
        MountPlan::of(source, &MountOptions::default())?.apply(Path::new(mountpoint))?;
        Ok(())
    }
}
