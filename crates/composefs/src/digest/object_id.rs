//! Ids of objects and images: fs-verity digests as values and as text.

use std::{fmt, hash::Hash};

use super::Algorithm;

/// An fs-verity digest: the name of an object or of an image.
///
/// Ordered by algorithm, then bytewise. `Display` is the bare lower-case hex; [`ObjectId::prefixed`] adds
/// the algorithm. It looks like an OCI digest then, and is none: it is not a hash of the contents.
#[derive(Clone, Copy)]
pub struct ObjectId {
    algorithm: Algorithm,
    /// The digest, then zeros.
    bytes: [u8; 64],
}

impl ObjectId {
    /// Takes a digest of exactly the algorithm's size.
    ///
    /// # Errors
    /// [`ObjectIdError::Length`] for any other size.
    pub fn from_bytes(algorithm: Algorithm, digest: &[u8]) -> Result<Self, ObjectIdError> {
        if digest.len() != algorithm.digest_size() {
            return Err(ObjectIdError::Length {
                algorithm,
                expected: algorithm.digest_size() * 2,
                actual: digest.len() * 2,
            });
        }
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(digest) {
            *to = *from;
        }
        Ok(Self { algorithm, bytes })
    }

    /// Parses hex digits of any case.
    ///
    /// # Errors
    /// [`ObjectIdError::Length`], [`ObjectIdError::NotHex`].
    pub fn from_hex(algorithm: Algorithm, text: impl AsRef<[u8]>) -> Result<Self, ObjectIdError> {
        let text = text.as_ref();
        let expected = algorithm.digest_size() * 2;
        if text.len() != expected {
            return Err(ObjectIdError::Length { algorithm, expected, actual: text.len() });
        }
        let mut bytes = [0; 64];
        for (to, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            let [high, low] = pair else { return Err(ObjectIdError::NotHex) };
            *to = (hex_digit(*high)? << 4) | hex_digit(*low)?;
        }
        Ok(Self { algorithm, bytes })
    }

    /// Parses hex digits, the algorithm being told by their number.
    ///
    /// # Errors
    /// [`ObjectIdError::UnknownLength`], [`ObjectIdError::NotHex`].
    pub fn from_any_hex(text: impl AsRef<[u8]>) -> Result<Self, ObjectIdError> {
        let text = text.as_ref();
        let algorithm =
            Algorithm::from_hex_length(text.len()).ok_or(ObjectIdError::UnknownLength(text.len()))?;
        Self::from_hex(algorithm, text)
    }

    /// Parses `sha256:hex` or `sha512:hex`.
    ///
    /// # Errors
    /// [`ObjectIdError::NoPrefix`], and those of [`ObjectId::from_hex`].
    pub fn from_prefixed(text: &str) -> Result<Self, ObjectIdError> {
        let (algorithm, hex) = text.split_once(':').ok_or(ObjectIdError::NoPrefix)?;
        Self::from_hex(algorithm.parse().map_err(|_| ObjectIdError::NoPrefix)?, hex)
    }

    /// Parses the trailing `xx/yyyy…` of a path; what stands before it must end in `/`.
    ///
    /// # Errors
    /// [`ObjectIdError::NotAnObjectPath`].
    pub fn from_object_path(algorithm: Algorithm, path: impl AsRef<[u8]>) -> Result<Self, ObjectIdError> {
        let path = path.as_ref();
        let length = algorithm.digest_size() * 2 + 1;
        let (before, tail) = path
            .len()
            .checked_sub(length)
            .and_then(|at| path.split_at_checked(at))
            .ok_or(ObjectIdError::NotAnObjectPath)?;
        if !(before.is_empty() || before.ends_with(b"/")) {
            return Err(ObjectIdError::NotAnObjectPath);
        }
        match tail {
            [a, b, b'/', rest @ ..] => {
                let hex: Vec<u8> = [*a, *b].into_iter().chain(rest.iter().copied()).collect();
                Self::from_hex(algorithm, hex).map_err(|_| ObjectIdError::NotAnObjectPath)
            }
            _ => Err(ObjectIdError::NotAnObjectPath),
        }
    }

    /// Returns the algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the digest, 32 or 64 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.algorithm.digest_size()).unwrap_or_default()
    }

    /// Returns the lower-case hex, 64 or 128 digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let mut text = String::with_capacity(self.algorithm.digest_size() * 2);
        push_hex(&mut text, self.as_bytes());
        text
    }

    /// Returns `sha256:hex` or `sha512:hex`.
    #[must_use]
    pub fn prefixed(&self) -> String {
        format!("{}:{self}", self.algorithm)
    }

    /// Returns the path below `objects/`: `xx/yyyy…`.
    #[must_use]
    pub fn object_path(&self) -> String {
        let mut text = self.to_hex();
        text.insert(2, '/');
        text
    }

    /// Returns the name of the directory below `objects/`: the first two digits.
    #[must_use]
    pub fn object_directory(&self) -> String {
        let mut text = String::with_capacity(2);
        push_hex(&mut text, self.bytes.get(..1).unwrap_or_default());
        text
    }

    /// Returns the name inside [`ObjectId::object_directory`]: 62 or 126 digits.
    #[must_use]
    pub fn object_file_name(&self) -> String {
        let mut text = String::with_capacity(self.algorithm.digest_size() * 2);
        push_hex(&mut text, self.as_bytes().get(1..).unwrap_or_default());
        text
    }
}

/// The value of each digit, and 255 for what is none: a collection reads the name of every object.
const DIGITS: [u8; 256] = {
    let mut digits = [255; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        digits[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

fn hex_digit(digit: u8) -> Result<u8, ObjectIdError> {
    match DIGITS.get(usize::from(digit)) {
        Some(&value) if value < 16 => Ok(value),
        _ => Err(ObjectIdError::NotHex),
    }
}

/// Appends the lower-case hex of `bytes`.
pub fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
}

impl PartialEq for ObjectId {
    fn eq(&self, other: &Self) -> bool {
        self.algorithm == other.algorithm && self.bytes == other.bytes
    }
}

impl Eq for ObjectId {}

impl PartialOrd for ObjectId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.algorithm, &self.bytes).cmp(&(other.algorithm, &other.bytes))
    }
}

impl Hash for ObjectId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_hex())
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefixed())
    }
}

/// Why a text or byte string is no object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectIdError {
    /// The number of hex digits is not the algorithm's.
    #[error("{algorithm} ids have {expected} hex digits, not {actual}")]
    Length {
        /// The algorithm asked for.
        algorithm: Algorithm,
        /// Its number of digits.
        expected: usize,
        /// The number found.
        actual: usize,
    },
    /// The number of hex digits is no algorithm's.
    #[error("ids have 64 or 128 hex digits, not {0}")]
    UnknownLength(usize),
    /// A character is no hex digit.
    #[error("not a hex number")]
    NotHex,
    /// There is no `sha256:` or `sha512:` in front.
    #[error("ids begin with `sha256:` or `sha512:`")]
    NoPrefix,
    /// The path does not end in `xx/rest` of the right length.
    #[error("not an object path")]
    NotAnObjectPath,
}
