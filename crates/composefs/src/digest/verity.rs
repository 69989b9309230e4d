//! The fs-verity digest of pushed bytes.
//!
//! In: bytes in pieces of any length. Out: the digest the kernel would measure. Holds one partial block
//! of hashes for each level of the tree, never the contents.
//!
//! # Format
//! `docs/formats/fsverity.md`, section 1.

use std::io;

use super::{Algorithm, LG_BLOCK_SIZE, ObjectId, hash::Hasher};

/// Computes an fs-verity digest from bytes pushed in pieces of any length.
#[derive(Clone, Debug)]
pub struct VerityHasher {
    algorithm: Algorithm,
    lg_block_size: u8,
    /// The hash of the block of contents being filled, and how many of its bytes are hashed.
    leaf: Hasher,
    leaf_bytes: usize,
    /// The hashes of each level that are not yet hashed into the level above.
    levels: Vec<Vec<u8>>,
    size_bytes: u64,
}

impl VerityHasher {
    /// Starts a file with blocks of 4096 bytes.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self::with_block_size(algorithm, LG_BLOCK_SIZE)
    }

    /// Starts a file with blocks of 2^`lg_block_size` bytes, clamped to 10..=16.
    #[must_use]
    pub fn with_block_size(algorithm: Algorithm, lg_block_size: u8) -> Self {
        Self {
            algorithm,
            lg_block_size: lg_block_size.clamp(10, 16),
            leaf: Hasher::new(algorithm),
            leaf_bytes: 0,
            levels: Vec::new(),
            size_bytes: 0,
        }
    }

    /// Returns how many bytes were pushed.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Pushes the next bytes of the file.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        let block = 1_usize << self.lg_block_size;
        while !bytes.is_empty() {
            // A full block is finished only when more follows: a file of one block has no level above.
            if self.leaf_bytes == block {
                self.finish_leaf();
            }
            let (now, rest) = bytes.split_at(bytes.len().min(block - self.leaf_bytes));
            self.leaf.update(now);
            self.leaf_bytes += now.len();
            bytes = rest;
        }
    }

    /// Pushes so many zero bytes: the hole of a sparse file.
    pub fn update_zeros(&mut self, bytes: u64) {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        let mut left = bytes;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
            self.update(ZEROS.get(..now).unwrap_or_default());
            left -= now as u64;
        }
    }

    fn finish_leaf(&mut self) {
        let padding = (1 << self.lg_block_size) - self.leaf_bytes;
        pad(&mut self.leaf, padding);
        self.leaf_bytes = 0;
        let mut hash = Vec::with_capacity(self.algorithm.digest_size());
        self.leaf.finish_into(&mut hash);
        self.push(0, &hash);
    }

    /// Adds a hash to a level; a level that is full when another hash comes is hashed into the one above.
    fn push(&mut self, mut level: usize, hash: &[u8]) {
        let block = 1_usize << self.lg_block_size;
        let mut hash = hash.to_vec();
        loop {
            let Some(hashes) = self.levels.get_mut(level) else {
                self.levels.push(hash);
                return;
            };
            if hashes.len() < block {
                hashes.extend_from_slice(&hash);
                return;
            }
            let full = std::mem::replace(hashes, hash);
            hash = self.hash_block(&full);
            level += 1;
        }
    }

    fn hash_block(&self, hashes: &[u8]) -> Vec<u8> {
        let mut hasher = Hasher::new(self.algorithm);
        hasher.update(hashes);
        pad(&mut hasher, (1 << self.lg_block_size) - hashes.len());
        let mut hash = Vec::with_capacity(self.algorithm.digest_size());
        hasher.finish_into(&mut hash);
        hash
    }

    /// Returns the root hash of the tree: zeros for an empty file.
    #[must_use]
    pub fn finish_root(mut self) -> Vec<u8> {
        if self.size_bytes == 0 {
            return vec![0; self.algorithm.digest_size()];
        }
        self.finish_leaf();
        let mut level = 0;
        loop {
            let hashes = self.levels.get(level).cloned().unwrap_or_default();
            if level + 1 == self.levels.len() && hashes.len() == self.algorithm.digest_size() {
                return hashes;
            }
            let above = self.hash_block(&hashes);
            level += 1;
            self.push(level, &above);
        }
    }

    /// Returns the digest.
    #[must_use]
    pub fn finish(self) -> ObjectId {
        let (algorithm, lg_block_size, size) = (self.algorithm, self.lg_block_size, self.size_bytes);
        let root = self.finish_root();
        let mut descriptor = Vec::with_capacity(256);
        descriptor.extend_from_slice(&[1, algorithm.kernel_number(), lg_block_size, 0, 0, 0, 0, 0]);
        descriptor.extend_from_slice(&size.to_le_bytes());
        descriptor.extend_from_slice(&root);
        descriptor.resize(256, 0);
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&descriptor);
        hasher.finish()
    }
}

/// Takes what is written, and never fails: so that files are hashed by [`io::copy`].
impl io::Write for VerityHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pad(hasher: &mut Hasher, bytes: usize) {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(ZEROS.len());
        hasher.update(ZEROS.get(..now).unwrap_or_default());
        left -= now;
    }
}

/// Returns the id of contents held in memory.
#[must_use]
pub fn object_id_of(algorithm: Algorithm, contents: &[u8]) -> ObjectId {
    let mut hasher = VerityHasher::new(algorithm);
    hasher.update(contents);
    hasher.finish()
}

#[cfg(test)]
mod tests;
