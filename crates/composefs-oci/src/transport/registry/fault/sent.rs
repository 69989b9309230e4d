//! What a registry was told to prove who we are, and what is left of its words without that.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use reqwest::header::HeaderValue;
use zeroize::Zeroizing;

use crate::credentials::Credentials;

/// Stands for what is left out.
const HIDDEN: &str = "…";
/// What is shorter, in bytes, would show itself by the gaps that it leaves in words.
const SHORT: usize = 5;

/// What a registry was told, or may have been, to prove who we are.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Sent<'a> {
    /// The credentials that were found.
    pub(in super::super) login: Option<&'a Credentials>,
    /// They were given by hand.
    pub(in super::super) by_hand: bool,
    /// The value of `Authorization`.
    pub(in super::super) header: Option<&'a HeaderValue>,
}

impl Sent<'_> {
    /// Returns a text from outside as one line, without what was sent, whether as it is, in base64, percent-encoded or
    /// with backslashes.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut shown = one_line(text);
        let secrets = self.secrets();
        for secret in &secrets {
            if !shown.contains(secret.as_str()) {
                continue;
            }
            if secret.len() < SHORT {
                return HIDDEN.to_owned();
            }
            shown = shown.replace(secret.as_str(), HIDDEN);
        }
        if secrets.is_empty() {
            return shown;
        }
        let is_there = |text: String| {
            let text = Zeroizing::new(text);
            secrets.iter().any(|secret| text.contains(secret.as_str()))
        };
        let encoded = is_there(percent_decoded(&shown, false)) || is_there(percent_decoded(&shown, true));
        if encoded || is_there(unescaped(&shown)) { HIDDEN.to_owned() } else { shown }
    }

    /// Returns all that must not be shown, the longest first.
    fn secrets(&self) -> Vec<Zeroizing<String>> {
        let mut secrets = Vec::new();
        match self.login {
            Some(Credentials::Basic { user, password }) if !password.is_empty() => {
                let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
                secrets.push(Zeroizing::new(STANDARD_NO_PAD.encode(pair.as_bytes())));
                secrets.push(Zeroizing::new(STANDARD_NO_PAD.encode(password.expose())));
                secrets.push(Zeroizing::new(one_line(password.expose())));
            }
            Some(Credentials::IdentityToken(token)) => secrets.push(Zeroizing::new(one_line(token.expose()))),
            _ => {}
        }
        if let Some(value) = self.header.and_then(|header| header.to_str().ok()) {
            let value = value.split_once(' ').map_or(value, |(_, value)| value);
            secrets.push(Zeroizing::new(value.trim_end_matches('=').to_owned()));
        }
        secrets.retain(|secret| !secret.is_empty());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }
}

/// Makes one line of a text, without control characters.
pub(super) fn one_line(text: &str) -> String {
    let blank = |c: char| if c.is_whitespace() { ' ' } else { c };
    text.chars().map(blank).filter(|c| !c.is_control()).collect()
}

/// Undoes what JSON does to quotes and backslashes.
fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let next = || match chars.next()? {
        '\\' => chars.next().or(Some('\\')),
        c => Some(c),
    };
    std::iter::from_fn(next).collect()
}

/// Undoes percent-encoding, of forms also that of blanks; what is none stays.
fn percent_decoded(text: &str, form: bool) -> String {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let digit =
            |at: usize| char::from(*tail.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (*byte, digit(0).zip(digit(1))) {
            (b'%', Some((high, low))) => {
                decoded.push(high << 4 | low);
                rest = tail.get(2..).unwrap_or_default();
            }
            (b'+', _) if form => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Secret;

    #[test]
    fn nothing_that_was_sent_is_shown() {
        let login = Credentials::basic("ann", "geh eim%+\"1\\");
        let header = HeaderValue::from_static("Bearer abc.def-ghi");
        let sent = Sent { login: Some(&login), by_hand: false, header: Some(&header) };
        for (said, shown) in [
            ("user ann, password geh eim%+\"1\\ is wrong", "user ann, password … is wrong"),
            ("geh\neim%+\"1\\", "…"),
            ("g\u{0}eh eim%+\"1\\", "…"),
            ("in a URL: geh%20eim%25%2b%221%5C", "…"),
            ("in a form: geh+eim%25%2B%221%5c", "…"),
            ("quoted: geh eim%+\\\"1\\\\", "…"),
            ("got Basic YW5uOmdlaCBlaW0lKyIxXA==", "got Basic …=="),
            ("got Bearer abc.def-ghi", "got Bearer …"),
            ("100% ann %zz %", "100% ann %zz %"),
        ] {
            assert_eq!(sent.hide(said), shown, "{said}");
        }
        let token = Credentials::IdentityToken(Secret::new("refresh me"));
        let sent = Sent { login: Some(&token), ..Sent::default() };
        assert_eq!(sent.hide("no such token: refresh me"), "no such token: …");
        assert_eq!(Sent::default().hide("a\tb"), "a b");
        let short = Credentials::basic("ann", "a");
        let sent = Sent { login: Some(&short), ..Sent::default() };
        assert_eq!(sent.hide("unauthorized"), "…");
        let empty = Credentials::basic("ann", "");
        let sent = Sent { login: Some(&empty), ..Sent::default() };
        assert_eq!(sent.hide("unauthorized"), "unauthorized");
    }
}
