//! The name of an image in a registry.
//!
//! # Format
//! `docs/formats/transports.md`, section 1: `[DOMAIN/]PATH[:TAG][@DIGEST]` with Docker Hub's rules.

use std::{fmt, str::FromStr};

use crate::digest::ManifestDigest;

/// The registry that names without a domain mean.
const HUB: &str = "docker.io";
/// Its other name.
const HUB_INDEX: &str = "index.docker.io";
/// What official images of the hub are below.
const HUB_LIBRARY: &str = "library/";
/// The tag that no tag and no digest mean.
const LATEST: &str = "latest";
/// The longest domain and path together, in bytes.
const NAME_MAX: usize = 255;
/// The longest tag, in bytes.
const TAG_MAX: usize = 128;

/// An image in a registry, its name written out: `docker.io/library/debian:12` for `debian:12`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistryReference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<ManifestDigest>,
}

/// Why a text is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// A part of the path breaks the grammar.
    #[error(
        "`{0}` is no repository name: lower-case letters and digits, separated by one of `.`, `_`, `__` or dashes"
    )]
    Path(String),
    /// The domain breaks the grammar.
    #[error("`{0}` is no registry: a host name or address, perhaps with a port")]
    Domain(String),
    /// The tag breaks the grammar.
    #[error("`{0}` is no tag: up to 128 letters, digits, dots, dashes and underscores")]
    Tag(String),
    /// The digest is none.
    #[error("`{0}` is no digest")]
    Digest(String),
    /// Domain and path are too long.
    #[error("a name of {0} bytes, more than 255")]
    Length(usize),
    /// A user, perhaps with a password, is in front of the registry; neither is shown.
    #[error("a user and a password are no part of a name")]
    Userinfo,
    /// 64 hex digits and nothing else could be an image's id.
    #[error("`{0}` could be an id; say more of the name")]
    LooksLikeId(String),
}

impl RegistryReference {
    /// Returns the registry, host and port: `docker.io`, `localhost:5000`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the repository within the registry: `library/debian`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the tag, if one was given; beside a digest it is for display only.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, if one was given.
    #[must_use]
    pub const fn digest(&self) -> Option<&ManifestDigest> {
        self.digest.as_ref()
    }

    /// Returns what to ask a registry for: the digest, else the tag, else `latest`.
    #[must_use]
    pub fn wanted(&self) -> &str {
        self.digest.as_ref().map_or_else(|| self.tag().unwrap_or(LATEST), ManifestDigest::as_str)
    }

    /// Returns domain and path, as keys of credentials, mirrors and policies have them.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Returns the same image in another place; `name` is domain and path.
    ///
    /// # Errors
    /// [`NameError`] if `name` is none.
    pub fn renamed(&self, name: &str) -> Result<Self, NameError> {
        let (domain, path) = split_domain(name);
        Self::check(domain, &path, name)?;
        Ok(Self { domain: domain.to_owned(), path, tag: self.tag.clone(), digest: self.digest.clone() })
    }

    /// Makes the name of an image of a registry, without tag and digest; nothing of Docker Hub's rules.
    ///
    /// # Errors
    /// [`NameError`] if one of them is none.
    pub(crate) fn in_domain(domain: &str, path: &str) -> Result<Self, NameError> {
        Self::check(domain, path, path)?;
        Ok(Self { domain: domain.to_owned(), path: path.to_owned(), tag: None, digest: None })
    }

    /// Returns the image of a digest under the same name; a tag stays, for display.
    #[must_use]
    pub fn at(&self, digest: &ManifestDigest) -> Self {
        Self { digest: Some(digest.clone()), ..self.clone() }
    }

    fn check(domain: &str, path: &str, name: &str) -> Result<(), NameError> {
        if domain.len() + 1 + path.len() > NAME_MAX {
            return Err(NameError::Length(domain.len() + 1 + path.len()));
        }
        if !is_domain(domain) {
            return Err(NameError::Domain(domain.to_owned()));
        }
        if !path.split('/').all(is_path_component) {
            return Err(NameError::Path(name.to_owned()));
        }
        Ok(())
    }
}

impl FromStr for RegistryReference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if userinfo(text).is_some_and(|(_, place)| place.contains('/')) {
            return Err(NameError::Userinfo);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                // Of several parts the first could belong to a password.
                let shown = || digest.rsplit('@').next().unwrap_or_default().to_owned();
                let parsed = digest.parse().map_err(|_| NameError::Digest(shown()))?;
                (rest, Some(parsed))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(NameError::Tag(tag.to_owned()));
        }
        if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NameError::LooksLikeId(name.to_owned()));
        }
        let (domain, path) = split_domain(name);
        Self::check(domain, &path, name)?;
        Ok(Self { domain: domain.to_owned(), path, tag: tag.map(str::to_owned), digest })
    }
}

/// Returns what could be a user and a password, and what stands behind it, if a name has them.
fn userinfo(text: &str) -> Option<(&str, &str)> {
    let is_digest = |text: &str| ["sha256:", "sha512:"].iter().any(|start| text.starts_with(start));
    let name = match text.rsplit_once('@') {
        Some((name, digest)) if is_digest(digest) && !digest.contains('/') => name,
        _ => text,
    };
    // Whatever is in front of the last @ could be a password that was not escaped, slashes and all.
    let (user, place) = name.rsplit_once('@')?;
    (user.contains(':') || place.contains('/')).then(|| (user, text.get(user.len() + 1..).unwrap_or(place)))
}

/// Returns what may be shown of a text that should have been a reference: without user and password.
pub(super) fn without_userinfo(text: &str) -> String {
    let start =
        text.find("//").filter(|at| text.get(..*at).is_some_and(|transport| transport.ends_with(':')));
    let (transport, name) = text.split_at(start.map_or(0, |at| at + 2));
    match userinfo(name) {
        Some((_, place)) => format!("{transport}…@{place}"),
        None => text.to_owned(),
    }
}

/// Splits a name where its first component is a domain, and writes out what the hub leaves out.
fn split_domain(name: &str) -> (&str, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, path)) if looks_like_domain(first) => (first, path),
        _ => (HUB, name),
    };
    if domain != HUB && domain != HUB_INDEX {
        return (domain, path.to_owned());
    }
    let library = if path.contains('/') { "" } else { HUB_LIBRARY };
    (HUB, format!("{library}{path}"))
}

/// Tells whether the first component of a name is a domain.
pub(crate) fn looks_like_domain(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_path_component(text: &str) -> bool {
    let alnum = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = text.bytes().next().is_some_and(alnum) && text.bytes().last().is_some_and(alnum);
    // What is between two runs of letters and digits must be one separator.
    edges
        && text
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        match (&self.tag, &self.digest) {
            (None, None) => write!(f, ":{LATEST}"),
            (tag, digest) => {
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
                digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<RegistryReference>().unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
    }

    #[test]
    fn the_hub_is_written_out() {
        assert_eq!(canonical("debian"), "docker.io/library/debian:latest");
        assert_eq!(canonical("debian:12"), "docker.io/library/debian:12");
        assert_eq!(canonical("me/tool"), "docker.io/me/tool:latest");
        assert_eq!(canonical("index.docker.io/debian"), "docker.io/library/debian:latest");
        assert_eq!(canonical("docker.io/a/b/c:x"), "docker.io/a/b/c:x");
    }

    #[test]
    fn domains_and_ports() {
        assert_eq!(canonical("localhost/x"), "localhost/x:latest");
        assert_eq!(canonical("localhost:5000/x:v1"), "localhost:5000/x:v1");
        assert_eq!(canonical("Registry/x"), "Registry/x:latest");
        assert_eq!(canonical("[::1]:5000/x"), "[::1]:5000/x:latest");
        assert_eq!(canonical("quay.io/a/b__c/d-e.f"), "quay.io/a/b__c/d-e.f:latest");
    }

    #[test]
    fn a_digest_counts_more_than_a_tag() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let reference: RegistryReference = format!("quay.io/a/b:t@{digest}").parse().unwrap();
        assert_eq!((reference.wanted(), reference.tag()), (digest.as_str(), Some("t")));
        assert_eq!(reference.to_string(), format!("quay.io/a/b:t@{digest}"));
    }

    #[test]
    fn passwords_are_no_part_and_are_not_shown() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for text in
            ["ann:geheim@h.io/x", "ann:ge/he@im@h.io:5000/x:v1", "geheim@h.io/x", "a:geh@sha256:1@h.io/x"]
        {
            for text in [text.to_owned(), format!("{text}@{digest}")] {
                assert_eq!(text.parse::<RegistryReference>(), Err(NameError::Userinfo), "{text}");
                for transport in ["", "docker://", "docker:"] {
                    let text = format!("{transport}{text}");
                    let error = text.parse::<crate::reference::Reference>().unwrap_err();
                    let shown = format!("{error} {error:?} {}", error.hint().unwrap_or_default());
                    assert!(!shown.contains("geh") && shown.contains("h.io"), "{shown}");
                    let is_name = matches!(error, crate::reference::ReferenceError::Name { .. });
                    assert!(!is_name || shown.contains("cfsctl oci login"), "{shown}");
                }
            }
        }
        let error = "ann:ge@heim@h.io".parse::<RegistryReference>().unwrap_err();
        assert!(!error.to_string().contains("heim"), "{error}");
        for text in ["debian:12", "debian:12@sha256:bad", "debian@12", "h.io:5000/x:v1"] {
            assert_eq!(without_userinfo(text), text);
        }
        assert_eq!(without_userinfo("docker://a:b@h.io/x@sha256:1"), "docker://…@h.io/x@sha256:1");
    }

    #[test]
    fn what_is_no_name() {
        for text in [
            "",
            "Debian",
            "a//b",
            "a/",
            "-a",
            "a..b",
            "a___b",
            "a:",
            "a:.x",
            "a@sha256:12",
            "host:99999/x",
            "-x.y/z",
            "x:5000:6/z",
            "a/B",
            "https://x/y",
        ] {
            assert!(text.parse::<RegistryReference>().is_err(), "{text}");
        }
        assert!(matches!("a".repeat(64).parse::<RegistryReference>(), Err(NameError::LooksLikeId(_))));
        assert!(matches!("a".repeat(256).parse::<RegistryReference>(), Err(NameError::Length(_))));
    }
}
