//! The fs-verity digest of pushed bytes.
//!
//! In: bytes in pieces of any length. Out: the digest the kernel would measure. Holds one partial block
//! of hashes for each level of the tree, never the contents.
//!
//! # Format
//! `docs/formats/fsverity.md`, section 1.

use std::io;

use composefs_hash::{Sha256, many};

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
    pub fn update(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        let block = self.block();
        let mut rest = bytes;
        if self.leaf_bytes > 0 {
            let (now, later) = rest.split_at(rest.len().min(block - self.leaf_bytes));
            self.leaf.update(now);
            self.took(now.len());
            rest = later;
        }
        let (whole, rest) = rest.split_at(rest.len() - rest.len() % block);
        self.push_leaves(whole);
        if !rest.is_empty() {
            self.leaf.update(rest);
            self.took(rest.len());
        }
    }

    /// Pushes the next bytes of the file, and pushes them to `other` too: the digest of a tar that holds the file. For
    /// SHA-256 both together take the time of one.
    pub fn update_with(&mut self, other: &mut Sha256, bytes: &[u8]) {
        if self.algorithm != Algorithm::Sha256 {
            other.update(bytes);
            self.update(bytes);
            return;
        }
        self.size_bytes += bytes.len() as u64;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.block() - self.leaf_bytes));
            self.leaf.update_with(other, now);
            self.took(now.len());
            rest = later;
        }
    }

    const fn block(&self) -> usize {
        1 << self.lg_block_size
    }

    /// Counts bytes of the leaf, and finishes it when it is full.
    fn took(&mut self, bytes: usize) {
        self.leaf_bytes += bytes;
        if self.leaf_bytes == self.block() {
            self.finish_leaf();
        }
    }

    /// Pushes whole blocks, several at a time.
    fn push_leaves(&mut self, blocks: &[u8]) {
        let (block, size) = (self.block(), self.algorithm.digest_size());
        if blocks.is_empty() {
            return;
        }
        let mut hashes = Vec::with_capacity(blocks.len() / block * size);
        let leaves: Vec<&[u8]> = blocks.chunks_exact(block).collect();
        hash_many(self.algorithm, &leaves, &mut hashes);
        for hash in hashes.chunks_exact(size) {
            self.push(0, hash);
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
        let padding = self.block() - self.leaf_bytes;
        pad(&mut self.leaf, padding);
        self.leaf_bytes = 0;
        let mut hash = Vec::with_capacity(self.algorithm.digest_size());
        self.leaf.finish_into(&mut hash);
        self.push(0, &hash);
    }

    /// Adds a hash to a level; a level that is full when another hash comes is hashed into the one above.
    fn push(&mut self, mut level: usize, hash: &[u8]) {
        let block = self.block();
        let mut above;
        let mut hash = hash;
        loop {
            let Some(hashes) = self.levels.get_mut(level) else {
                self.levels.push(hash.to_vec());
                return;
            };
            if hashes.len() < block {
                hashes.extend_from_slice(hash);
                return;
            }
            let full = std::mem::replace(hashes, hash.to_vec());
            above = self.hash_block(&full);
            hash = &above;
            level += 1;
        }
    }

    fn hash_block(&self, hashes: &[u8]) -> Vec<u8> {
        let mut hasher = Hasher::new(self.algorithm);
        hasher.update(hashes);
        pad(&mut hasher, self.block() - hashes.len());
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
        if self.leaf_bytes > 0 {
            self.finish_leaf();
        }
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
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&descriptor(algorithm, lg_block_size, size, &root));
        hasher.finish()
    }
}

/// The bytes whose hash is the digest.
fn descriptor(algorithm: Algorithm, lg_block_size: u8, size: u64, root: &[u8]) -> [u8; 256] {
    let mut descriptor = [0; 256];
    let fields = [1, algorithm.kernel_number(), lg_block_size, 0, 0, 0, 0, 0].into_iter();
    let fields = fields.chain(size.to_le_bytes()).chain(root.iter().copied());
    for (to, from) in descriptor.iter_mut().zip(fields) {
        *to = from;
    }
    descriptor
}

fn hash_many(algorithm: Algorithm, messages: &[&[u8]], out: &mut Vec<u8>) {
    match algorithm {
        Algorithm::Sha256 => many::sha256(messages, out),
        Algorithm::Sha512 => many::sha512(messages, out),
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

/// Returns the ids of contents held in memory, in order; many small files take less time so than one after the other.
#[must_use]
pub fn object_ids_of(algorithm: Algorithm, files: &[&[u8]]) -> Vec<ObjectId> {
    let size = algorithm.digest_size();
    // Level by level, the blocks of all files together.
    let mut hashes = hashes_of_blocks(algorithm, files);
    loop {
        let higher: Vec<_> = hashes.iter_mut().filter(|hashes| hashes.len() > size).collect();
        if higher.is_empty() {
            break;
        }
        let level: Vec<&[u8]> = higher.iter().map(|hashes| &hashes[..]).collect();
        let above = hashes_of_blocks(algorithm, &level);
        for (hashes, above) in higher.into_iter().zip(above) {
            *hashes = above;
        }
    }
    let descriptors = files.iter().zip(&hashes);
    let descriptors: Vec<_> = descriptors
        .map(|(contents, root)| descriptor(algorithm, LG_BLOCK_SIZE, contents.len() as u64, root))
        .collect();
    let messages: Vec<&[u8]> = descriptors.iter().map(<[u8; 256]>::as_slice).collect();
    let mut digests = Vec::with_capacity(files.len() * size);
    hash_many(algorithm, &messages, &mut digests);
    digests.chunks_exact(size).filter_map(|digest| ObjectId::from_bytes(algorithm, digest).ok()).collect()
}

/// Returns the hashes of each one's blocks, the last filled up with zeros.
fn hashes_of_blocks(algorithm: Algorithm, contents: &[&[u8]]) -> Vec<Vec<u8>> {
    const BLOCK: usize = 1 << LG_BLOCK_SIZE;
    let mut ends = Vec::new();
    for contents in contents {
        let (_, end) = contents.as_chunks::<BLOCK>();
        if !end.is_empty() {
            ends.extend_from_slice(end);
            ends.resize(ends.len().next_multiple_of(BLOCK), 0);
        }
    }
    let mut ends = ends.chunks_exact(BLOCK);
    let mut blocks = Vec::new();
    for contents in contents {
        let (whole, end) = contents.as_chunks::<BLOCK>();
        blocks.extend(whole.iter().map(<[u8; BLOCK]>::as_slice));
        blocks.extend(if end.is_empty() { None } else { ends.next() });
    }
    let mut hashes = Vec::with_capacity(blocks.len() * algorithm.digest_size());
    hash_many(algorithm, &blocks, &mut hashes);
    let mut left = &hashes[..];
    let mut take = |blocks: usize| {
        let (now, rest) = left.split_at((blocks * algorithm.digest_size()).min(left.len()));
        left = rest;
        now.to_vec()
    };
    contents.iter().map(|contents| take(contents.len().div_ceil(BLOCK))).collect()
}

#[cfg(test)]
mod tests;
