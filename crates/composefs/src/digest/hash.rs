//! SHA-2 behind one type, the algorithm chosen at run time.

pub use composefs_hash::Sha256;
use sha2::{Digest as _, Sha512};

use super::{Algorithm, ObjectId};

/// A running SHA-256 or SHA-512.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Starts with nothing hashed.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Hashes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    /// Hashes more bytes with this and with a SHA-256 of something that has the same bytes here; see
    /// [`Sha256::update_with`].
    pub fn update_with(&mut self, other: &mut Sha256, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update_with(other, bytes),
            Self::Sha512(state) => {
                state.update(bytes);
                other.update(bytes);
            }
        }
    }

    /// Appends the digest to `out` and starts again.
    pub fn finish_into(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Sha256(state) => out.extend_from_slice(&state.finish_reset()),
            Self::Sha512(state) => out.extend_from_slice(&state.finalize_reset()),
        }
    }

    /// Returns the digest in the shape of an id.
    pub(super) fn finish(self) -> ObjectId {
        let (algorithm, digest) = match self {
            Self::Sha256(state) => (Algorithm::Sha256, state.finish().to_vec()),
            Self::Sha512(state) => (Algorithm::Sha512, state.finalize().to_vec()),
        };
        match ObjectId::from_bytes(algorithm, &digest) {
            Ok(id) => id,
            Err(_) => unreachable!("a hash has the size of its algorithm"),
        }
    }
}
