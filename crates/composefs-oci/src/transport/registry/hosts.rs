//! Where an image's registry really is: mirrors, other locations, short names.
//!
//! # Format
//! `docs/formats/transports.md`, section 4.

mod prefix;
pub mod settings;

use std::path::{Path, PathBuf};

use composefs::disk::outside;

use crate::{
    environment::Environment,
    reference::{NameError, RegistryReference, ShortName},
};
use settings::{Layer, PullFrom, Settings, SettingsError, ShortNameMode};

/// The largest settings file that is read, in bytes.
const FILE_MAX: u64 = 1 << 20;
/// The largest number of drop-ins of a directory.
const DROP_INS_MAX: usize = 1024;
/// The domain that names the hub, and where its API is.
const HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");

/// Why no place to ask was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostsError {
    /// A file that cannot be read.
    #[error("settings of registries")]
    Io(#[source] Box<composefs::Error>),
    /// A file that is not what it should be.
    #[error("settings of registries in {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        source: SettingsError,
    },
    /// A file with bytes that are no text.
    #[error("{} is not UTF-8", .0.display())]
    NotText(PathBuf),
    /// More drop-ins than anybody has.
    #[error("{} has more than 1024 files", .0.display())]
    TooMany(PathBuf),
    /// The file the user gave is not there.
    #[error("no settings of registries at {}", .0.display())]
    NoSuchFile(PathBuf),
    /// The settings forbid the registry.
    #[error("{name} is blocked: registries.conf says so for `{prefix}`")]
    Blocked {
        /// What was asked for.
        name: String,
        /// The prefix that is blocked.
        prefix: String,
    },
    /// Credentials given by hand, and several registries that the name could be in.
    #[error("credentials were given, and {name} could be in any of {}", registries.join(", "))]
    WhoseCredentials {
        /// The path in all of them.
        name: String,
        /// The registries, at least two.
        registries: Vec<String>,
    },
    /// The settings turn the name into something that is none.
    #[error("registries.conf turns {name} into `{location}`")]
    Rewrite {
        /// What was asked for.
        name: String,
        /// What it became.
        location: String,
        /// What is wrong with that.
        source: NameError,
    },
    /// A short name without an alias where no registry is searched.
    #[error("`{0}` is a short name: it has no alias, and no registry is searched")]
    NoCandidate(String),
    /// A short name that could be in several places.
    #[error("`{name}` is a short name that {} registries may have", candidates.len())]
    Ambiguous {
        /// The name.
        name: String,
        /// What it could be.
        candidates: Vec<RegistryReference>,
    },
}

impl HostsError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File { path, .. } | Self::NotText(path) => Some(format!("mend {}", path.display())),
            Self::WhoseCredentials { name, registries } => {
                let first = registries.first().map_or("quay.io", String::as_str);
                Some(format!("say which registry they are for, as in docker://{first}/{name}"))
            }
            Self::NoCandidate(name) => {
                Some(format!("say the registry too, as in docker.io/library/{name} or quay.io/TEAM/{name}"))
            }
            Self::Ambiguous { candidates, .. } => {
                let names: Vec<_> = candidates.iter().map(ToString::to_string).collect();
                Some(format!("say one of {}", names.join(", ")))
            }
            _ => None,
        }
    }
}

impl From<composefs::Error> for HostsError {
    fn from(error: composefs::Error) -> Self {
        Self::Io(Box::new(error))
    }
}

/// A place to ask for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// The image there; credentials are looked up by its [`RegistryReference::name`].
    pub reference: RegistryReference,
    /// Whether HTTP will do, and certificates are not verified.
    pub insecure: bool,
    /// Whether it stands in for the registry: when it fails, in whatever way, the next is asked.
    pub mirror: bool,
}

impl Endpoint {
    /// Returns the host and port that answer for the registry: for the hub not its domain.
    #[must_use]
    pub fn api_host(&self) -> &str {
        match self.reference.domain() {
            domain if domain == HUB.0 => HUB.1,
            domain => domain,
        }
    }
}

/// The settings of registries: `registries.conf`, its drop-ins, and the aliases the user has recorded.
#[derive(Clone, Debug, Default)]
pub struct RegistriesConf {
    settings: Settings,
    /// From the user's own file, which comes before what the settings say.
    aliases: Settings,
    /// Whether there is any file.
    exists: bool,
}

impl RegistriesConf {
    /// Reads the settings: those at `path`, else those the environment names, else the user's, else the system's.
    ///
    /// # Errors
    /// [`HostsError`]; that there are no files is none, unless `path` or the environment names one.
    pub fn load(environment: &Environment, path: Option<&Path>) -> Result<Self, HostsError> {
        let system = environment.system("/etc/containers/registries.conf");
        let user = environment.in_config("containers/registries.conf");
        let given = path.map(Path::to_owned).or_else(|| environment.path("CONTAINERS_REGISTRIES_CONF"));
        let mut conf = Self::default();
        let mut system_drop_ins = true;
        match &given {
            Some(path) if !conf.add_file(path)? => return Err(HostsError::NoSuchFile(path.clone())),
            Some(_) => {}
            None => {
                let of_user = user.as_ref().map(|user| conf.add_file(user)).transpose()?.unwrap_or(false);
                // A user's file takes the place of all the system has.
                system_drop_ins = !of_user;
                if !of_user {
                    conf.add_file(&system)?;
                }
            }
        }
        for main in [system_drop_ins.then_some(&system), user.as_ref()].into_iter().flatten() {
            conf.add_drop_ins(&main.with_extension("conf.d"))?;
        }
        let recorded = if environment.is_root() {
            Some(environment.system("/var/cache/containers/short-name-aliases.conf"))
        } else {
            environment.in_cache("containers/short-name-aliases.conf")
        };
        if let Some(layer) = recorded.map(|path| read(&path)).transpose()?.flatten() {
            conf.aliases.add(layer);
        }
        Ok(conf)
    }

    /// Makes them of the text of a file, as if it were the only one.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let mut settings = Settings::default();
        settings.add(Layer::parse(text)?);
        Ok(Self { settings, aliases: Settings::default(), exists: true })
    }

    fn add_file(&mut self, path: &Path) -> Result<bool, HostsError> {
        let Some(layer) = read(path)? else { return Ok(false) };
        self.settings.add(layer);
        self.exists = true;
        Ok(true)
    }

    fn add_drop_ins(&mut self, directory: &Path) -> Result<(), HostsError> {
        let Some(names) = outside::list(directory)? else { return Ok(()) };
        let names: Vec<_> = names
            .iter()
            .filter(|name| name.extension().is_some_and(|extension| extension == "conf"))
            .collect();
        if names.len() > DROP_INS_MAX {
            return Err(HostsError::TooMany(directory.to_owned()));
        }
        for name in names {
            self.add_file(&directory.join(name))?;
        }
        Ok(())
    }

    /// Returns the places to ask for an image, in this order: mirrors, then the registry itself or what stands for it.
    ///
    /// # Errors
    /// [`HostsError::Blocked`], [`HostsError::Rewrite`].
    pub fn endpoints(&self, reference: &RegistryReference) -> Result<Vec<Endpoint>, HostsError> {
        let name = reference.name();
        let Some(registry) = prefix::find(&self.settings.registries, &name) else {
            return Ok(vec![Endpoint { reference: reference.clone(), insecure: false, mirror: false }]);
        };
        if registry.blocked {
            return Err(HostsError::Blocked { name, prefix: registry.prefix.clone() });
        }
        let at = |location: &str, insecure, mirror| {
            let reference = rewritten(reference, &prefix::rewrite(&name, &registry.prefix, location))?;
            Ok(Endpoint { reference, insecure, mirror })
        };
        let by_digest = reference.digest().is_some();
        let asked = registry.mirrors.iter().filter(|mirror| match mirror.pull {
            PullFrom::All => true,
            PullFrom::DigestOnly => by_digest,
            PullFrom::TagOnly => !by_digest,
        });
        let mirrors = asked.map(|mirror| at(&mirror.location, mirror.insecure, true));
        mirrors.chain([at(&registry.location, registry.insecure, false)]).collect()
    }

    /// Returns what a short name may mean, in the order to try: its alias, else the name in each registry that is
    /// searched; without any settings, the hub's.
    ///
    /// # Errors
    /// [`HostsError::Ambiguous`] where the user must choose, [`HostsError::NoCandidate`], [`HostsError::Rewrite`].
    pub fn resolve_short(&self, name: &ShortName) -> Result<Vec<RegistryReference>, HostsError> {
        let short = name.name();
        let alias = self.aliases.aliases.get(short).or_else(|| self.settings.aliases.get(short));
        if let Some(full) = alias {
            return Ok(vec![rewritten(&name.on_hub(), full)?]);
        }
        if !self.exists {
            return Ok(vec![name.on_hub()]);
        }
        let search = self.settings.search.iter();
        let candidates = search.map(|host| rewritten(&name.on_hub(), &format!("{host}/{short}")));
        let candidates: Vec<_> = candidates.collect::<Result<_, _>>()?;
        match candidates.len() {
            0 => Err(HostsError::NoCandidate(short.to_owned())),
            1 => Ok(candidates),
            _ if self.settings.mode != ShortNameMode::Enforcing => Ok(candidates),
            _ => Err(HostsError::Ambiguous { name: short.to_owned(), candidates }),
        }
    }
}

/// Returns the same image under a name that settings gave; they must say the host.
fn rewritten(reference: &RegistryReference, name: &str) -> Result<RegistryReference, HostsError> {
    let host = name.split_once('/').map_or(name, |(host, _)| host);
    let renamed = if crate::reference::looks_like_domain(host) {
        reference.renamed(name)
    } else {
        Err(NameError::Domain(host.to_owned()))
    };
    renamed.map_err(|source| HostsError::Rewrite {
        name: reference.name(),
        location: name.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<Option<Layer>, HostsError> {
    let Some(bytes) = outside::read(path, FILE_MAX)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_| HostsError::NotText(path.to_owned()))?;
    let wrong = |source| HostsError::File { path: path.to_owned(), source };
    Layer::parse(&text).map(Some).map_err(wrong)
}

#[cfg(test)]
mod tests;
