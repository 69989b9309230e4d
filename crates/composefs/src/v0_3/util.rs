//! SHA-256 digests of streams' contents.

use std::io;

/// The SHA-256 of a stream's contents.
pub type Sha256Digest = [u8; 32];

/// Parses exactly 64 hex digits of any case.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for anything else.
pub fn parse_sha256(string: impl AsRef<str>) -> io::Result<Sha256Digest> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "not a sha256 of 64 hex digits");
    let text = string.as_ref().as_bytes();
    let mut digest = [0; 32];
    if text.len() != digest.len() * 2 {
        return Err(invalid());
    }
    for (to, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (Some(high), Some(low)) =
            (pair.first().copied().and_then(nibble), pair.last().copied().and_then(nibble))
        else {
            return Err(invalid());
        };
        *to = high << 4 | low;
    }
    Ok(digest)
}

/// Returns the lower-case hex of a digest.
pub(crate) fn hex(digest: &Sha256Digest) -> String {
    let mut text = String::with_capacity(64);
    crate::digest::object_id::push_hex(&mut text, digest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_64_hex_digits() {
        let text = "4E957afbac1f16274322410fe45d35a63cf122d0c52d8df2705d3b192d82c250";
        assert_eq!(hex(&parse_sha256(text).unwrap()), text.to_lowercase());
        for bad in ["", "4e", &text[1..], &format!("{text}0"), &text.replace('7', "g")] {
            assert_eq!(parse_sha256(bad).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bad}");
        }
    }
}
