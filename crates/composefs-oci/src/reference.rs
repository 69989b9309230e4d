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

mod docker;
mod lasting;
mod registry;
mod short;
mod storage;

use registry::without_userinfo;

pub use docker::{ArchiveSelect, DaemonImage, InDockerArchive};
#[cfg(feature = "registry")]
pub(crate) use registry::looks_like_domain;
pub use registry::{NameError, RegistryReference};
pub use short::ShortName;
pub use storage::{InStorage, StoreChoice};

/// Where an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reference {
    /// An OCI layout directory.
    Layout(InLayout),
    /// A layout inside a tar.
    OciArchive(InLayout),
    /// A directory of one image, its blobs side by side.
    Dir(PathBuf),
    /// An archive of `docker save`.
    DockerArchive(InDockerArchive),
    /// An image in Docker's daemon.
    DockerDaemon(DaemonImage),
    /// An image in a registry.
    Registry(RegistryReference),
    /// An image whose registry follows from settings.
    ShortName(ShortName),
    /// An image in a store of podman's.
    ContainersStorage(InStorage),
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
        /// The whole text, but for a user and a password in it.
        text: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// A position that is no number.
    #[error("`@{0}` is no position: a number, from 0 on")]
    Position(String),
    /// A digest where images have none.
    #[error("`{0}`: Docker saves images by name, without their digests")]
    NoDigest(String),
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
                format!(
                    "for a layout say oci:{name}, for an archive oci-archive:{name} or docker-archive:{name}"
                )
            }),
            Self::UnknownTransport(_) => Some(
                "known are oci:, oci-archive:, docker://, docker-archive:, dir:, containers-storage: and docker-daemon:"
                    .to_owned(),
            ),
            Self::Name { source: NameError::Userinfo, .. } => {
                Some("credentials do not belong into a name: use --creds or `cfsctl oci login`".to_owned())
            }
            Self::NoDigest(_) => Some("leave out @ and what follows".to_owned()),
            Self::MissingSlashes(_) | Self::Name { .. } | Self::Position(_) | Self::Empty(_) => None,
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let Some((transport, name)) = text.split_once(':') else { return Self::bare(text) };
        // A path is what every transport needs that has no slashes in front, `oci::tag` not excepted.
        if name.is_empty() || name == "//" || name.starts_with(':') {
            return Err(ReferenceError::Empty(text.to_owned()));
        }
        match transport {
            "oci" => Ok(Self::Layout(InLayout::parse(name))),
            "oci-archive" => Ok(Self::OciArchive(InLayout::parse(name))),
            "docker" if !name.starts_with("//") => {
                Err(ReferenceError::MissingSlashes(without_userinfo(text)))
            }
            "docker" | "registry" => name
                .trim_start_matches('/')
                .parse()
                .map(Self::Registry)
                .map_err(|source| ReferenceError::Name { text: without_userinfo(text), source }),
            "dir" => Ok(Self::Dir(name.into())),
            "docker-archive" => InDockerArchive::parse(name, text).map(Self::DockerArchive),
            "docker-daemon" => DaemonImage::parse(name, text).map(Self::DockerDaemon),
            "containers-storage" => InStorage::parse(name)
                .map(Self::ContainersStorage)
                .ok_or_else(|| ReferenceError::Empty(text.to_owned())),
            _ => Self::bare(text),
        }
    }
}

impl Reference {
    /// Takes what has no transport in front: an image of a registry, as podman and Docker understand it.
    fn bare(text: &str) -> Result<Self, ReferenceError> {
        // What is there as a path could be meant as well; `debian` is a directory in many a package's source.
        let path = Path::new(text);
        if text.starts_with(['.', '/', '~']) || path.is_file() || path.join("oci-layout").is_file() {
            return Err(ReferenceError::NoTransport(text.to_owned()));
        }
        let parsed = match short::is_full(text) {
            true => text.parse().map(Self::Registry),
            false => text.parse().map(Self::ShortName),
        };
        parsed.map_err(|source| match text.split_once(':') {
            // `ftp:/x`: behind a port or a tag there is no slash.
            Some((transport, rest)) if rest.starts_with('/') && !transport.contains('/') => {
                ReferenceError::UnknownTransport(transport.to_owned())
            }
            _ => ReferenceError::Name { text: without_userinfo(text), source },
        })
    }
}

/// Tells whether there is such a path.
fn exists(path: &str) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok()
}

impl InLayout {
    /// Splits at the last colon with no slash behind it; a path that exists as a whole has no tag.
    fn parse(name: &str) -> Self {
        let whole = Self { path: name.into(), select: Select::Any };
        if exists(name) {
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
            Self::Dir(path) => write!(f, "dir:{}", path.display()),
            Self::DockerArchive(at) => write!(f, "docker-archive:{at}"),
            Self::DockerDaemon(image) => write!(f, "docker-daemon:{image}"),
            Self::Registry(name) => write!(f, "docker://{name}"),
            Self::ShortName(name) => write!(f, "{name}"),
            Self::ContainersStorage(at) => write!(f, "containers-storage:{at}"),
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
        assert_eq!(parse("dir:/x:y"), Ok(Reference::Dir("/x:y".into())));
        for text in ["dir:/x", "docker-archive:/x:a.b/c:d", "docker-daemon:a.b/c:d", "containers-storage:x"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert!(matches!(parse("docker://A b"), Err(ReferenceError::Name { .. })));
        assert!(matches!(parse("docker:debian"), Err(ReferenceError::MissingSlashes(_))));
        assert!(matches!(parse("ftp:/x"), Err(ReferenceError::UnknownTransport(_))));
        assert!(matches!(parse("oci:"), Err(ReferenceError::Empty(_))));
        assert!(matches!(parse("oci::v1"), Err(ReferenceError::Empty(_))));
    }
    #[test]
    fn bare_names() {
        let parse = |text: &str| text.parse::<Reference>();
        let short = |text: &str| match parse(text) {
            Ok(Reference::ShortName(name)) => (name.name().to_owned(), name.on_hub().to_string()),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(short("fedora"), ("fedora".into(), "docker.io/library/fedora:latest".into()));
        assert_eq!(short("debian:12"), ("debian".into(), "docker.io/library/debian:12".into()));
        assert_eq!(short("team/tool:v1"), ("team/tool".into(), "docker.io/team/tool:v1".into()));
        let digest = format!("sha256:{}", "0".repeat(64));
        let both = format!("debian:12@{digest}");
        assert_eq!(short(&both), ("debian".into(), format!("docker.io/library/{both}")));
        assert_eq!(parse(&both).unwrap().to_string(), both);
        for (text, full) in [
            ("localhost:5000/x", "docker://localhost:5000/x:latest"),
            ("localhost/x", "docker://localhost/x:latest"),
            ("quay.io/a/b:c", "docker://quay.io/a/b:c"),
            ("docker.io/debian", "docker://docker.io/library/debian:latest"),
        ] {
            assert_eq!(parse(text).map(|parsed| parsed.to_string()).as_deref(), Ok(full));
        }
        assert!(matches!(parse("http://x.y/z"), Err(ReferenceError::UnknownTransport(_))));
        assert!(matches!(parse("oci-layout:/x"), Err(ReferenceError::UnknownTransport(_))));
        assert!(matches!(parse("Debian"), Err(ReferenceError::Name { .. })));
        assert!(matches!(parse("debian:"), Err(ReferenceError::Empty(_))));
        assert!(matches!(parse(""), Err(ReferenceError::Name { .. })));
        assert!(matches!(parse(&"a".repeat(64)), Err(ReferenceError::Name { .. })));
        for path in ["./app", "/srv/app", ".", "~/app"] {
            assert!(matches!(parse(path), Err(ReferenceError::NoTransport(_))), "{path}");
        }
        // A name that is a layout or an archive here would be a trap.
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("oci-layout"), "{}").unwrap();
        let layout = dir.path().to_str().unwrap();
        let error = parse(layout).unwrap_err();
        assert!(error.hint().unwrap().contains(&format!("oci:{layout}")), "{error}");
    }
}
