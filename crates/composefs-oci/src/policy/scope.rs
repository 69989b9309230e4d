//! What an image is called in a policy, and which scopes a file may have.

use std::path::Path;

use crate::reference::{DaemonImage, RegistryReference};

/// The registries' transport.
const DOCKER: &str = "docker";
/// Podman's stores' transport.
const STORAGE: &str = "containers-storage";
/// Docker's archives' transport.
const ARCHIVE: &str = "docker-archive";
/// Transports whose scopes are paths.
const PATHS: [&str; 3] = ["oci", "oci-archive", "dir"];
/// Digits of an image's id.
const ID: usize = 64;

/// What an image is called in a policy: its transport, and the scopes it is in, the nearest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    transport: String,
    image: String,
    scopes: Vec<String>,
}

/// A transport whose images are files or directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathTransport {
    /// `oci:`
    Layout,
    /// `oci-archive:`
    OciArchive,
    /// `dir:`
    Dir,
}

impl PathTransport {
    const fn name(self) -> &'static str {
        let [layout, archive, dir] = PATHS;
        match self {
            Self::Layout => layout,
            Self::OciArchive => archive,
            Self::Dir => dir,
        }
    }
}

impl Identity {
    /// Names an image of a registry: by the name it is asked for, wherever registries.conf leads. A digest counts, not
    /// the tag beside it.
    #[must_use]
    pub fn registry(name: &RegistryReference) -> Self {
        Self {
            transport: DOCKER.to_owned(),
            image: format!("{DOCKER}://{name}"),
            scopes: docker_scopes(name),
        }
    }

    /// Names what is at a path, which must be absolute and free of symlinks to be found. The tag in a layout is no part
    /// of it: the same image may be had by its digest or position.
    #[must_use]
    pub fn path(transport: PathTransport, path: &Path) -> Self {
        let transport = transport.name();
        let scopes = path.ancestors().filter_map(Path::to_str).filter(|path| !matches!(*path, "" | "/"));
        let image = format!("{transport}:{}", path.display());
        Self { transport: transport.to_owned(), image, scopes: scopes.map(str::to_owned).collect() }
    }

    /// Names what is in an archive of `docker save`, which only the transport's default is about.
    #[must_use]
    pub fn docker_archive(path: &Path) -> Self {
        Self {
            transport: ARCHIVE.to_owned(),
            image: format!("{ARCHIVE}:{}", path.display()),
            scopes: Vec::new(),
        }
    }

    /// Names an image of Docker's daemon; by an id, only the transport's default is about it.
    #[must_use]
    pub fn docker_daemon(image: &DaemonImage) -> Self {
        let scopes = if image.is_id() {
            Vec::new()
        } else {
            image.as_str().parse().map(|name| docker_scopes(&name)).unwrap_or_default()
        };
        Self { transport: "docker-daemon".to_owned(), image: format!("docker-daemon:{image}"), scopes }
    }

    /// Names an image of a store of podman's, by its name, its id, or both, as it was asked for.
    #[must_use]
    pub fn storage(driver: &str, root: &Path, name: Option<&RegistryReference>, id: Option<&str>) -> Self {
        let store = format!("[{driver}@{}]", root.display());
        // Of a store there are no wildcards.
        let mut scopes = name.map(names).unwrap_or_default();
        if let Some(id) = id {
            let name = scopes.first().cloned().unwrap_or_default();
            scopes.insert(0, format!("{name}@{id}"));
        }
        let image = scopes.first().cloned().unwrap_or_default();
        scopes.iter_mut().for_each(|scope| scope.insert_str(0, &store));
        scopes.extend([store.clone(), format!("[{}]", root.display())]);
        Self { transport: STORAGE.to_owned(), image: format!("{STORAGE}:{store}{image}"), scopes }
    }

    /// Names an image of a transport that is not known here: only that transport's default, or the file's, is about it.
    #[must_use]
    pub fn unknown(text: &str) -> Self {
        let transport = text.split_once(':').map_or("", |(transport, _)| transport);
        Self { transport: transport.to_owned(), image: text.to_owned(), scopes: Vec::new() }
    }

    /// Returns the transport, as policies have it.
    #[must_use]
    pub fn transport(&self) -> &str {
        &self.transport
    }

    /// Returns the image in words for messages.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// Returns the scopes that the image is in, the nearest first, without the transport's default.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }
}

/// The name with its tag or digest, the repository, the namespaces around it, the registry.
fn names(name: &RegistryReference) -> Vec<String> {
    let separator = if name.digest().is_some() { '@' } else { ':' };
    let repository = name.name();
    let mut scopes = vec![format!("{repository}{separator}{}", name.wanted())];
    let mut name = &*repository;
    while let Some((shorter, _)) = name.rsplit_once('/') {
        scopes.push(name.to_owned());
        name = shorter;
    }
    scopes.push(name.to_owned());
    scopes
}

/// Those, then `*.` with ever less of the registry's host.
fn docker_scopes(name: &RegistryReference) -> Vec<String> {
    let mut scopes = names(name);
    // The port is no part of these.
    let mut domain = name.domain().split(':').next().unwrap_or_default();
    while let Some((_, rest)) = domain.split_once('.') {
        scopes.push(format!("*.{rest}"));
        domain = rest;
    }
    scopes
}

/// Tells whether a file may have a scope, for what other tools let pass. Of transports that nobody knows anything may
/// be said.
pub(super) fn may_be(transport: &str, scope: &str) -> bool {
    match transport {
        _ if scope.is_empty() => true,
        transport if PATHS.contains(&transport) => scope.len() > 1 && is_clean(scope),
        STORAGE => is_storage(scope),
        ARCHIVE | "tarball" => false,
        _ => true,
    }
}

/// Tells whether a path is absolute and the shortest of its kind.
fn is_clean(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    rest.split('/').all(|name| !matches!(name, "" | "." | ".."))
}

/// `[ROOT]` or `[DRIVER@ROOT]`, then anything; of an `@` in it, a digest or an id must follow.
fn is_storage(scope: &str) -> bool {
    let Some((store, image)) = scope.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        return false;
    };
    let root = match store.split_once('@') {
        Some(("", _)) => return false,
        Some((_, root)) => root,
        None => store,
    };
    let is_hex = |text: &str| text.len() == ID && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = image.rsplit_once('@').map(|(_, id)| id.strip_prefix("sha256:").unwrap_or(id));
    root.starts_with('/') && id.is_none_or(is_hex)
}
