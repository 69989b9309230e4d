//! What the process's surroundings say: variables, the user, where the system's files are.
//!
//! Library functions take an [`Environment`] and read nothing themselves, so a caller decides what they see. The
//! default is an empty one: no home, no variables, the system's files at `/`.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
};

/// Every environment variable that is looked at.
pub const VARIABLES: &[&str] = &[
    // The user's directories.
    "HOME",
    "USER",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    // Where credential helpers are found.
    "PATH",
    // Settings of podman and skopeo.
    "REGISTRY_AUTH_FILE",
    "CONTAINERS_REGISTRIES_CONF",
    "CONTAINERS_STORAGE_CONF",
    "CONTAINERS_STORAGE_ROOT",
    "STORAGE_DRIVER",
    "STORAGE_OPTS",
    // In the user namespace of `podman unshare` one is root, and the store is still one's own.
    "_CONTAINERS_USERNS_CONFIGURED",
    "_CONTAINERS_ROOTLESS_UID",
    // Settings of Docker.
    "DOCKER_CONFIG",
    "DOCKER_HOST",
    // Whom to trust.
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    // Proxies. A CGI program has REQUEST_METHOD, and then HTTP_PROXY is the header `Proxy` of a request.
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "REQUEST_METHOD",
];

/// The surroundings of a run.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<&'static str, OsString>,
    uid: Option<u32>,
    root: Option<PathBuf>,
}

impl Environment {
    /// Takes what this process has.
    #[must_use]
    pub fn from_process() -> Self {
        let variables = VARIABLES.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))).collect();
        Self { variables, uid: Some(rustix::process::geteuid().as_raw()), root: None }
    }

    /// Sets one of [`VARIABLES`]; other names have no meaning and are dropped.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        if let Some(name) = VARIABLES.iter().find(|known| **known == name) {
            self.variables.insert(name, value.into());
        }
        self
    }

    /// Sets the user.
    #[must_use]
    pub const fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// Sets what is put in front of the system's absolute paths, such as `/etc/containers`.
    #[must_use]
    pub fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// Returns a variable; an empty one counts as none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(name).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Returns a variable that names a file or directory.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// Returns a path below the user's home.
    #[must_use]
    pub fn in_home(&self, relative: impl AsRef<Path>) -> Option<PathBuf> {
        Some(self.path("HOME")?.join(relative))
    }

    /// Returns a path below `$XDG_CONFIG_HOME`, which is `~/.config` by default.
    #[must_use]
    pub fn in_config(&self, relative: impl AsRef<Path>) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config", relative.as_ref())
    }

    /// Returns a path below `$XDG_CACHE_HOME`, which is `~/.cache` by default.
    #[must_use]
    pub fn in_cache(&self, relative: impl AsRef<Path>) -> Option<PathBuf> {
        self.xdg("XDG_CACHE_HOME", ".cache", relative.as_ref())
    }

    /// Returns a path below `$XDG_DATA_HOME`, which is `~/.local/share` by default.
    #[must_use]
    pub fn in_data(&self, relative: impl AsRef<Path>) -> Option<PathBuf> {
        self.xdg("XDG_DATA_HOME", ".local/share", relative.as_ref())
    }

    fn xdg(&self, variable: &str, default: &str, relative: &Path) -> Option<PathBuf> {
        let base = self.path(variable).or_else(|| self.in_home(default))?;
        Some(base.join(relative))
    }

    /// Returns where an absolute path of the system is.
    #[must_use]
    pub fn system(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// Returns the user's number, if it is known.
    #[must_use]
    pub const fn user(&self) -> Option<u32> {
        self.uid
    }

    /// Tells whether the user is root.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        matches!(self.uid, Some(0))
    }
}

/// Names only: a proxy's address may have a password in it.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("uid", &self.uid)
            .field("root", &self.root)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories() {
        let environment = Environment::default().variable("HOME", "/h").variable("XDG_CACHE_HOME", "");
        assert_eq!(environment.in_config("x").unwrap(), Path::new("/h/.config/x"));
        assert_eq!(environment.in_cache("x").unwrap(), Path::new("/h/.cache/x"));
        let environment = environment.variable("XDG_CACHE_HOME", "/c");
        assert_eq!(environment.in_cache("x").unwrap(), Path::new("/c/x"));
        assert_eq!(Environment::default().in_data("x"), None);
        assert_eq!(environment.system("/etc/x"), Path::new("/etc/x"));
        assert_eq!(environment.root("/r").system("/etc/x"), Path::new("/r/etc/x"));
    }

    #[test]
    fn values_are_not_shown() {
        let environment = Environment::default().variable("HTTPS_PROXY", "http://u:geheim@p").uid(0);
        assert!(environment.is_root());
        let shown = format!("{environment:?}");
        assert!(shown.contains("HTTPS_PROXY") && !shown.contains("geheim"), "{shown}");
        assert_eq!(Environment::default().variable("UNKNOWN", "x"), Environment::default());
    }
}
