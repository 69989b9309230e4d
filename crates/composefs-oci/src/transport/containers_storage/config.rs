//! Where the stores are, as podman's configuration says.
//!
//! # Format
//! `docs/formats/transports.md`, section 12; containers-storage.conf(5).

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    environment::Environment,
    error::{Error, Step},
    reference::StoreChoice,
};

use super::{
    super::layout::{open_file, read_bounded},
    StorageError,
};

/// The largest configuration file that is read, in bytes.
const CONFIG_MAX: u64 = 1 << 20;
/// The system's configuration; the first that is there counts.
const SYSTEM: [&str; 2] = ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"];

/// Where the stores are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// The driver, if one is set; else what is there decides.
    pub driver: Option<String>,
    /// Where layers and images are.
    pub graph_root: PathBuf,
    /// Where state is that goes with a boot, if that is known.
    pub run_root: Option<PathBuf>,
    /// More stores, which podman only reads.
    pub additional: Vec<PathBuf>,
}

#[derive(Default, serde::Deserialize)]
struct File {
    #[serde(default)]
    storage: Storage,
}

#[derive(Default, serde::Deserialize)]
struct Storage {
    driver: Option<String>,
    graphroot: Option<String>,
    runroot: Option<String>,
    rootless_storage_path: Option<String>,
    imagestore: Option<String>,
    #[serde(default)]
    options: Options,
}

#[derive(Default, serde::Deserialize)]
struct Options {
    #[serde(default)]
    additionalimagestores: Vec<String>,
    #[serde(default)]
    overlay: DriverOptions,
    #[serde(default)]
    vfs: DriverOptions,
}

#[derive(Default, serde::Deserialize)]
struct DriverOptions {
    imagestore: Option<String>,
    #[serde(default)]
    additionalimagestores: Vec<String>,
}

/// Finds the stores that `choice` means for this user.
///
/// # Errors
/// [`Error::Storage`] for a file that is no configuration, or if nothing says where the store is; [`Error::Source`].
pub fn find(choice: &StoreChoice, environment: &Environment) -> Result<StoreConfig, Error> {
    let mut config = configured(environment)?;
    let options = environment.get("STORAGE_OPTS").and_then(|text| text.to_str()).unwrap_or_default();
    config.take_options(options.split(','));
    if let Some(driver) = environment.get("STORAGE_DRIVER").and_then(|text| text.to_str()) {
        config.driver = Some(driver.to_owned());
    }
    if let Some(root) = environment.path("CONTAINERS_STORAGE_ROOT") {
        config.graph_root = root;
    }
    if let Some(root) = &choice.graph_root {
        // What is configured is about the store that is configured.
        config = StoreConfig { graph_root: root.clone(), ..StoreConfig::default() };
    }
    config.driver = choice.driver.clone().or(config.driver);
    config.run_root = choice.run_root.clone().or(config.run_root);
    config.take_options(choice.options.iter().map(String::as_str));
    if config.graph_root.as_os_str().is_empty() {
        return Err(Error::storage("containers-storage", StorageError::NoHome));
    }
    Ok(config)
}

/// Reads the files that count for this user.
fn configured(environment: &Environment) -> Result<StoreConfig, Error> {
    let rootless = !environment.is_root() || environment.get("_CONTAINERS_USERNS_CONFIGURED").is_some();
    let read_first = |paths: &[PathBuf]| paths.iter().find_map(|path| read(path).transpose()).transpose();
    let system = || read_first(&SYSTEM.map(|path| environment.system(path)));
    let (file, own) = match environment.path("CONTAINERS_STORAGE_CONF") {
        // Named, so it must be there.
        Some(path) => {
            let missing = || Error::source(Step::OpenSource, path.display(), io::ErrorKind::NotFound.into());
            (read(&path)?.ok_or_else(missing)?, true)
        }
        None => {
            let user = environment.in_config("containers/storage.conf").filter(|_| rootless);
            match read_first(user.as_slice())? {
                Some(file) => (file, true),
                None => (system()?.unwrap_or_default(), false),
            }
        }
    };
    Ok(StoreConfig::of(file.storage, rootless, own, environment))
}

impl StoreConfig {
    /// Reads the text of a configuration as this user's own.
    ///
    /// # Errors
    /// [`StorageError::Config`].
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, StorageError> {
        let rootless = !environment.is_root();
        File::parse(text).map(|file| Self::of(file.storage, rootless, true, environment))
    }

    /// Puts together what a file says and what holds where it says nothing; `own` tells that it is the user's.
    fn of(storage: Storage, rootless: bool, own: bool, environment: &Environment) -> Self {
        let expand = |text: String| expand(&text, environment);
        let rootless_root = || {
            let path = storage.rootless_storage_path.clone().map(expand);
            path.or_else(|| environment.in_data("containers/storage"))
        };
        // The system's file says where root's store is.
        let (graph_root, run_root) = if rootless && !own {
            (rootless_root(), None)
        } else {
            let graph_root = storage.graphroot.clone().filter(|path| !path.is_empty()).map(expand);
            let default = || {
                if rootless {
                    rootless_root()
                } else {
                    Some(environment.system("/var/lib/containers/storage"))
                }
            };
            (graph_root.or_else(default), storage.runroot.clone().map(expand))
        };
        let image_stores =
            [storage.imagestore, storage.options.overlay.imagestore, storage.options.vfs.imagestore];
        let additional = image_stores
            .into_iter()
            .flatten()
            .chain(storage.options.additionalimagestores)
            .chain(storage.options.overlay.additionalimagestores)
            .chain(storage.options.vfs.additionalimagestores)
            .filter(|path| !path.is_empty())
            .map(expand)
            .collect();
        Self {
            driver: storage.driver.filter(|driver| !driver.is_empty()),
            graph_root: graph_root.unwrap_or_default(),
            run_root: run_root.filter(|path| !path.as_os_str().is_empty()),
            additional,
        }
    }

    /// Takes what concerns us of `key=value`, where the key may have its driver in front.
    fn take_options<'a>(&mut self, options: impl Iterator<Item = &'a str>) {
        for option in options {
            let Some((key, value)) = option.trim().split_once('=') else { continue };
            let key = key.rsplit_once('.').map_or(key, |(_, key)| key);
            if matches!(key, "additionalimagestore" | "imagestore") && !value.is_empty() {
                self.additional.push(value.into());
            }
        }
    }
}

/// Reads a configuration file; `None` if it is not there.
fn read(path: &Path) -> Result<Option<File>, Error> {
    let file = match open_file(path) {
        Err(Error::Source { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let fail = |source| Error::source(Step::ReadSource, path.display(), source);
    let bytes = read_bounded(file, CONFIG_MAX).map_err(fail)?;
    let text = String::from_utf8(bytes).map_err(|_| StorageError::Config("it is not UTF-8".to_owned()));
    let parsed = text.and_then(|text| File::parse(&text));
    parsed.map(Some).map_err(|error| Error::storage(path.display(), error))
}

impl File {
    fn parse(text: &str) -> Result<Self, StorageError> {
        // The message alone: the whole error shows lines of the file.
        toml::from_str(text).map_err(|error| StorageError::Config(error.message().to_owned()))
    }
}

/// Puts in the variables that paths may have.
fn expand(text: &str, environment: &Environment) -> PathBuf {
    let value = |name| environment.get(name).map(|value| value.to_string_lossy().into_owned());
    let uid = value("_CONTAINERS_ROOTLESS_UID").or_else(|| environment.user().map(|uid| uid.to_string()));
    let mut text = text.to_owned();
    for (name, value) in [("HOME", value("HOME")), ("UID", uid), ("USER", value("USER"))] {
        if let Some(value) = value {
            text = text.replace(&format!("${{{name}}}"), &value).replace(&format!("${name}"), &value);
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct System(tempfile::TempDir);

    impl System {
        fn new(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = dir.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Self(dir)
        }

        fn environment(&self) -> Environment {
            Environment::default().root(self.0.path()).variable("HOME", self.0.path().join("home"))
        }

        fn find(&self, store: &str, environment: &Environment) -> StoreConfig {
            let reference = crate::reference::InStorage::parse(&format!("{store}x")).unwrap();
            find(reference.store(), environment).unwrap()
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }
    }

    const ROOTS: &str = "[storage]\ndriver = 'overlay'\ngraphroot = '/graph'\nrunroot = '/run/x'\n\
        rootless_storage_path = '$HOME/rootless/${UID}'\n[storage.options]\nadditionalimagestores = ['/more']\n\
        [storage.options.overlay]\nimagestore = '/images'\nmountopt = 'nodev'\n";

    #[test]
    fn defaults() {
        let system = System::new(&[]);
        assert_eq!(
            system.find("", &system.environment().uid(0)).graph_root,
            system.at("var/lib/containers/storage")
        );
        assert_eq!(
            system.find("", &system.environment().uid(7)).graph_root,
            system.at("home/.local/share/containers/storage")
        );
        // In `podman unshare` one is root and has one's own store.
        let unshared = system.environment().uid(0).variable("_CONTAINERS_USERNS_CONFIGURED", "done");
        assert_eq!(system.find("", &unshared).graph_root, system.at("home/.local/share/containers/storage"));
        assert!(find(&StoreChoice::default(), &Environment::default().uid(7)).is_err());
    }

    #[test]
    fn files() {
        let own = "[storage]\ngraphroot = '/own'\n";
        let system = System::new(&[("usr/share/containers/storage.conf", ROOTS)]);
        let root = system.find("", &system.environment().uid(0));
        assert_eq!(root.graph_root, Path::new("/graph"));
        assert_eq!(root.run_root.as_deref(), Some(Path::new("/run/x")));
        assert_eq!(root.driver.as_deref(), Some("overlay"));
        assert_eq!(root.additional, [Path::new("/images"), Path::new("/more")]);
        assert_eq!(system.find("", &system.environment().uid(7)).graph_root, system.at("home/rootless/7"));

        let system = System::new(&[
            ("usr/share/containers/storage.conf", ROOTS),
            ("etc/containers/storage.conf", "[storage]\ngraphroot = '/etc-graph'\n"),
            ("home/.config/containers/storage.conf", own),
        ]);
        assert_eq!(system.find("", &system.environment().uid(0)).graph_root, Path::new("/etc-graph"));
        assert_eq!(system.find("", &system.environment().uid(7)).graph_root, Path::new("/own"));
        let named = system
            .environment()
            .uid(0)
            .variable("CONTAINERS_STORAGE_CONF", system.at("home/.config/containers/storage.conf"));
        assert_eq!(system.find("", &named).graph_root, Path::new("/own"));
        let absent = system.environment().variable("CONTAINERS_STORAGE_CONF", "/absent");
        assert!(matches!(find(&StoreChoice::default(), &absent), Err(Error::Source { .. })));
    }

    #[test]
    fn what_is_said_counts_more() {
        let system = System::new(&[("etc/containers/storage.conf", ROOTS)]);
        let environment = system
            .environment()
            .uid(0)
            .variable("STORAGE_DRIVER", "vfs")
            .variable("STORAGE_OPTS", "overlay.mountopt=x,additionalimagestore=/opts")
            .variable("CONTAINERS_STORAGE_ROOT", "/by-variable");
        let found = system.find("", &environment);
        assert_eq!(found.graph_root, Path::new("/by-variable"));
        assert_eq!(found.driver.as_deref(), Some("vfs"));
        assert_eq!(found.additional, [Path::new("/images"), Path::new("/more"), Path::new("/opts")]);
        let found = system.find("[overlay@/said+/r:overlay.imagestore=/i]", &environment);
        assert_eq!(found.graph_root, Path::new("/said"));
        assert_eq!(found.additional, [Path::new("/i")]);
        assert_eq!(found.run_root.as_deref(), Some(Path::new("/r")));
        assert_eq!(found.driver.as_deref(), Some("overlay"));
    }

    #[test]
    fn what_is_no_configuration() {
        let system = System::new(&[("etc/containers/storage.conf", "[storage]\ndriver = secret\n")]);
        let error = find(&StoreChoice::default(), &system.environment().uid(0)).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            error.to_string().ends_with("storage.conf") && cause.starts_with("it is no storage.conf"),
            "{cause}"
        );
    }
}
