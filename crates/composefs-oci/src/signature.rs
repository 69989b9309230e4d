//! Signatures of fs-verity digests, as the kernel takes them: a detached CMS over the digest with a short header.
//!
//! What comes in: a digest, and certificates or a key. What goes out: a CMS in DER, or who made one. Keys are never
//! part of an error or of debug output.
//!
//! # Format
//! `docs/formats/sealing.md`, section 3; RFC 5652 for the CMS, of which version 1 without signed attributes is written,
//! as `fsverity sign` does it.

mod der;
pub mod certificate;
mod cms;
mod key;

use composefs::digest::ObjectId;

pub use certificate::{Certificate, CertificateError};
pub use cms::{CmsError, sign, sign_all, signers};
pub use key::{KeyError, SigningKey};

/// Begins what is signed.
const MAGIC: &[u8; 8] = b"FSVerity";

/// Returns the bytes that are signed for a digest: the header, the algorithm's number, the digest's size, the digest.
#[must_use]
pub fn formatted(digest: &ObjectId) -> Vec<u8> {
    let algorithm = digest.algorithm();
    let size = u16::try_from(algorithm.digest_size()).unwrap_or_default();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&u16::from(algorithm.kernel_number()).to_le_bytes());
    bytes.extend_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(digest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests;
