//! The four digests of an image, none to be taken for another, and a reader that checks one.
//!
//! # Format
//! OCI image-spec, descriptors; `docs/formats/oci.md`, section 1.

use std::{
    fmt,
    io::{self, Read},
    str::FromStr,
};

use composefs::digest::{VerityHasher, hash::Sha256};
use sha2::{Digest as _, Sha512};

/// A digest as OCI writes it: `algorithm:encoded`.
///
/// sha256 and sha512 are checked for their length and can be computed; others are text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Box<str>);

impl Digest {
    /// Parses the OCI grammar; of sha256 and sha512, exactly 64 and 128 lower-case hex digits.
    ///
    /// # Errors
    /// [`DigestError`] with the text.
    pub fn new(text: &str) -> Result<Self, DigestError> {
        let bad = || DigestError(text.chars().take(200).collect());
        let (algorithm, encoded) = text.split_once(':').ok_or_else(bad)?;
        let hex = |length: usize| {
            encoded.len() == length && encoded.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        let component = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let good = text.len() <= 250
            && match algorithm {
                "sha256" => hex(64),
                "sha384" => hex(96),
                "sha512" => hex(128),
                other => {
                    other.split(['+', '.', '_', '-']).all(component)
                        && !encoded.is_empty()
                        && encoded
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
                }
            };
        if good { Ok(Self(text.into())) } else { Err(bad()) }
    }

    /// Hashes bytes with SHA-256.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        let mut hasher = DigestHasher::Sha256(Sha256::new());
        hasher.update(bytes);
        hasher.finish()
    }

    /// Makes a digest from the 32 bytes of a SHA-256.
    #[must_use]
    pub fn from_sha256(bytes: &[u8; 32]) -> Self {
        encode("sha256", bytes)
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the algorithm's name.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// Returns what stands behind the algorithm.
    #[must_use]
    pub fn encoded(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, encoded)| encoded)
    }

    /// Returns a hasher that computes such a digest; `None` for an algorithm we don't have.
    #[must_use]
    pub fn hasher(&self) -> Option<DigestHasher> {
        match self.algorithm() {
            "sha256" => Some(DigestHasher::Sha256(Sha256::new())),
            "sha384" => Some(DigestHasher::Sha384(sha2::Sha384::new())),
            "sha512" => Some(DigestHasher::Sha512(Sha512::new())),
            _ => None,
        }
    }

    /// Hashes bytes with this digest's algorithm; `None` for one we don't have.
    #[must_use]
    pub fn of_same_algorithm(&self, bytes: &[u8]) -> Option<Self> {
        let mut hasher = self.hasher()?;
        hasher.update(bytes);
        Some(hasher.finish())
    }
}

fn encode(algorithm: &str, bytes: &[u8]) -> Digest {
    let mut text = String::with_capacity(algorithm.len() + 1 + bytes.len() * 2);
    text.push_str(algorithm);
    text.push(':');
    composefs::digest::object_id::push_hex(&mut text, bytes);
    Digest(text.into())
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::new(text)
    }
}

/// Not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest such as sha256:4e95…")]
pub struct DigestError(String);

/// A running hash that ends in a [`Digest`].
#[derive(Clone, Debug)]
pub enum DigestHasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-384.
    Sha384(sha2::Sha384),
    /// SHA-512.
    Sha512(Sha512),
}

impl DigestHasher {
    /// Starts a SHA-256.
    #[must_use]
    pub fn sha256() -> Self {
        Self::Sha256(Sha256::new())
    }

    /// Hashes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => state.update(bytes),
            Self::Sha384(state) => state.update(bytes),
            Self::Sha512(state) => state.update(bytes),
        }
    }

    /// Hashes more bytes, which are the next of a file too; see [`VerityHasher::update_with`].
    pub fn update_with(&mut self, file: &mut VerityHasher, bytes: &[u8]) {
        match self {
            Self::Sha256(state) => file.update_with(state, bytes),
            other => {
                other.update(bytes);
                file.update(bytes);
            }
        }
    }

    /// Returns the digest.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(state) => encode("sha256", &state.finish()),
            Self::Sha384(state) => encode("sha384", &state.finalize()),
            Self::Sha512(state) => encode("sha512", &state.finalize()),
        }
    }
}

macro_rules! digest_of {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Digest);

        impl $name {
            /// Takes a digest for this role; what it is a digest of is the caller's knowledge.
            #[must_use]
            pub const fn new(digest: Digest) -> Self {
                Self(digest)
            }

            /// Returns the plain digest.
            #[must_use]
            pub const fn digest(&self) -> &Digest {
                &self.0
            }

            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                Digest::new(text).map(Self)
            }
        }
    };
}

digest_of!(
    /// The digest of a blob as it is shipped, compressed or not.
    BlobDigest
);
digest_of!(
    /// The digest of a layer's uncompressed tar.
    DiffId
);
digest_of!(
    /// The digest of a manifest's bytes.
    ManifestDigest
);
digest_of!(
    /// The digest of a config's bytes.
    ConfigDigest
);

/// How a blob differs from what its descriptor promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobFault {
    /// Its contents hash to something else.
    #[error("contents hash to {actual}")]
    Digest {
        /// What they hash to.
        actual: Digest,
    },
    /// It ended early, or went on.
    #[error("has {actual} bytes{}, the descriptor says {expected}", if *.at_least { " or more" } else { "" })]
    Size {
        /// The descriptor's size.
        expected: u64,
        /// How many bytes came.
        actual: u64,
        /// More may have come: reading stopped there.
        at_least: bool,
    },
    /// Its digest's algorithm is not one we can compute.
    #[error("digest algorithm {0} cannot be checked")]
    Algorithm(String),
}

/// A reader that checks digest and size of what it passes on before it reports the end.
///
/// A fault is an [`io::Error`] of kind `InvalidData` that wraps a [`BlobFault`].
#[derive(Debug)]
pub struct VerifyingReader<R> {
    inner: R,
    hasher: Option<DigestHasher>,
    expected: Digest,
    size: Option<u64>,
    seen: u64,
}

impl<R: Read> VerifyingReader<R> {
    /// Checks `inner` against a digest and, if given, a size in bytes.
    ///
    /// # Errors
    /// [`BlobFault::Algorithm`] when the digest's algorithm cannot be computed.
    pub fn new(inner: R, expected: &Digest, size: Option<u64>) -> Result<Self, BlobFault> {
        let hasher =
            expected.hasher().ok_or_else(|| BlobFault::Algorithm(expected.algorithm().to_owned()))?;
        Ok(Self { inner, hasher: Some(hasher), expected: expected.clone(), size, seen: 0 })
    }

    fn check_end(&mut self) -> Result<(), BlobFault> {
        if let Some(expected) = self.size.filter(|&size| size != self.seen) {
            return Err(BlobFault::Size { expected, actual: self.seen, at_least: false });
        }
        if let Some(hasher) = self.hasher.take() {
            let actual = hasher.finish();
            if actual != self.expected {
                return Err(BlobFault::Digest { actual });
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let got = self.inner.read(buffer)?;
        let fault = if got == 0 {
            self.check_end().err()
        } else {
            self.seen += got as u64;
            if let (Some(hasher), Some(bytes)) = (&mut self.hasher, buffer.get(..got)) {
                hasher.update(bytes);
            }
            self.size.filter(|&size| self.seen > size).map(|expected| BlobFault::Size {
                expected,
                actual: self.seen,
                at_least: true,
            })
        };
        fault.map_or(Ok(got), |fault| Err(io::Error::new(io::ErrorKind::InvalidData, fault)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        let hex = "4e957afbac1f16274322410fe45d35a63cf122d0c52d8df2705d3b192d82c250";
        assert!(Digest::new(&format!("sha256:{hex}")).is_ok());
        assert!(Digest::new("a+b.c:Z=_-9").is_ok());
        let upper = hex.to_uppercase();
        for bad in
            [hex, "sha256:", "sha256:12", &format!("sha256:{upper}"), "a/b:c", ":x", "x:", "a..b:c", "x:a/b"]
        {
            assert!(Digest::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reader_tells_each_fault() {
        let digest = Digest::sha256(b"hello");
        let read = |bytes: &[u8], size| {
            let mut out = Vec::new();
            VerifyingReader::new(bytes, &digest, size).unwrap().read_to_end(&mut out).map_err(|error| {
                error.into_inner().unwrap().downcast::<BlobFault>().map(|fault| *fault).unwrap()
            })
        };
        assert_eq!(read(b"hello", Some(5)), Ok(5));
        assert!(matches!(read(b"hellO", Some(5)), Err(BlobFault::Digest { .. })));
        assert!(matches!(read(b"hell", Some(5)), Err(BlobFault::Size { actual: 4, at_least: false, .. })));
        assert!(matches!(read(b"hello!", Some(5)), Err(BlobFault::Size { at_least: true, .. })));
        assert!(VerifyingReader::new(&b""[..], &Digest::new("b3:00").unwrap(), None).is_err());
    }
}
