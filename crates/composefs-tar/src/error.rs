//! What makes an archive unreadable.

use thiserror::Error;

use crate::header::NumberError;
use crate::pax::PaxError;
use crate::show::Shown;

/// Why an archive cannot be read on; offsets are bytes from its start.
///
/// A member that can be split but is no entry of a tree is not among these: see
/// [`EntryError`](crate::EntryError).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// A header whose checksum is not the sum of its bytes: damage, or no header at all.
    #[error("header at byte {offset}: wrong checksum")]
    Checksum {
        /// Where the header begins.
        offset: u64,
        /// The checksum it has, if that is a number.
        claimed: Option<u64>,
        /// The sum of its bytes.
        actual: u64,
    },
    /// A member whose size is unknown, so that nobody knows where the next one begins.
    #[error("member {}: bad size", Shown(.path))]
    Size {
        /// Where its header begins.
        offset: u64,
        /// The name in the header.
        path: Vec<u8>,
        /// What is wrong with the size.
        source: NumberError,
    },
    /// A PAX header that is not a list of records.
    #[error("pax header at byte {offset}")]
    Pax {
        /// Where the header begins.
        offset: u64,
        /// What is wrong with it.
        source: PaxError,
    },
    /// Extension headers of one member with more data than allowed.
    #[error("extension headers at byte {offset} have more than {limit} bytes")]
    ExtensionBytes {
        /// Where the header that goes too far begins.
        offset: u64,
        /// The bound, see [`Limits`](crate::Limits).
        limit: u64,
    },
    /// More extension headers before one member than allowed.
    #[error("more than {limit} extension headers at byte {offset}")]
    ExtensionHeaders {
        /// Where the first header too many begins.
        offset: u64,
        /// The bound, see [`Limits`](crate::Limits).
        limit: u32,
    },
    /// Two extension headers of one type before one member; refused in strict mode only.
    #[error("second extension header `{}` for one member at byte {offset}", type_flag.escape_ascii())]
    DuplicateExtension {
        /// Where the second begins.
        offset: u64,
        /// `x`, `L` or `K`.
        type_flag: u8,
    },
    /// A sparse member; refused in strict mode only.
    #[error("sparse member {}", Shown(.path))]
    Sparse {
        /// Where its header begins.
        offset: u64,
        /// Its name.
        path: Vec<u8>,
    },
    /// Extension headers at the end of the archive.
    #[error("extension headers without a member after them before byte {offset}")]
    NoMember {
        /// Where a header was expected.
        offset: u64,
    },
    /// Input that ends inside a header, a member or its padding.
    #[error("archive ends at byte {offset}, {}", Reached(.path))]
    Cut {
        /// How much there is.
        offset: u64,
        /// The last member that began; empty if none did.
        path: Vec<u8>,
    },
    /// An object of a splitstream where the archive has none, or one of another size.
    #[error("object of {size} bytes at byte {offset} does not belong there")]
    External {
        /// Where it stands in the archive.
        offset: u64,
        /// Its size.
        size: u64,
        /// The size of the one that belongs there, if one does.
        expected: Option<u64>,
    },
}

/// How far an archive got: the last member that began.
struct Reached<'a>(&'a [u8]);

impl std::fmt::Display for Reached<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("before its first member");
        }
        write!(f, "in or after member {}", Shown(self.0))
    }
}
