//! `transport:name`, parsed.
//!
//! # Format
//! `docs/formats/transports.md`, section 1; for layouts `docs/formats/oci.md`, section 6.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::digest::ManifestDigest;

mod registry;

pub use registry::{NameError, RegistryReference};

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reference {
    /// An OCI layout directory.
    Layout(InLayout),
    /// A layout inside a tar.
    OciArchive(InLayout),
    /// An image in a registry.
    Registry(RegistryReference),
    /// A transport that only the proxy speaks; the whole text, as skopeo takes it.
    Proxy(String),
}

/// A path and which image of the layout there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InLayout {
    /// The directory or archive.
    pub path: PathBuf,
    /// Which of its images.
    pub select: Select,
}

/// Which image of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// Whatever is there, the first that fits the platform.
    Any,
    /// The one annotated with this name.
    Tag(String),
    /// The one of this digest.
    Digest(ManifestDigest),
    /// The one at this position of `index.json`.
    Position(usize),
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// No `transport:` in front.
    #[error("`{0}` has no transport in front, such as oci: or docker://")]
    NoTransport(String),
    /// A transport nobody knows.
    #[error("unknown transport `{0}`")]
    UnknownTransport(String),
    /// `docker:` without `//`.
    #[error("missing // in `{0}`")]
    MissingSlashes(String),
    /// What is behind the transport is no image name.
    #[error("`{text}` names no image of a registry")]
    Name {
        /// The whole text.
        text: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// Nothing behind the transport.
    #[error("`{0}` names nothing")]
    Empty(String),
}

impl ReferenceError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTransport(name) => Some(if Path::new(name).is_dir() {
                format!("for the layout in this directory say oci:{name}")
            } else {
                format!("for an image of a registry say docker://{name}")
            }),
            Self::UnknownTransport(_) => Some(
                "known are oci:, oci-archive:, docker://, docker-archive:, dir:, containers-storage: and docker-daemon:"
                    .to_owned(),
            ),
            Self::MissingSlashes(_) | Self::Name { .. } | Self::Empty(_) => None,
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (transport, name) =
            text.split_once(':').ok_or_else(|| ReferenceError::NoTransport(text.to_owned()))?;
        if name.is_empty() || name == "//" {
            return Err(ReferenceError::Empty(text.to_owned()));
        }
        match transport {
            "oci" => Ok(Self::Layout(InLayout::parse(name))),
            "oci-archive" => Ok(Self::OciArchive(InLayout::parse(name))),
            "docker" if !name.starts_with("//") => Err(ReferenceError::MissingSlashes(text.to_owned())),
            "docker" | "registry" => name
                .trim_start_matches('/')
                .parse()
                .map(Self::Registry)
                .map_err(|source| ReferenceError::Name { text: text.to_owned(), source }),
            "docker-archive" | "dir" | "containers-storage" | "docker-daemon" => {
                Ok(Self::Proxy(text.to_owned()))
            }
            // `debian:12` and `localhost:5000/x` have a colon and no transport.
            other if other.contains(['/', '.']) || name.starts_with(|c: char| c.is_ascii_digit()) => {
                Err(ReferenceError::NoTransport(text.to_owned()))
            }
            other => Err(ReferenceError::UnknownTransport(other.to_owned())),
        }
    }
}

impl InLayout {
    /// Splits at the last colon with no slash behind it; a path that exists as a whole has no tag.
    fn parse(name: &str) -> Self {
        let whole = Self { path: name.into(), select: Select::Any };
        if rustix::fs::access(name, rustix::fs::Access::EXISTS).is_ok() {
            return whole;
        }
        if let Some((path, digest)) = name.split_once('@')
            && let Ok(digest) = digest.parse()
        {
            return Self {
                path: path.strip_suffix(':').unwrap_or(path).into(),
                select: Select::Digest(digest),
            };
        }
        match name.rsplit_once(':') {
            Some((path, tag)) if !path.is_empty() && !tag.is_empty() && !tag.contains('/') => {
                let position = tag.strip_prefix('@').and_then(|number| number.parse().ok());
                let select = position.map_or_else(|| Select::Tag(tag.to_owned()), Select::Position);
                Self { path: path.into(), select }
            }
            _ => whole,
        }
    }
}

impl fmt::Display for InLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        match &self.select {
            Select::Any => Ok(()),
            Select::Tag(tag) => write!(f, ":{tag}"),
            Select::Digest(digest) => write!(f, "@{digest}"),
            Select::Position(at) => write!(f, ":@{at}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(at) => write!(f, "oci:{at}"),
            Self::OciArchive(at) => write!(f, "oci-archive:{at}"),
            Self::Registry(name) => write!(f, "docker://{name}"),
            Self::Proxy(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str) -> (String, Select) {
        match text.parse() {
            Ok(Reference::Layout(at)) => (at.path.display().to_string(), at.select),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn layouts() {
        assert_eq!(layout("oci:/a/b"), ("/a/b".into(), Select::Any));
        assert_eq!(layout("oci:/a/b:v1"), ("/a/b".into(), Select::Tag("v1".into())));
        assert_eq!(layout("oci:/a:x/b"), ("/a:x/b".into(), Select::Any));
        assert_eq!(layout("oci:/a:x/b:v1"), ("/a:x/b".into(), Select::Tag("v1".into())));
        assert_eq!(layout("oci:/a:@2"), ("/a".into(), Select::Position(2)));
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(
            layout(&format!("oci:/a@{digest}")),
            ("/a".into(), Select::Digest(digest.parse().unwrap()))
        );
        // A directory that has a colon in its name is taken whole.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x:y");
        std::fs::create_dir(&path).unwrap();
        assert_eq!(layout(&format!("oci:{}", path.display())), (path.display().to_string(), Select::Any));
    }

    #[test]
    fn others() {
        let parse = |text: &str| text.parse::<Reference>();
        assert_eq!(parse("docker://debian").unwrap().to_string(), "docker://docker.io/library/debian:latest");
        assert_eq!(parse("registry:x.y/z:1").unwrap().to_string(), "docker://x.y/z:1");
        assert_eq!(parse("dir:/x"), Ok(Reference::Proxy("dir:/x".into())));
        assert!(matches!(parse("docker://A b"), Err(ReferenceError::Name { .. })));
        assert!(matches!(parse("docker:debian"), Err(ReferenceError::MissingSlashes(_))));
        assert!(matches!(parse("debian"), Err(ReferenceError::NoTransport(_))));
        assert!(matches!(parse("debian:12"), Err(ReferenceError::NoTransport(_))));
        assert!(matches!(parse("localhost.x:5000/a"), Err(ReferenceError::NoTransport(_))));
        assert!(matches!(parse("ftp:/x"), Err(ReferenceError::UnknownTransport(_))));
        assert!(matches!(parse("oci:"), Err(ReferenceError::Empty(_))));
    }
}
