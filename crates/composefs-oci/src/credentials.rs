//! Where secrets are looked up and in which order, and how they are stored.
//!
//! A [`Keychain`] is made from the [`Environment`] and what the user gave by hand; it answers for a name what to tell
//! the registry. Nothing here prints a secret: errors name files, keys and programs, never contents.
//!
//! # Format
//! `docs/formats/transports.md`, section 3.

pub mod auth_file;
pub mod helper;
mod secret;

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use composefs::disk::outside;
use zeroize::Zeroizing;

use crate::environment::Environment;
use auth_file::{AuthFile, AuthFileError, Edit, Form, Found, HUB, HUB_V1};
use helper::{Helper, HelperError};

pub use secret::{SafeUrl, Secret};

/// The largest file of credentials that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// The mode of files with secrets.
const MODE: u32 = 0o600;

/// What a registry is told about who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, to be exchanged for others.
    IdentityToken(Secret),
}

impl Credentials {
    /// Makes them of a user and a password.
    #[must_use]
    pub fn basic(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Basic { user: user.into(), password: Secret::new(password) }
    }

    /// Returns the value of the header `Authorization` for a user and a password.
    #[must_use]
    pub fn authorization(&self) -> Option<Secret> {
        let Self::Basic { user, password } = self else { return None };
        let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
        Some(Secret::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
    }
}

/// Why credentials could not be looked up or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A file that cannot be read or written.
    #[error("credentials")]
    Io(#[source] Box<composefs::Error>),
    /// A file that is not what it should be.
    #[error("credentials in {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: AuthFileError,
    },
    /// The file the user gave is not there.
    #[error("no file of credentials at {}", .0.display())]
    NoSuchFile(PathBuf),
    /// A helper.
    #[error("credentials of {registry}")]
    Helper {
        /// For which registry.
        registry: String,
        /// What went wrong.
        source: HelperError,
    },
    /// A text that names no registry.
    #[error("`{0}` names no registry")]
    Name(String),
    /// Credentials for a part of a registry whose credentials a helper keeps.
    #[error("{helper} keeps the credentials of {registry} and knows no namespaces")]
    Namespaced {
        /// The registry.
        registry: String,
        /// The helper.
        helper: String,
    },
    /// There is nothing to log out of.
    #[error("not logged in to {registry}")]
    NotLoggedIn {
        /// The registry.
        registry: String,
        /// Another file, which is read but not written, that has credentials for it.
        elsewhere: Option<PathBuf>,
    },
    /// Neither a user nor a runtime directory is known, nor a file given.
    #[error("no place for credentials")]
    NoPlace,
}

impl CredentialsError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File { path, .. } => Some(format!("mend or remove {}", path.display())),
            Self::NoSuchFile(_) => Some("`cfsctl oci login --authfile FILE` makes it".to_owned()),
            Self::Helper { source: HelperError::Missing { program }, registry } => Some(format!(
                "install {program}, or take `credHelpers` for {registry} out of the file of credentials"
            )),
            Self::NotLoggedIn { elsewhere: Some(path), .. } => {
                Some(format!("{} has credentials for it, which another program put there", path.display()))
            }
            Self::NoPlace => Some("say --authfile FILE".to_owned()),
            _ => None,
        }
    }
}

impl From<composefs::Error> for CredentialsError {
    fn from(error: composefs::Error) -> Self {
        Self::Io(Box::new(error))
    }
}

/// What the user gave by hand.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct KeychainOptions {
    /// The one file to look into (`--authfile`).
    pub authfile: Option<PathBuf>,
    /// What to tell the registry whatever the files say (`--creds`).
    pub credentials: Option<Credentials>,
}

impl KeychainOptions {
    /// Sets the one file to look into; it must exist unless something is stored in it.
    #[must_use]
    pub fn authfile(mut self, path: Option<PathBuf>) -> Self {
        self.authfile = path;
        self
    }

    /// Sets what to tell the registry that the user named.
    #[must_use]
    pub fn credentials(mut self, credentials: Option<Credentials>) -> Self {
        self.credentials = credentials;
        self
    }
}

/// Where credentials went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Into this file.
    File(PathBuf),
    /// To this helper.
    Helper(String),
}

/// Everything that knows credentials, in the order in which it is asked.
#[derive(Clone, Debug)]
pub struct Keychain {
    environment: Environment,
    given: Option<Credentials>,
    /// Set if the user named the one file.
    must_exist: bool,
    files: Vec<(PathBuf, Form)>,
}

impl Keychain {
    /// Collects the places; nothing is read yet.
    #[must_use]
    pub fn new(environment: &Environment, options: KeychainOptions) -> Self {
        let must_exist = options.authfile.is_some();
        let files = match options.authfile.or_else(|| environment.path("REGISTRY_AUTH_FILE")) {
            Some(path) => vec![(path, Form::Containers)],
            None => places(environment),
        };
        Self { environment: environment.clone(), given: options.credentials, must_exist, files }
    }

    /// Returns the same without what the user gave by hand: for mirrors, which are not whom the user meant.
    #[must_use]
    pub fn stored_only(self) -> Self {
        Self { given: None, ..self }
    }

    /// Tells whether the user gave by hand what registries are told.
    #[must_use]
    pub const fn is_by_hand(&self) -> bool {
        self.given.is_some()
    }

    /// Returns what to tell the registry at `name`, `host[:port]/path`; `None` means nothing.
    ///
    /// # Errors
    /// [`CredentialsError`]; a file that does not exist is none unless the user gave it.
    pub fn lookup(&self, name: &str) -> Result<Option<Credentials>, CredentialsError> {
        if let Some(given) = &self.given {
            return Ok(Some(given.clone()));
        }
        for (path, form) in &self.files {
            let Some(file) = self.read(path, *form)? else { continue };
            let found = file.find(name).map_err(|source| in_file(path, source))?;
            match found {
                None => {}
                Some(Found::Anonymous) => {
                    tracing::debug!(name, path = %path.display(), "anonymous on purpose");
                    return Ok(None);
                }
                Some(Found::Credentials(credentials)) => {
                    tracing::debug!(name, path = %path.display(), "credentials");
                    return Ok(Some(credentials));
                }
                Some(Found::Helper(helper)) => {
                    if let Some(credentials) = self.ask(&helper, name, *form)? {
                        return Ok(Some(credentials));
                    }
                }
                Some(Found::Store(helper)) => match self.ask(&helper, name, *form) {
                    // It is set for all registries, also those that need no credentials.
                    Err(CredentialsError::Helper { source: HelperError::Missing { program }, .. }) => {
                        tracing::warn!(path = %path.display(), program, "credsStore is not installed");
                    }
                    Ok(None) => {}
                    answer => return answer,
                },
            }
        }
        Ok(None)
    }

    fn ask(&self, helper: &str, name: &str, form: Form) -> Result<Option<Credentials>, CredentialsError> {
        let host = auth_file::host(name);
        let wrong = |source| CredentialsError::Helper { registry: host.to_owned(), source };
        let helper = Helper::find(helper, &self.environment).map_err(wrong)?;
        for server in servers(host, form) {
            if let Some(credentials) = helper.get(server).map_err(wrong)? {
                return Ok(Some(credentials));
            }
        }
        Ok(None)
    }

    /// Stores credentials in the first file, or with the helper it names for the registry.
    ///
    /// `name` is a registry or a namespace of one: `quay.io`, `quay.io/team`.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn login(&self, name: &str, user: &str, password: &Secret) -> Result<Kept, CredentialsError> {
        let key = registry_key(name)?;
        let host = auth_file::host(&key);
        let path = self.first()?;
        let (mut edit, file) = self.edit(path)?;
        if let Some(helper) = file.helper(host) {
            if key != host {
                let (registry, helper) = (host.to_owned(), helper.to_owned());
                return Err(CredentialsError::Namespaced { registry, helper });
            }
            let wrong = |source| CredentialsError::Helper { registry: key.clone(), source };
            let program = Helper::find(helper, &self.environment).map_err(wrong)?;
            program.store(host, user, password).map_err(wrong)?;
            return Ok(Kept::Helper(helper.to_owned()));
        }
        edit.set(&key, user, password).map_err(|source| in_file(path, source))?;
        outside::replace(path, &edit.to_bytes(), MODE)?;
        Ok(Kept::File(path.to_owned()))
    }

    /// Removes what is stored for a registry or a namespace of one from the first file or its helper.
    ///
    /// # Errors
    /// [`CredentialsError::NotLoggedIn`] if nothing is, and what reading and writing give.
    pub fn logout(&self, name: &str) -> Result<Kept, CredentialsError> {
        let key = registry_key(name)?;
        let path = self.first()?;
        let (mut edit, file) = self.edit(path)?;
        let removed = edit.remove(&key).map_err(|source| in_file(path, source))?;
        if removed {
            outside::replace(path, &edit.to_bytes(), MODE)?;
        }
        if let Some(helper) = file.helper(&key)
            && self.erase(helper, &key)?
        {
            return Ok(Kept::Helper(helper.to_owned()));
        }
        if removed {
            return Ok(Kept::File(path.to_owned()));
        }
        let elsewhere = self.files.iter().skip(1).find_map(|(path, form)| {
            let file = self.read(path, *form).ok()??;
            matches!(file.find(&key), Ok(Some(Found::Credentials(_)))).then(|| path.clone())
        });
        Err(CredentialsError::NotLoggedIn { registry: key, elsewhere })
    }

    /// Removes everything that is stored in the first file and with its helpers; returns the file.
    ///
    /// # Errors
    /// What reading and writing give.
    pub fn logout_all(&self) -> Result<PathBuf, CredentialsError> {
        let path = self.first()?;
        let (mut edit, file) = self.edit(path)?;
        if edit.clear().map_err(|source| in_file(path, source))? {
            outside::replace(path, &edit.to_bytes(), MODE)?;
        }
        for (host, helper) in file.helpers() {
            self.erase(helper, host)?;
        }
        Ok(path.to_owned())
    }

    fn erase(&self, helper: &str, host: &str) -> Result<bool, CredentialsError> {
        let wrong = |source| CredentialsError::Helper { registry: host.to_owned(), source };
        Helper::find(helper, &self.environment).and_then(|helper| helper.erase(host)).map_err(wrong)
    }

    /// Returns the file that is written.
    fn first(&self) -> Result<&Path, CredentialsError> {
        match self.files.first() {
            Some((path, Form::Containers)) => Ok(path),
            _ => Err(CredentialsError::NoPlace),
        }
    }

    fn edit(&self, path: &Path) -> Result<(Edit, AuthFile), CredentialsError> {
        let Some(bytes) = outside::read(path, FILE_MAX)?.map(Zeroizing::new) else {
            return Ok(<_>::default());
        };
        let both = || Ok((Edit::parse(&bytes)?, AuthFile::parse(&bytes, Form::Containers)?));
        both().map_err(|source| in_file(path, source))
    }

    fn read(&self, path: &Path, form: Form) -> Result<Option<AuthFile>, CredentialsError> {
        match outside::read(path, FILE_MAX)?.map(Zeroizing::new) {
            Some(bytes) => AuthFile::parse(&bytes, form).map(Some).map_err(|source| in_file(path, source)),
            None if self.must_exist => Err(CredentialsError::NoSuchFile(path.to_owned())),
            None => Ok(None),
        }
    }
}

fn in_file(path: &Path, source: AuthFileError) -> CredentialsError {
    CredentialsError::File { path: path.to_owned(), source }
}

/// Returns the files in podman's order; the first is the one that is written.
fn places(environment: &Environment) -> Vec<(PathBuf, Form)> {
    let runtime = match environment.path("XDG_RUNTIME_DIR") {
        Some(directory) => Some(directory.join("containers/auth.json")),
        None => {
            environment.user().map(|user| environment.system(format!("/run/containers/{user}/auth.json")))
        }
    };
    let docker = environment
        .path("DOCKER_CONFIG")
        .map(|directory| directory.join("config.json"))
        .or_else(|| environment.in_home(".docker/config.json"));
    [
        (runtime, Form::Containers),
        (environment.in_config("containers/auth.json"), Form::Containers),
        (docker, Form::Docker),
        (environment.in_home(".dockercfg"), Form::DockerOld),
    ]
    .into_iter()
    .filter_map(|(path, form)| Some((path?, form)))
    .collect()
}

/// Returns what a helper may know a registry by.
fn servers(host: &str, form: Form) -> impl Iterator<Item = &str> {
    let hub = auth_file::canonical(host) == HUB;
    let (first, second) = match (hub, form) {
        (false, _) => (host, None),
        (true, Form::Containers) => (HUB, Some(HUB_V1)),
        (true, Form::Docker | Form::DockerOld) => (HUB_V1, Some(HUB)),
    };
    std::iter::once(first).chain(second)
}

/// Returns the key under which credentials of a registry, or a namespace of one, are stored: what was typed without
/// `https://` and slashes at its end, and the hub by one of its names.
///
/// # Errors
/// [`CredentialsError::Name`].
pub fn registry_key(name: &str) -> Result<String, CredentialsError> {
    let bare = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    let bare = bare.trim_end_matches('/');
    let host = auth_file::host(bare);
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '?' | '#' | '\\');
    if host.is_empty() || bare.contains(strange) || bare.contains("//") {
        // What is in front of an @ may be a password.
        return Err(CredentialsError::Name(SafeUrl::new(name).to_string()));
    }
    Ok(format!("{}{}", auth_file::canonical(host), bare.get(host.len()..).unwrap_or_default()))
}

#[cfg(test)]
mod tests;
