//! Trees to stored images, and back; and the contents of their files.

use std::io::Write as _;

use crate::{
    digest::ObjectId,
    erofs::{self, FormatVersion, Image, ReadLimits, WriteOptions},
    error::{Error, Result},
    filetree::{FileTree, Regular},
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

/// Zeros are handed on in pieces of so many bytes.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Hands the contents of a tree's file on in pieces and returns their size. They are what the tree says if this
/// returns; after an error what `take` was given is not to be used.
///
/// # Errors
/// As [`Repository::copy_object`]; [`Error::FileContents`] for an object of another size than the tree says, or
/// contents that are not in the store; what `take` gives.
pub fn copy_contents<E: From<Error>>(
    repo: &Repository,
    file: &Regular,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    match file {
        Regular::Inline(contents) => take(contents)?,
        Regular::Sparse(size) => {
            let mut left = *size;
            while left > 0 {
                let zeros = ZEROS.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(&ZEROS);
                take(zeros)?;
                left = left.saturating_sub(zeros.len() as u64);
            }
        }
        Regular::External { id, size } | Regular::Unverified { id, size } => {
            let copied = repo.copy_object(id, take)?;
            if copied != *size {
                let reason = format!("object {id} has {copied} bytes where the image says {size}");
                return Err(Error::FileContents { reason }.into());
            }
        }
        Regular::Redirect { path, .. } => {
            let reason = format!("contents are outside the objects, at {}", path.escape_ascii());
            return Err(Error::FileContents { reason }.into());
        }
    }
    Ok(file.size())
}
