//! Paths and names out of images, as text that harms no terminal and no script.

use std::borrow::Cow;

/// Shows bytes as they are if they are UTF-8 without control characters, else escaped as in a Rust literal.
pub(crate) fn show(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.escape_ascii().to_string()),
    }
}

/// A path or name as JSON has it: a string, or a list of its bytes where it is not UTF-8.
#[derive(Debug)]
pub(crate) struct Exact(pub(crate) Vec<u8>);

impl serde::Serialize for Exact {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => self.0.serialize(serializer),
        }
    }
}

impl std::fmt::Display for Exact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&show(&self.0))
    }
}

/// Shows text in one line, as [`show`].
pub(crate) fn name(text: &str) -> Cow<'_, str> {
    show(text.as_bytes())
}

/// Shows text of several lines, whose other control characters are escaped.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    let harms = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.chars().any(harms) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match harms(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::{Exact, lines, show};

    #[test]
    fn json_has_what_there_is() {
        let json = |bytes: &[u8]| serde_json::to_string(&Exact(bytes.to_vec())).unwrap();
        assert_eq!(json("a\nü\\n".as_bytes()), r#""a\nü\\n""#);
        assert_eq!(json(b"\xff\xfe"), "[255,254]");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(lines("a\n\tb ü\n"), "a\n\tb ü\n");
        assert_eq!(lines("a\x1b[31m\u{9b}\r\n"), "a\\u{1b}[31m\\u{9b}\\r\n");
    }

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
