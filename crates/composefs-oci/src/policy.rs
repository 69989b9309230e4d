//! Which images may be used: containers' `policy.json`.
//!
//! A file says for places, which it calls scopes, what images from there must be. What comes in: the file, and the
//! [`Identity`] of an image. What goes out: that the image may come, or why not. `accept` and `reject` are decided
//! here; what needs a signature is refused, because none is checked yet.
//!
//! # Format
//! `docs/formats/transports.md`, section 10; containers-policy.json(5).

mod file;
mod requirement;
mod scope;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use composefs::disk::outside;

use crate::environment::Environment;

pub use file::PolicyFileError;
pub use requirement::{Fulcio, Keys, Pki, Rekor, Requirement, SignedIdentity};
pub use scope::{Identity, PathTransport};

/// The largest file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// The user's file, below the home directory; `XDG_CONFIG_HOME` has no part in this.
const USER: &str = ".config/containers/policy.json";
/// The system's file.
const SYSTEM: &str = "/etc/containers/policy.json";

/// Requirements by scope.
type Scopes = BTreeMap<String, Vec<Requirement>>;

/// What a `policy.json` says. The default has no file and accepts any image.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    path: Option<PathBuf>,
    rules: Option<Arc<Rules>>,
}

/// The contents of a file.
#[derive(Debug)]
struct Rules {
    default: Vec<Requirement>,
    transports: BTreeMap<String, Scopes>,
}

/// The part of a policy that an image falls under.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scope {
    /// What nothing else is said of.
    Default,
    /// The rest of a transport.
    Transport(String),
    /// A place of a transport.
    Place {
        /// The transport.
        transport: String,
        /// The text of the scope.
        scope: String,
    },
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Transport(transport) => write!(f, "the default of {transport}:"),
            Self::Place { transport, scope } => write!(f, "{transport}: `{scope}`"),
        }
    }
}

/// Why an image may not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A file that cannot be read.
    #[error("policy")]
    Io(#[source] Box<composefs::Error>),
    /// The file the user gave is not there.
    #[error("no policy at {}", .0.display())]
    NoSuchFile(PathBuf),
    /// A file that is not what it should be. Nothing is accepted on the strength of its other parts.
    #[error("policy {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: PolicyFileError,
    },
    /// The image is refused.
    #[error("{image} is rejected by the policy {}, in {scope}", path.display())]
    Rejected {
        /// The image.
        image: String,
        /// The file.
        path: PathBuf,
        /// The part of it.
        scope: Scope,
    },
    /// The image must be signed in a way that is not checked yet.
    #[error("{image} may not be used: the policy {} demands {requirement} in {scope}, which is not checked yet", path.display())]
    Unchecked {
        /// The image.
        image: String,
        /// The file.
        path: PathBuf,
        /// The part of it.
        scope: Scope,
        /// The requirement's type.
        requirement: &'static str,
    },
}

impl PolicyError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File { path, .. } => {
                Some(format!("mend {}; containers-policy.json(5) explains it", path.display()))
            }
            Self::Rejected { path, .. } => Some(format!(
                "accept it in {} with insecureAcceptAnything for its place, or say --policy FILE",
                path.display()
            )),
            Self::Unchecked { requirement: "signedBy" | "sigstoreSigned", path, .. } => Some(format!(
                "let skopeo check it: `skopeo copy IMAGE oci:DIRECTORY:TAG`, then use the layout, for whose path {} must have insecureAcceptAnything",
                path.display()
            )),
            Self::Unchecked { .. } => {
                Some("say --policy FILE with a policy that you can do without it".to_owned())
            }
            Self::Io(error) => error.hint(),
            Self::NoSuchFile(_) => None,
        }
    }
}

impl From<composefs::Error> for PolicyError {
    fn from(error: composefs::Error) -> Self {
        Self::Io(Box::new(error))
    }
}

impl Policy {
    /// Reads the policy: the file at `path`, else the user's, else the system's. Only one of them counts. Where there
    /// is none, any image is accepted.
    ///
    /// # Errors
    /// [`PolicyError`]; that there is no file is none, unless `path` names one.
    pub fn load(environment: &Environment, path: Option<&Path>) -> Result<Self, PolicyError> {
        if let Some(path) = path {
            return Self::read(path)?.ok_or_else(|| PolicyError::NoSuchFile(path.to_owned()));
        }
        for path in [environment.in_home(USER), Some(environment.system(SYSTEM))].into_iter().flatten() {
            if let Some(policy) = Self::read(&path)? {
                return Ok(policy);
            }
        }
        Ok(Self::default())
    }

    fn read(path: &Path) -> Result<Option<Self>, PolicyError> {
        let Some(bytes) = outside::read(path, FILE_MAX)? else { return Ok(None) };
        let policy =
            Self::parse(&bytes).map_err(|source| PolicyError::File { path: path.to_owned(), source })?;
        Ok(Some(Self { path: Some(path.to_owned()), ..policy }))
    }

    /// Makes a policy of the bytes of a file.
    ///
    /// # Errors
    /// [`PolicyFileError`] for what is unknown, doubled or contradicts itself, anywhere in the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyFileError> {
        Ok(Self { path: None, rules: Some(Arc::new(file::parse(bytes)?)) })
    }

    /// Returns the file, if the policy is one's.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns what an image must fulfil, all of it, and which part of the file says so; nothing without a file.
    #[must_use]
    pub fn requirements(&self, identity: &Identity) -> (Scope, &[Requirement]) {
        let Some(rules) = &self.rules else { return (Scope::Default, &[]) };
        let transport = || identity.transport().to_owned();
        if let Some(scopes) = rules.transports.get(identity.transport()) {
            for scope in identity.scopes() {
                if let Some(requirements) = scopes.get(scope) {
                    return (Scope::Place { transport: transport(), scope: scope.clone() }, requirements);
                }
            }
            if let Some(requirements) = scopes.get("") {
                return (Scope::Transport(transport()), requirements);
            }
        }
        (Scope::Default, &rules.default)
    }

    /// Decides whether an image may be used by where it is.
    ///
    /// # Errors
    /// [`PolicyError::Rejected`], [`PolicyError::Unchecked`].
    pub fn admit(&self, identity: &Identity) -> Result<(), PolicyError> {
        let (scope, requirements) = self.requirements(identity);
        let (image, path) = (identity.image().to_owned(), self.path.clone().unwrap_or_default());
        tracing::debug!(%image, path = %path.display(), %scope, "policy");
        if requirements.contains(&Requirement::Reject) {
            return Err(PolicyError::Rejected { image, path, scope });
        }
        match requirements.iter().find(|requirement| **requirement != Requirement::AcceptAnything) {
            Some(unchecked) => {
                Err(PolicyError::Unchecked { image, path, scope, requirement: unchecked.name() })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
