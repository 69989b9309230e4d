//! Xattr values that need not be stored before they are written.

use std::cmp::Ordering;

use crate::digest::ObjectId;

/// The value of an xattr.
#[derive(Clone, Copy, Debug)]
pub(in crate::erofs) enum Value<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// A redirect to a path below the object store: a slash, then these bytes.
    Path(&'a [u8]),
    /// The metacopy value of an object.
    Metacopy(&'a ObjectId),
    /// The redirect value of an object.
    Redirect(&'a ObjectId),
}

impl Value<'_> {
    /// Returns the length in bytes.
    pub(in crate::erofs) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Path(path) => path.len() + 1,
            Self::Metacopy(id) => 4 + id.algorithm().digest_size(),
            Self::Redirect(id) => 2 + 2 * id.algorithm().digest_size(),
        }
    }

    /// Appends the bytes.
    pub(in crate::erofs) fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bytes(bytes) => out.extend_from_slice(bytes),
            Self::Path(path) => {
                out.push(b'/');
                out.extend_from_slice(path);
            }
            Self::Metacopy(id) => {
                // At most 68.
                let length = self.len() as u8;
                out.extend_from_slice(&[0, length, 0, id.algorithm().kernel_number()]);
                out.extend_from_slice(id.as_bytes());
            }
            Self::Redirect(id) => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.push(b'/');
                for (at, byte) in id.as_bytes().iter().enumerate() {
                    if at == 1 {
                        out.push(b'/');
                    }
                    out.push(DIGITS[usize::from(byte >> 4)]);
                    out.push(DIGITS[usize::from(byte & 15)]);
                }
            }
        }
    }

    /// Compares as bytes.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bytes(a), Self::Bytes(b)) | (Self::Path(a), Self::Path(b)) => a.cmp(b),
            // Hex keeps the order of the bytes, and the slash is at the same place.
            (Self::Metacopy(a), Self::Metacopy(b)) | (Self::Redirect(a), Self::Redirect(b))
                if a.algorithm() == b.algorithm() =>
            {
                a.as_bytes().cmp(b.as_bytes())
            }
            _ => {
                let (mut a, mut b) = (Vec::new(), Vec::new());
                self.append_to(&mut a);
                other.append_to(&mut b);
                a.cmp(&b)
            }
        }
    }
}
