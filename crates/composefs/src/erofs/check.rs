//! Is this an image that a tree can be made of?
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    digest::Algorithm,
    filetree::{self, Stat},
};

use super::{
    read::{Fault, Image, ReadError},
    to_tree::{Back, Keep},
    walk::walk,
};

/// Checks a whole image as [`super::to_tree()`] does, and accepts exactly what that accepts, without keeping
/// the tree: memory is that of the directories and of the leaves with several names.
///
/// # Errors
/// [`ReadError::At`] or [`ReadError::Inode`] for the first fault, with path and number of the inode.
///
/// # Format
/// `docs/formats/erofs.md`, section 9.
pub fn check(image: &Image<'_>, algorithm: Algorithm) -> Result<(), ReadError> {
    walk(image, &mut Back::new(image, algorithm, Discard))
}

struct Discard;

impl Keep for Discard {
    type Tag = ();

    fn add(&mut self, _: filetree::Inode) -> Result<(), Fault> {
        Ok(())
    }

    fn name(&mut self, _: &[u8], (): ()) -> Result<(), Fault> {
        Ok(())
    }

    fn close(&mut self, (): (), _: Stat) {}
}
