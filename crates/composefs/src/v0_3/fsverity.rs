//! Ids with the algorithm as a type.

use std::{fmt, hash::Hash};

use crate::digest::{Algorithm, ObjectId, ObjectIdError};

mod sealed {
    pub trait Sealed {
        const NATIVE: crate::digest::Algorithm;
    }
}

/// An fs-verity digest of one algorithm; 0.3's form of [`ObjectId`].
pub trait FsVerityHashValue:
    sealed::Sealed + Clone + Eq + Ord + Hash + fmt::Debug + Send + Sync + Unpin + 'static
{
    /// The hash function below the digest.
    type Digest: sha2::Digest + fmt::Debug;
    /// The kernel's number of the algorithm: 1 or 2.
    const ALGORITHM: u8;
    /// All zeros.
    const EMPTY: Self;
    /// `sha256` or `sha512`.
    const ID: &'static str;

    /// Returns the digest's bytes, 32 or 64.
    fn as_bytes(&self) -> &[u8];

    /// Takes a native id.
    ///
    /// # Errors
    /// [`ObjectIdError::Length`] for an id of the other algorithm.
    fn from_native(id: &ObjectId) -> Result<Self, ObjectIdError>;

    /// Returns the native id.
    fn to_native(&self) -> ObjectId {
        match ObjectId::from_bytes(<Self as sealed::Sealed>::NATIVE, self.as_bytes()) {
            Ok(id) => id,
            Err(_) => unreachable!("a digest has the size of its algorithm"),
        }
    }

    /// Parses hex digits of any case.
    ///
    /// # Errors
    /// [`ObjectIdError`] for another number of digits, or other characters.
    fn from_hex(hex: impl AsRef<[u8]>) -> Result<Self, ObjectIdError> {
        Self::from_native(&ObjectId::from_hex(<Self as sealed::Sealed>::NATIVE, hex)?)
    }

    /// Takes the number of a directory below `objects/` and a file name in it.
    ///
    /// # Errors
    /// [`ObjectIdError`] if the name is no object's.
    fn from_object_dir_and_basename(number: u8, basename: impl AsRef<[u8]>) -> Result<Self, ObjectIdError> {
        let mut hex = format!("{number:02x}").into_bytes();
        hex.extend_from_slice(basename.as_ref());
        Self::from_hex(hex)
    }

    /// Parses the last two components of a path, `xx/rest`.
    ///
    /// # Errors
    /// [`ObjectIdError::NotAnObjectPath`].
    fn from_object_pathname(pathname: impl AsRef<[u8]>) -> Result<Self, ObjectIdError> {
        Self::from_native(&ObjectId::from_object_path(<Self as sealed::Sealed>::NATIVE, pathname)?)
    }

    /// Returns the path below `objects/`: `xx/rest`.
    fn to_object_pathname(&self) -> String {
        self.to_native().object_path()
    }

    /// Returns the name of the directory below `objects/`.
    fn to_object_dir(&self) -> String {
        self.to_native().object_directory()
    }

    /// Returns the lower-case hex.
    fn to_hex(&self) -> String {
        self.to_native().to_hex()
    }

    /// Returns `sha256:hex` or `sha512:hex`.
    fn to_id(&self) -> String {
        self.to_native().prefixed()
    }
}

/// Returns the native algorithm of a type of ids.
#[must_use]
pub fn algorithm<ObjectID: FsVerityHashValue>() -> Algorithm {
    <ObjectID as sealed::Sealed>::NATIVE
}

macro_rules! hash_value {
    ($(#[$doc:meta])* $name:ident, $size:literal, $digest:ty, $algorithm:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(C)]
        pub struct $name([u8; $size]);

        impl sealed::Sealed for $name {
            const NATIVE: Algorithm = $algorithm;
        }

        impl FsVerityHashValue for $name {
            type Digest = $digest;
            const ALGORITHM: u8 = $algorithm.kernel_number();
            const EMPTY: Self = Self([0; $size]);
            const ID: &'static str = $algorithm.name();

            fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            fn from_native(id: &ObjectId) -> Result<Self, ObjectIdError> {
                id.as_bytes().try_into().map(Self).map_err(|_| ObjectIdError::Length {
                    algorithm: $algorithm,
                    expected: $size * 2,
                    actual: id.as_bytes().len() * 2,
                })
            }
        }

        impl From<[u8; $size]> for $name {
            fn from(digest: [u8; $size]) -> Self {
                Self(digest)
            }
        }

        impl From<$name> for [u8; $size] {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_id())
            }
        }
    };
}

hash_value!(
    /// An id of a SHA-256 repository.
    Sha256HashValue,
    32,
    sha2::Sha256,
    Algorithm::Sha256
);
hash_value!(
    /// An id of a SHA-512 repository.
    Sha512HashValue,
    64,
    sha2::Sha512,
    Algorithm::Sha512
);

#[cfg(test)]
mod tests {
    use super::*;

    fn texts_and_paths<ObjectID: FsVerityHashValue>(digits: usize) {
        let hex = "5f".repeat(digits / 2);
        let id = ObjectID::from_hex(&hex).unwrap();
        assert_eq!(id.to_hex(), hex);
        assert_eq!(id.to_object_dir(), "5f");
        assert_eq!(id.to_object_pathname(), format!("5f/{}", &hex[2..]));
        assert_eq!(format!("{id:?}"), format!("{}:{hex}", ObjectID::ID));
        assert_eq!(ObjectID::from_object_pathname(format!("a/{}", id.to_object_pathname())).unwrap(), id);
        assert_eq!(ObjectID::from_object_dir_and_basename(0x5f, &hex[2..]).unwrap(), id);
        assert_eq!(ObjectID::from_native(&id.to_native()).unwrap(), id);
        assert!(ObjectID::EMPTY.as_bytes().iter().all(|byte| *byte == 0));
        assert!(ObjectID::from_hex(&hex[2..]).is_err());
        assert!(ObjectID::from_object_pathname("5f/5f").is_err());
    }

    #[test]
    fn both_algorithms() {
        texts_and_paths::<Sha256HashValue>(64);
        texts_and_paths::<Sha512HashValue>(128);
        assert_eq!((Sha256HashValue::ALGORITHM, Sha512HashValue::ALGORITHM), (1, 2));
        assert!(Sha256HashValue::from_native(&Sha512HashValue::EMPTY.to_native()).is_err());
    }
}
