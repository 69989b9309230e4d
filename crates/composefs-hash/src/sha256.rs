//! A running SHA-256 that can take the same bytes together with another one.

use sha2::block_api::compress256;

#[cfg(target_arch = "x86_64")]
pub(crate) mod sha_ni;

/// Bytes that are hashed at once.
pub(crate) const BLOCK: usize = 64;

pub(crate) const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A running SHA-256.
#[derive(Clone, Debug)]
pub struct Sha256 {
    state: [u32; 8],
    /// The last bytes, too few for a block.
    tail: [u8; BLOCK],
    /// How many of them there are, always less than a block.
    filled: usize,
    bytes: u64,
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl Sha256 {
    /// Starts with nothing hashed.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: INITIAL, tail: [0; BLOCK], filled: 0, bytes: 0 }
    }

    /// Hashes a message in one go.
    #[must_use]
    pub fn digest(message: &[u8]) -> [u8; 32] {
        let mut hasher = Self::new();
        hasher.update(message);
        hasher.finish()
    }

    /// Hashes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let rest = self.fill(bytes);
        let (blocks, rest) = rest.as_chunks();
        if !blocks.is_empty() {
            compress256(&mut self.state, blocks);
        }
        self.keep(rest);
    }

    /// Hashes more bytes with this and with `other`: what calling `update` of both gives, in the time of one where both
    /// have got as far within their blocks of 64 bytes.
    pub fn update_with(&mut self, other: &mut Self, bytes: &[u8]) {
        if self.filled != other.filled {
            self.update(bytes);
            other.update(bytes);
            return;
        }
        let rest = self.fill(bytes);
        other.fill(bytes);
        let (blocks, rest) = rest.as_chunks();
        if !blocks.is_empty() {
            compress_both(&mut self.state, &mut other.state, blocks);
        }
        self.keep(rest);
        other.keep(rest);
    }

    /// Completes the block that was begun, if one was; returns what is left.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        self.bytes = self.bytes.wrapping_add(bytes.len() as u64);
        if self.filled == 0 {
            return bytes;
        }
        let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.filled));
        self.append(now);
        if self.filled == BLOCK {
            compress256(&mut self.state, &[self.tail]);
            self.filled = 0;
        }
        rest
    }

    fn keep(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.append(bytes);
        }
    }

    /// Appends to the tail what has room there.
    fn append(&mut self, bytes: &[u8]) {
        if let Some(room) = self.tail.get_mut(self.filled..self.filled + bytes.len()) {
            room.copy_from_slice(bytes);
            self.filled += bytes.len();
        }
    }

    /// Returns the digest and starts again.
    pub fn finish_reset(&mut self) -> [u8; 32] {
        let bits = self.bytes.wrapping_mul(8);
        let mut last = [0; 2 * BLOCK];
        for (to, from) in last.iter_mut().zip(self.tail.iter().take(self.filled).chain(&[0x80])) {
            *to = *from;
        }
        let (blocks, _) = last.as_chunks_mut::<BLOCK>();
        let blocks = if self.filled + 9 <= BLOCK { &mut blocks[..1] } else { blocks };
        if let Some(end) = blocks.last_mut().and_then(|block| block.last_chunk_mut::<8>()) {
            *end = bits.to_be_bytes();
        }
        compress256(&mut self.state, blocks);
        let digest = to_bytes(&self.state);
        *self = Self::new();
        digest
    }

    /// Returns the digest.
    #[must_use]
    pub fn finish(mut self) -> [u8; 32] {
        self.finish_reset()
    }
}

pub(crate) fn to_bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (to, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    bytes
}

fn compress_both(one: &mut [u32; 8], other: &mut [u32; 8], blocks: &[[u8; BLOCK]]) {
    #[cfg(target_arch = "x86_64")]
    if crate::processor::has_sha() {
        // SAFETY: the processor has the instructions that the function was compiled for; that is all it asks.
        #[allow(unsafe_code)]
        unsafe {
            sha_ni::shared(one, other, blocks);
        }
        return;
    }
    // Little at a time, so that the second comes to it while it is near.
    for blocks in blocks.chunks(64) {
        compress256(one, blocks);
        compress256(other, blocks);
    }
}

#[cfg(test)]
mod tests;
