//! The escapes in fields.
//!
//! # Format
//! `docs/formats/dumpfile.md`, "Escapes" and section 2.

use std::borrow::Cow;

/// Which bytes are escaped besides the backslash and those outside 0x21..0x7e.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Paths: nothing else.
    Path,
    /// Names and values of extended attributes: `=` as well.
    Xattr,
    /// Fields that may be absent: nothing is `-`, and a single `-` is escaped.
    Optional,
}

/// Appends `bytes` in their escaped form.
pub fn push_escaped(out: &mut Vec<u8>, bytes: &[u8], escape: Escape) {
    if escape == Escape::Optional {
        match bytes {
            b"" => return out.push(b'-'),
            b"-" => return out.extend_from_slice(b"\\x2d"),
            _ => {}
        }
    }
    for &byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'=' if escape == Escape::Xattr => push_hex(out, byte),
            0x21..=0x7e => out.push(byte),
            _ => push_hex(out, byte),
        }
    }
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(b"\\x");
    for nibble in [byte >> 4, byte & 15] {
        out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0') as u8);
    }
}

/// Undoes the escapes of a field; `None` for an unknown, cut or dangling one.
#[must_use]
pub fn unescape(field: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !field.contains(&b'\\') {
        return Some(Cow::Borrowed(field));
    }
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' {
            out.push(byte);
            rest = after;
            continue;
        }
        let (plain, after) = match after.split_first()? {
            (b'\\', after) => (b'\\', after),
            (b'n', after) => (b'\n', after),
            (b'r', after) => (b'\r', after),
            (b't', after) => (b'\t', after),
            (b'x', after) => {
                let (&[high, low], after) = after.split_first_chunk::<2>()?;
                (hex_digit(high)? << 4 | hex_digit(low)?, after)
            }
            _ => return None,
        };
        out.push(plain);
        rest = after;
    }
    Some(Cow::Owned(out))
}

fn hex_digit(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}
