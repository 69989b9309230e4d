//! fs-verity digests: the algorithms, the ids they give, and how ids are computed from pushed bytes.
//!
//! # Format
//! `docs/formats/fsverity.md`.

pub mod object_id;
pub mod hash;
pub mod verity;

pub use object_id::{ObjectId, ObjectIdError};
pub use verity::{VerityHasher, object_id_of, object_ids_of};

use std::{fmt, str::FromStr};

/// The hash algorithms of fs-verity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256: 32-byte digests, kernel number 1.
    Sha256,
    /// SHA-512: 64-byte digests, kernel number 2.
    Sha512,
}

impl Algorithm {
    /// Both algorithms.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Returns the digest size in bytes: 32 or 64.
    #[must_use]
    pub const fn digest_size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Returns the number the kernel and the formats use: 1 or 2.
    #[must_use]
    pub const fn kernel_number(self) -> u8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// Finds the algorithm by the kernel's number.
    #[must_use]
    pub const fn from_kernel_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Finds the algorithm by the number of hex digits of its ids: 64 or 128.
    #[must_use]
    pub const fn from_hex_length(length: usize) -> Option<Self> {
        match length {
            64 => Some(Self::Sha256),
            128 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Returns `sha256` or `sha512`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(text: &str) -> Result<Self, AlgorithmError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            other => Err(AlgorithmError::UnknownHash(other.to_owned())),
        }
    }
}

/// An algorithm with the only block size composefs uses, as text: `fsverity-sha256-12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VerityAlgorithm(pub Algorithm);

/// log2 of the block size of every fs-verity file in a repository.
pub const LG_BLOCK_SIZE: u8 = 12;

impl VerityAlgorithm {
    /// Returns the short form used in kernel arguments: `sha256-12`.
    #[must_use]
    pub fn suffix(self) -> String {
        format!("{}-{LG_BLOCK_SIZE}", self.0)
    }
}

impl fmt::Display for VerityAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fsverity-{}-{LG_BLOCK_SIZE}", self.0)
    }
}

impl FromStr for VerityAlgorithm {
    type Err = AlgorithmError;

    fn from_str(text: &str) -> Result<Self, AlgorithmError> {
        let rest = text.strip_prefix("fsverity-").ok_or_else(|| AlgorithmError::NoPrefix(text.to_owned()))?;
        let (hash, lg) = rest.split_once('-').ok_or_else(|| AlgorithmError::NoSeparator(text.to_owned()))?;
        let algorithm = hash.parse()?;
        if lg.is_empty() || !lg.bytes().all(|b| b.is_ascii_digit()) {
            return Err(AlgorithmError::BlockSizeNotANumber(lg.to_owned()));
        }
        if lg != "12" {
            return Err(AlgorithmError::BlockSizeUnsupported(lg.to_owned()));
        }
        Ok(Self(algorithm))
    }
}

/// Why a text names no fs-verity algorithm that repositories use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AlgorithmError {
    /// The text does not begin with `fsverity-`.
    #[error("`{0}` does not begin with `fsverity-`")]
    NoPrefix(String),
    /// There is no `-` between hash and block size.
    #[error("`{0}` has no `-` between the hash and the block size")]
    NoSeparator(String),
    /// The hash is neither `sha256` nor `sha512`.
    #[error("unknown hash `{0}`, expected sha256 or sha512")]
    UnknownHash(String),
    /// The block size is not a number.
    #[error("block size `{0}` is not a number")]
    BlockSizeNotANumber(String),
    /// The block size is a number, but not 12.
    #[error("block size 2^{0} is not supported, only 2^12")]
    BlockSizeUnsupported(String),
}
