//! What Docker saves: images in an archive, and in its daemon.
//!
//! # Format
//! `docs/formats/transports.md`, sections 1 and 11.

use std::{fmt, path::PathBuf};

use super::{ReferenceError, RegistryReference, exists};

/// The fewest hex digits that are taken for the beginning of an id and not for a name; Docker prints as many.
const SHORT_ID: usize = 12;

/// An archive of `docker save`, and which of its images is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InDockerArchive {
    /// The archive.
    pub path: PathBuf,
    /// Which of its images.
    pub select: ArchiveSelect,
}

/// Which image of an archive of `docker save`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchiveSelect {
    /// The only one.
    Only,
    /// The one of this name and tag.
    Name(RegistryReference),
    /// The one at this position of `manifest.json`.
    Position(usize),
}

impl InDockerArchive {
    /// Splits `PATH[:REF|:@N]`: the path is what exists, up to a colon; if nothing does, up to the first one.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, ReferenceError> {
        let colons = || name.match_indices(':').filter_map(|(at, _)| name.split_at_checked(at));
        let (path, rest) = if exists(name) {
            (name, "")
        } else {
            colons().find(|(path, _)| exists(path)).or_else(|| colons().next()).unwrap_or((name, ""))
        };
        if path.is_empty() {
            return Err(ReferenceError::Empty(text.to_owned()));
        }
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        let select = match (rest.strip_prefix('@'), rest) {
            (_, "") => ArchiveSelect::Only,
            (Some(number), _) => {
                let bad = || ReferenceError::Position(number.to_owned());
                ArchiveSelect::Position(number.parse().map_err(|_| bad())?)
            }
            (None, name) => ArchiveSelect::Name(named(name, text)?),
        };
        Ok(Self { path: path.into(), select })
    }
}

/// An image in Docker's daemon, by name and tag or by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonImage(String);

impl DaemonImage {
    /// Takes `NAME[:TAG]`, `sha256:HEX`, or the first hex digits of an id.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, ReferenceError> {
        let hex = name.strip_prefix("sha256:").unwrap_or(name);
        if hex.len() >= SHORT_ID && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(name.to_owned()));
        }
        let name = named(name, text)?;
        Ok(Self(format!("{}:{}", name.name(), name.wanted())))
    }

    /// Tells whether it is an id, or the beginning of one; names have a slash.
    #[must_use]
    pub fn is_id(&self) -> bool {
        !self.0.contains('/')
    }

    /// Returns the name as the daemon is asked for it: domain, path and tag written out, or an id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Parses the name of an image that was saved under it: one without a digest.
fn named(name: &str, text: &str) -> Result<RegistryReference, ReferenceError> {
    let parsed: RegistryReference =
        name.parse().map_err(|source| ReferenceError::Name { text: text.to_owned(), source })?;
    match parsed.digest() {
        Some(_) => Err(ReferenceError::NoDigest(text.to_owned())),
        None => Ok(parsed),
    }
}

impl fmt::Display for InDockerArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match &self.select {
            ArchiveSelect::Only => Ok(()),
            ArchiveSelect::Name(name) => write!(f, ":{}:{}", name.name(), name.wanted()),
            ArchiveSelect::Position(at) => write!(f, ":@{at}"),
        }
    }
}

impl fmt::Display for DaemonImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(name: &str) -> Result<(String, String), ReferenceError> {
        InDockerArchive::parse(name, name).map(|at| (at.path.display().to_string(), at.to_string()))
    }

    #[test]
    fn archives() {
        let full = |name: &str, path: &str, text: &str| {
            assert_eq!(archive(name), Ok((path.to_owned(), text.to_owned())), "{name}");
        };
        full("/a.tar", "/a.tar", "/a.tar");
        full("/a.tar:busybox", "/a.tar", "/a.tar:docker.io/library/busybox:latest");
        full("/a.tar:x.y:5000/b:c", "/a.tar", "/a.tar:x.y:5000/b:c");
        full("/a.tar:@2", "/a.tar", "/a.tar:@2");
        full("/a.tar:", "/a.tar", "/a.tar");
        assert!(matches!(archive("/a.tar:@x"), Err(ReferenceError::Position(_))));
        assert!(matches!(archive("/a.tar:A"), Err(ReferenceError::Name { .. })));
        assert!(matches!(archive(":a"), Err(ReferenceError::Empty(_))));
        let digest = format!("/a.tar:a@sha256:{}", "0".repeat(64));
        assert!(matches!(archive(&digest), Err(ReferenceError::NoDigest(_))));
        // What exists is not split.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a:b.tar");
        std::fs::write(&path, b"").unwrap();
        let path = path.display().to_string();
        full(&path, &path, &path);
        full(&format!("{path}:c"), &path, &format!("{path}:docker.io/library/c:latest"));
    }

    #[test]
    fn daemons() {
        let asked = |name: &str| DaemonImage::parse(name, name).map(|image| image.0);
        assert_eq!(asked("busybox").as_deref(), Ok("docker.io/library/busybox:latest"));
        assert_eq!(asked("x.y/b:c").as_deref(), Ok("x.y/b:c"));
        assert_eq!(asked("0123456789ab").as_deref(), Ok("0123456789ab"));
        assert_eq!(asked("cafe").as_deref(), Ok("docker.io/library/cafe:latest"));
        let id = format!("sha256:{}", "0".repeat(64));
        assert_eq!(asked(&id), Ok(id.clone()));
        assert!(asked("A b").is_err());
    }
}
