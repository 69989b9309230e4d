//! The objects an image names, found without building its tree.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    digest::{Algorithm, ObjectId},
    filetree::Regular,
};

use super::{
    overlay::{self, Pointers},
    read::{Fault, Image, Inode, ReadError},
    walk::{Visitor, walk},
};

/// Returns the ids of all objects that the image names, sorted, each once; those without a digest too.
///
/// The walk's checks of structure are made: an image that is damaged must not let its objects be collected.
/// Memory is 24 bytes for each external file, and the result.
///
/// # Errors
/// [`ReadError::At`] or [`ReadError::Inode`] for the first fault of structure or of a pointer to an object.
pub fn object_ids(image: &Image<'_>, algorithm: Algorithm) -> Result<Vec<ObjectId>, ReadError> {
    contents(image, algorithm).map(|contents| contents.objects)
}

/// What an image holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// The ids of all objects that it names, sorted, each once.
    pub objects: Vec<ObjectId>,
    /// The bytes of all its regular files together, one with several names once.
    pub file_bytes: u64,
}

/// Returns what the image names and how large its files are, as [`object_ids`] and in the same walk.
///
/// # Errors
/// As [`object_ids`].
pub fn contents(image: &Image<'_>, algorithm: Algorithm) -> Result<Contents, ReadError> {
    let mut collect = Collect { algorithm, digests: Vec::new(), others: Vec::new(), file_bytes: 0 };
    walk(image, &mut collect)?;
    let Collect { mut digests, others: mut ids, file_bytes, .. } = collect;
    digests.sort_unstable();
    digests.dedup();
    ids.reserve_exact(digests.len());
    ids.extend(digests.into_iter().filter_map(|(_, digest)| ObjectId::from_bytes(algorithm, digest).ok()));
    ids.sort_unstable();
    ids.dedup();
    Ok(Contents { objects: ids, file_bytes })
}

struct Collect<'i> {
    algorithm: Algorithm,
    /// Digests where they are in the image; their first bytes apart, so that sorting seldom has to look there.
    digests: Vec<(u64, &'i [u8])>,
    /// Ids that are only in a path.
    others: Vec<ObjectId>,
    file_bytes: u64,
}

impl<'i> Visitor<'i> for Collect<'i> {
    type Tag = ();

    fn directory(&mut self, _: &Inode<'i>) -> Result<(), Fault> {
        Ok(())
    }

    fn leaf(&mut self, inode: &Inode<'i>, _: &Inode<'i>, _: &'i [u8]) -> Result<(), Fault> {
        if !inode.is_regular() {
            return Ok(());
        }
        self.file_bytes = self.file_bytes.saturating_add(inode.size());
        let pointers = Pointers::of(inode)?;
        match overlay::external(inode, &pointers, self.algorithm)? {
            Some(Regular::External { .. }) => {
                self.digests.extend(pointers.digest_bytes().map(|digest| {
                    let first = digest.first_chunk().copied().map_or(0, u64::from_be_bytes);
                    (first, digest)
                }));
            }
            Some(Regular::Unverified { id, .. }) => self.others.push(id),
            _ => (),
        }
        Ok(())
    }

    fn name(&mut self, _: &Inode<'i>, _: &'i [u8], (): ()) -> Result<(), Fault> {
        Ok(())
    }

    fn end(&mut self, _: &Inode<'i>, (): ()) -> Result<(), Fault> {
        Ok(())
    }
}
