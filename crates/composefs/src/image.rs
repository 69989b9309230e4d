//! Trees to stored images, and back.

use std::io::Write as _;

use crate::{
    digest::ObjectId,
    erofs::{self, FormatVersion, Image, ReadLimits, WriteOptions},
    error::{Error, Result},
    filetree::FileTree,
    repo::{Repository, Writer},
};

/// Writes a tree's image into the store; the caller commits its entry.
///
/// # Errors
/// [`Error::ImageWrite`] for a tree that the format cannot hold; what storing gives.
pub fn store(writer: &Writer, tree: &FileTree, version: FormatVersion) -> Result<ObjectId> {
    store_with(writer, tree, version, &WriteOptions::default())
}

/// As [`store`], with the writer's options.
///
/// # Errors
/// As [`store`].
pub fn store_with(
    writer: &Writer,
    tree: &FileTree,
    version: FormatVersion,
    options: &WriteOptions,
) -> Result<ObjectId> {
    let failed = || Error::io(crate::error::Step::Write, writer.path());
    let object = writer.object_writer(0)?;
    let mut buffered = std::io::BufWriter::with_capacity(1 << 17, object);
    erofs::write(tree, version, options, &mut buffered).map_err(|source| match source {
        // The disk's fault, not the tree's.
        erofs::WriteError::Io(error) => failed()(error),
        source => Error::ImageWrite { source: Box::new(source) },
    })?;
    buffered.flush().map_err(failed())?;
    let object = buffered.into_inner().map_err(|error| failed()(error.into_error()))?;
    Ok(object.finish()?.id)
}

/// Reads a stored image as a tree.
///
/// # Errors
/// As [`Repository::read_image`], and [`Error::Image`] for bytes that are no image.
pub fn tree(repo: &Repository, id: &ObjectId) -> Result<FileTree> {
    let bytes = repo.read_image(id)?;
    let wrap = |source| Error::Image { id: *id, source: Box::new(source) };
    let image = Image::open(&bytes, &ReadLimits::default()).map_err(wrap)?;
    erofs::to_tree(&image, repo.algorithm()).map_err(wrap)
}
