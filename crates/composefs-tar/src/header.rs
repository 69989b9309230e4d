//! The header block: 512 bytes of fixed fields, its numbers and its checksum.
//!
//! # Format
//! `docs/formats/tree.md` section 4.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use thiserror::Error;

/// Size of a header block; contents are padded to a multiple of it.
pub const BLOCK_SIZE: usize = 512;

/// One block of an archive.
pub type Block = [u8; BLOCK_SIZE];

/// Which of the three header formats a block has, by its magic and version bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// No known magic: the format of the seventh edition, without device numbers and prefix.
    V7,
    /// `ustar\0` `00`: POSIX, with a name prefix.
    Ustar,
    /// `ustar ` ` \0`: GNU, which has other data where POSIX has the prefix.
    Gnu,
}

/// Why a number in a header or a PAX record cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NumberError {
    /// Something else than digits of the expected base.
    #[error("not a number")]
    Malformed,
    /// Below zero, in a field that only counts up.
    #[error("negative")]
    Negative,
    /// More than the field's type holds.
    #[error("too large")]
    TooLarge,
}

/// A numeric field of a member, for error texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Field {
    /// Permissions.
    Mode,
    /// Numeric owner.
    Uid,
    /// Numeric group.
    Gid,
    /// Bytes of data that follow.
    Size,
    /// Modification time.
    Mtime,
    /// Major device number.
    DevMajor,
    /// Minor device number.
    DevMinor,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mode => "mode",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Size => "size",
            Self::Mtime => "mtime",
            Self::DevMajor => "major device number",
            Self::DevMinor => "minor device number",
        })
    }
}

/// A view of one header block; reads fields, judges nothing but the field itself.
#[derive(Clone, Copy)]
pub(crate) struct Header<'a>(pub(crate) &'a Block);

impl<'a> Header<'a> {
    /// The sum the block claims and the one its bytes have; equal in a good header.
    pub(crate) fn checksums(self) -> (Option<u64>, u64) {
        // Four sums of 16 bits at once: no lane gets more than 128 bytes.
        let lanes = 0x00ff_00ff_00ff_00ff;
        let sums = self.0.as_chunks::<8>().0.iter().fold(0_u64, |sums, bytes| {
            let word = u64::from_le_bytes(*bytes);
            sums.wrapping_add(word & lanes).wrapping_add((word >> 8) & lanes)
        });
        let sum: u32 =
            sums.to_le_bytes().as_chunks().0.iter().map(|lane| u32::from(u16::from_le_bytes(*lane))).sum();
        // The checksum's own field counts as eight blanks.
        let own: u32 = self.0[148..156].iter().map(|&byte| u32::from(byte)).sum();
        let actual = sum.saturating_sub(own).saturating_add(8 * 32);
        (octal(&self.0[148..156]).ok(), u64::from(actual))
    }

    pub(crate) fn format(self) -> Format {
        match &self.0[257..265] {
            b"ustar\x0000" => Format::Ustar,
            b"ustar  \0" => Format::Gnu,
            _ => Format::V7,
        }
    }

    pub(crate) fn type_flag(self) -> u8 {
        self.0[156]
    }

    /// The name field alone, without the prefix.
    pub(crate) fn name(self) -> &'a [u8] {
        until_nul(&self.0[..100])
    }

    /// Prefix and name, as the format has them.
    pub(crate) fn path(self) -> Vec<u8> {
        let name = self.name();
        let prefix = if self.format() == Format::Ustar { until_nul(&self.0[345..500]) } else { &[] };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(crate) fn link(self) -> &'a [u8] {
        until_nul(&self.0[157..257])
    }

    pub(crate) fn mode(self) -> Result<u32, NumberError> {
        narrow(unsigned(&self.0[100..108])?)
    }

    pub(crate) fn uid(self) -> Result<u32, NumberError> {
        narrow(unsigned(&self.0[108..116])?)
    }

    pub(crate) fn gid(self) -> Result<u32, NumberError> {
        narrow(unsigned(&self.0[116..124])?)
    }

    pub(crate) fn size(self) -> Result<u64, NumberError> {
        unsigned(&self.0[124..136])
    }

    pub(crate) fn mtime(self) -> Result<i64, NumberError> {
        signed(&self.0[136..148])
    }

    pub(crate) fn dev_major(self) -> Result<u64, NumberError> {
        octal(&self.0[329..337])
    }

    pub(crate) fn dev_minor(self) -> Result<u64, NumberError> {
        octal(&self.0[337..345])
    }
}

fn narrow(value: u64) -> Result<u32, NumberError> {
    u32::try_from(value).map_err(|_| NumberError::TooLarge)
}

pub(crate) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or_default()
}

/// Octal digits up to the first NUL, blanks around them trimmed; nothing is 0.
pub(crate) fn octal(field: &[u8]) -> Result<u64, NumberError> {
    let mut text = until_nul(field);
    while let [b' ' | b'\t'..=b'\r', rest @ ..] | [rest @ .., b' ' | b'\t'..=b'\r'] = text {
        text = rest;
    }
    text.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'7' if value >> 61 == 0 => Ok((value << 3) | u64::from(digit & 7)),
        b'0'..=b'7' => Err(NumberError::TooLarge),
        _ => Err(NumberError::Malformed),
    })
}

/// A field's bytes as a big-endian number, if its top bit says so. Fields have at most 12 bytes.
fn base256(field: &[u8]) -> Option<i128> {
    let (&first, rest) = field.split_first()?;
    let start = match first {
        0xff => -1,
        0x80.. => i128::from(first & 0x7f),
        _ => return None,
    };
    Some(rest.iter().fold(start, |value, &byte| (value << 8) | i128::from(byte)))
}

pub(crate) fn unsigned(field: &[u8]) -> Result<u64, NumberError> {
    match base256(field) {
        None => octal(field),
        Some(value) if value < 0 => Err(NumberError::Negative),
        Some(value) => u64::try_from(value).map_err(|_| NumberError::TooLarge),
    }
}

pub(crate) fn signed(field: &[u8]) -> Result<i64, NumberError> {
    match base256(field) {
        None => i64::try_from(octal(field)?).map_err(|_| NumberError::TooLarge),
        Some(value) => i64::try_from(value).map_err(|_| NumberError::TooLarge),
    }
}

/// Decimal digits and nothing else, at least one.
pub(crate) fn decimal(text: &[u8]) -> Result<u64, NumberError> {
    if text.is_empty() {
        return Err(NumberError::Malformed);
    }
    text.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'9' => value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit & 15)))
            .ok_or(NumberError::TooLarge),
        _ => Err(NumberError::Malformed),
    })
}

/// The zero bytes that fill `size` up to a multiple of the block size.
pub(crate) fn padding(size: u64) -> u64 {
    size.wrapping_neg() & 511
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_takes_blanks_and_nuls_around_digits() {
        for (field, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"644 \0\0\0\0", 0o644),
            (b"\x0b\t12\n\x0c\r", 0o12),
            (b"00000644", 0o644),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"        ", 0),
            (b"7\0garbag", 7),
            (b"777777777777", 0o777_777_777_777),
        ] {
            assert_eq!(octal(field), Ok(value), "{}", field.escape_ascii());
        }
    }

    #[test]
    fn octal_refuses_everything_else() {
        for field in
            [&b"0000648\0"[..], b"0x12\0\0\0\0", b"-1\0\0\0\0\0\0", b"1 2\0\0\0\0\0", b"\x8012\0\0\0\0\0"]
        {
            assert_eq!(octal(field), Err(NumberError::Malformed), "{}", field.escape_ascii());
        }
        assert_eq!(octal(&[b'7'; 22]), Err(NumberError::TooLarge));
    }

    #[test]
    fn base_256_is_big_endian_with_the_top_bit_cleared() {
        assert_eq!(unsigned(&[0x80, 0, 0, 0, 0, 0, 1, 2]), Ok(258));
        assert_eq!(
            unsigned(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Ok(i64::MAX as u64)
        );
        assert_eq!(unsigned(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Err(NumberError::TooLarge));
        assert_eq!(unsigned(&[0xc0, 0, 0, 0, 0, 0, 0, 0]), Ok(1 << 62));
        assert_eq!(unsigned(&[0xff; 8]), Err(NumberError::Negative));
        assert_eq!(signed(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb]), Ok(-5));
        assert_eq!(signed(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb]), Ok(-5));
        assert_eq!(signed(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(NumberError::TooLarge));
        assert_eq!(signed(&[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(NumberError::TooLarge));
    }

    #[test]
    fn decimal_is_digits_only() {
        assert_eq!(decimal(b"4000000000"), Ok(4_000_000_000));
        assert_eq!(decimal(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), Err(NumberError::TooLarge));
        for text in [&b""[..], b"+1", b"-1", b" 1", b"1 ", b"1.0", b"0x1"] {
            assert_eq!(decimal(text), Err(NumberError::Malformed), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn padding_fills_a_block() {
        for (size, fill) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511), (u64::MAX, 1)] {
            assert_eq!(padding(size), fill);
        }
    }
}
