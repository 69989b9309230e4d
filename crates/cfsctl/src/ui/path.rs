//! Paths and names out of images, as text that harms no terminal and no script.

use std::borrow::Cow;

/// Shows bytes as they are if they are UTF-8 without control characters, else escaped as in a Rust literal.
pub(crate) fn show(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.escape_ascii().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn only_what_could_harm_is_escaped() {
        for (bytes, text) in [
            (&b"/usr/bin"[..], "/usr/bin"),
            ("/Übung \\ ä".as_bytes(), "/Übung \\ ä"),
            (b"a\nb", "a\\nb"),
            (b"\x1b[31m", "\\x1b[31m"),
            (b"\xff", "\\xff"),
            ("\u{9b}31m".as_bytes(), "\\xc2\\x9b31m"),
        ] {
            assert_eq!(show(bytes), text);
        }
    }
}
