//! Tables of ids, kept as the bytes they are in the file.

use std::{collections::hash_map::RandomState, fmt, hash::BuildHasher as _};

use crate::digest::{Algorithm, ObjectId};

/// A table of ids of one algorithm, in the order of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct IdList {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl IdList {
    pub(super) const fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, bytes: Vec::new() }
    }

    /// Takes a table; its size must be a multiple of the digest size.
    pub(super) const fn from_bytes(algorithm: Algorithm, bytes: Vec<u8>) -> Self {
        Self { algorithm, bytes }
    }

    /// Returns the table as it is in the file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the number of ids.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.algorithm.digest_size()
    }

    /// Says whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the id at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<ObjectId> {
        let start = index.checked_mul(self.algorithm.digest_size())?;
        let digest = self.bytes.get(start..start.checked_add(self.algorithm.digest_size())?)?;
        ObjectId::from_bytes(self.algorithm, digest).ok()
    }

    /// Returns the ids in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ObjectId> {
        self.bytes.chunks_exact(self.algorithm.digest_size()).map(|digest| {
            match ObjectId::from_bytes(self.algorithm, digest) {
                Ok(id) => id,
                Err(_) => unreachable!("chunks have the digest size"),
            }
        })
    }
}

impl fmt::Debug for IdList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A growing table without duplicates: an id keeps the index of its first mention.
///
/// A hash table of indexes into the list, with linear probing: 8 to 16 bytes beside each id. The hash is
/// keyed, since ids come from outside.
pub(super) struct IdTable {
    list: IdList,
    slots: Vec<u32>,
    keys: RandomState,
}

const FREE: u32 = u32::MAX;

impl IdTable {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self { list: IdList::new(algorithm), slots: Vec::new(), keys: RandomState::new() }
    }

    pub(super) const fn list(&self) -> &IdList {
        &self.list
    }

    /// Returns the index of `id`, which must be of the table's algorithm, adding it if it is new.
    pub(super) fn insert(&mut self, id: &ObjectId) -> u32 {
        debug_assert_eq!(id.algorithm(), self.list.algorithm);
        if (self.list.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let slot = self.slot_of(id.as_bytes());
        match self.slots.get_mut(slot) {
            Some(index) if *index == FREE => {
                // 2^32 ids do not fit in memory before this can fail.
                *index = u32::try_from(self.list.len()).unwrap_or(FREE);
                self.list.bytes.extend_from_slice(id.as_bytes());
                *index
            }
            Some(index) => *index,
            None => FREE,
        }
    }

    /// Returns where `digest` is or where it would be put.
    fn slot_of(&self, digest: &[u8]) -> usize {
        let (size, mask) = (digest.len(), self.slots.len() - 1);
        let mut slot = (self.keys.hash_one(digest) as usize) & mask;
        while let Some(&index) = self.slots.get(slot)
            && index != FREE
            && self.list.bytes.get(index as usize * size..(index as usize + 1) * size) != Some(digest)
        {
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        self.slots = vec![FREE; (self.slots.len() * 2).max(16)];
        for index in 0..self.list.len() {
            let size = self.list.algorithm.digest_size();
            let slot =
                self.slot_of(self.list.bytes.get(index * size..(index + 1) * size).unwrap_or_default());
            if let (Some(free), Ok(index)) = (self.slots.get_mut(slot), u32::try_from(index)) {
                *free = index;
            }
        }
    }
}
