//! What must not be printed: passwords and tokens, and addresses that may contain them.

use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A password or token. `Debug` does not show it, it has no `Display`, and its memory is cleared when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// Returns the secret itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Tells whether it is the empty text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A URL that shows neither user and password nor query nor fragment, where signatures and tokens are.
#[derive(Clone, PartialEq, Eq)]
pub struct SafeUrl(Secret);

impl SafeUrl {
    /// Takes a URL; its text is not looked at.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Secret::new(text))
    }

    /// Returns the whole text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

#[cfg(feature = "registry")]
impl From<&reqwest::Url> for SafeUrl {
    fn from(url: &reqwest::Url) -> Self {
        Self::new(url.as_str())
    }
}

/// Shows scheme, host, port and path; `…@` and `?…` stand for what is left out.
impl fmt::Display for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.expose();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '@', '?', '#']) => (Some(scheme), rest),
            _ => (None, text),
        };
        let (place, query) = match rest.find(['?', '#']) {
            Some(at) => (rest.get(..at).unwrap_or_default(), true),
            None => (rest, false),
        };
        scheme.iter().try_for_each(|scheme| write!(f, "{scheme}://"))?;
        // Whatever is in front of the last @ could be a password that was not escaped, slashes and all.
        match place.rsplit_once('@') {
            Some((_, rest)) => write!(f, "…@{rest}")?,
            None => f.write_str(place)?,
        }
        f.write_str(if query { "?…" } else { "" })
    }
}

impl fmt::Debug for SafeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafeUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::new("geheim");
        assert!(!format!("{secret:?} {:#?}", Some(&secret)).contains("geheim"));
        assert_eq!(secret.expose(), "geheim");
        let read: Secret = serde_json::from_str("\"ge\\u0068eim\"").unwrap();
        assert_eq!(read, secret);
    }

    #[test]
    fn addresses_show_where_and_not_who() {
        for (url, shown) in [
            ("https://x.y:5000/v2/", "https://x.y:5000/v2/"),
            ("https://u:geheim@x.y/v2/a", "https://…@x.y/v2/a"),
            ("https://geheim@x.y", "https://…@x.y"),
            ("https://u:ge@heim@x.y/", "https://…@x.y/"),
            ("https://u:geheim/heim@x.y/", "https://…@x.y/"),
            ("u:geheim@x.y:1", "…@x.y:1"),
            ("https://x.y/blob?sig=geheim&x", "https://x.y/blob?…"),
            ("https://x.y/blob#geheim", "https://x.y/blob?…"),
            ("https://x.y?geheim", "https://x.y?…"),
            ("https://u:12/heim@x.y:1/a", "https://…@x.y:1/a"),
            ("", ""),
        ] {
            assert_eq!(SafeUrl::new(url).to_string(), shown, "{url}");
            assert!(!format!("{:?}", SafeUrl::new(url)).contains("geheim"));
        }
    }
}
