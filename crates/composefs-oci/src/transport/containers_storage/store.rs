//! One store: its records of images and layers, its files, and the locks that keep both still.
//!
//! # Format
//! `docs/formats/transports.md`, section 12.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use composefs_linux::record_lock;
use rustix::{
    fs::{Access, CWD, Mode, OFlags, access, openat},
    io::{Errno, retry_on_intr},
};

use crate::{
    error::{Error, Step},
    model::ModelError,
};

use super::{
    super::layout::{open_file, read_bounded},
    StorageError,
    config::StoreConfig,
};

/// The longest record of all images, or of all layers, in bytes.
const RECORDS_MAX: u64 = 64 << 20;
/// Drivers whose layers are directories that we find.
const DRIVERS: [Driver; 2] = [Driver::Overlay, Driver::Vfs];
/// Drivers that there are besides.
const OTHER_DRIVERS: [&str; 5] = ["btrfs", "zfs", "devicemapper", "aufs", "overlay2"];

/// How a store keeps the files of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Each layer's own files.
    Overlay,
    /// Each layer's and all below.
    Vfs,
}

impl Driver {
    fn parse(name: &str) -> Result<Self, StorageError> {
        let found = DRIVERS.into_iter().find(|driver| driver.name() == name);
        found.ok_or_else(|| StorageError::Driver(name.to_owned()))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Vfs => "vfs",
        }
    }
}

/// What a store knows of an image.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ImageRecord {
    /// Its id: of most images the hex digits of the config's digest.
    pub id: String,
    /// The digest that it was stored by: of its manifest, or of the index that this was chosen from.
    pub digest: Option<String>,
    /// Its names, written out.
    pub names: Option<Vec<String>>,
    /// Its topmost layer.
    pub layer: Option<String>,
    /// What documents are kept with it.
    pub big_data_names: Option<Vec<String>>,
    /// The digests of these documents, by their names.
    pub big_data_digests: Option<HashMap<String, String>>,
}

/// The document that an image's manifest is.
pub(super) const MANIFEST: &str = "manifest";

impl ImageRecord {
    /// Returns the names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.names.as_deref().unwrap_or_default()
    }

    /// Returns what documents are kept with it.
    #[must_use]
    pub fn documents(&self) -> &[String] {
        self.big_data_names.as_deref().unwrap_or_default()
    }

    /// Returns the digest of the manifest, if it is recorded.
    #[must_use]
    pub fn manifest_digest(&self) -> Option<&str> {
        // A list of podman's that was changed since has its first digest for ever.
        let by_name = self.big_data_digests.as_ref().and_then(|digests| digests.get(MANIFEST));
        by_name.or(self.digest.as_ref()).map(String::as_str)
    }
}

/// What a store knows of a layer.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct LayerRecord {
    /// Its id.
    pub id: String,
    /// The layer below.
    pub parent: Option<String>,
    /// The digest of its tar.
    pub diff_digest: Option<String>,
    /// The length of its tar in bytes.
    pub diff_size: Option<i64>,
    /// The digest of a table of contents that it was made from, instead of its tar.
    pub toc_digest: Option<String>,
}

/// Parses `images.json`.
///
/// # Errors
/// The parser's.
pub fn parse_images(bytes: &[u8]) -> Result<Vec<ImageRecord>, serde_json::Error> {
    Ok(serde_json::from_slice::<Option<_>>(bytes)?.unwrap_or_default())
}

/// Parses `layers.json` or `volatile-layers.json`.
///
/// # Errors
/// The parser's.
pub fn parse_layers(bytes: &[u8]) -> Result<Vec<LayerRecord>, serde_json::Error> {
    Ok(serde_json::from_slice::<Option<_>>(bytes)?.unwrap_or_default())
}

/// A lock of one of the store's files, until it is dropped; nothing, where the store has no such file for us.
#[derive(Debug)]
pub(super) struct ReadLock {
    _held: Option<OwnedFd>,
}

/// A store and the driver whose layers are read.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    run_root: Option<PathBuf>,
    driver: Driver,
}

impl Store {
    /// Opens the configured store; `None` if there is none.
    pub(super) fn open(config: &StoreConfig) -> Result<Option<Self>, StorageError> {
        let (root, run_root) = (config.graph_root.clone(), config.run_root.clone());
        let driver = config.driver.as_deref();
        Ok(Self::driver_of(&root, driver)?.map(|driver| Self { root, run_root, driver }))
    }

    /// Opens a store that podman only reads; `None` if there is none.
    pub(super) fn open_additional(root: &Path, config: &StoreConfig) -> Result<Option<Self>, StorageError> {
        let driver = Self::driver_of(root, config.driver.as_deref())?;
        Ok(driver.map(|driver| Self { root: root.to_owned(), run_root: None, driver }))
    }

    /// Finds the driver: the one that is set, if the store has images of it, else one that it has images of.
    fn driver_of(root: &Path, set: Option<&str>) -> Result<Option<Driver>, StorageError> {
        let has = |name: &str| access(root.join(format!("{name}-images")), Access::EXISTS).is_ok();
        if let Some(name) = set.filter(|name| has(name)) {
            return Driver::parse(name).map(Some);
        }
        if let Some(driver) = DRIVERS.into_iter().find(|driver| has(driver.name())) {
            return Ok(Some(driver));
        }
        match OTHER_DRIVERS.into_iter().find(|name| has(name)) {
            Some(name) => Err(StorageError::Driver(name.to_owned())),
            None => Ok(None),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn driver(&self) -> &'static str {
        self.driver.name()
    }

    fn directory(&self, what: &str) -> PathBuf {
        self.root.join(format!("{}-{what}", self.driver.name()))
    }

    /// Reads the records of all images.
    pub(super) fn images(&self) -> Result<Vec<ImageRecord>, Error> {
        let _lock = self.lock("images")?;
        read_records(&self.directory("images").join("images.json"), parse_images)
    }

    /// Reads the records of all layers.
    pub(super) fn layers(&self) -> Result<Vec<LayerRecord>, Error> {
        let _lock = self.lock_layers()?;
        let directory = self.directory("layers");
        let mut layers = read_records(&directory.join("layers.json"), parse_layers)?;
        let volatile = "volatile-layers.json";
        layers.extend(read_records(&directory.join(volatile), parse_layers)?);
        if let Some(run_root) = &self.run_root {
            let directory = run_root.join(format!("{}-layers", self.driver.name()));
            layers.extend(read_records(&directory.join(volatile), parse_layers)?);
        }
        Ok(layers)
    }

    /// Keeps layers from being removed; waits for who changes them.
    pub(super) fn lock_layers(&self) -> Result<ReadLock, Error> {
        self.lock("layers")
    }

    fn lock(&self, what: &str) -> Result<ReadLock, Error> {
        let path = self.directory(what).join(format!("{what}.lock"));
        let fail = |source: io::Error| Error::source(Step::Lock, path.display(), source);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match retry_on_intr(|| openat(CWD, &path, flags, Mode::empty())) {
            Ok(file) => file,
            // A store that nobody writes needs none; what changes nonetheless, the digests tell.
            Err(Errno::NOENT | Errno::ACCESS) => return Ok(ReadLock { _held: None }),
            Err(errno) => return Err(fail(errno.into())),
        };
        if !record_lock::try_lock_shared(&file).map_err(fail)? {
            tracing::info!(path = %path.display(), "waiting for another program that changes the store");
            while let Err(error) = record_lock::lock_shared(&file) {
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(fail(error));
                }
            }
        }
        Ok(ReadLock { _held: Some(file) })
    }

    /// Opens a document that is kept with an image.
    pub(super) fn document(&self, image: &ImageRecord, name: &str) -> Result<File, Error> {
        let id = component(&image.id).map_err(|error| Error::storage(self.root.display(), error))?;
        open_file(&self.directory("images").join(id).join(document_file(name)))
    }

    /// Returns where the tar-split of a layer is.
    pub(super) fn tar_split_path(&self, layer: &str) -> PathBuf {
        self.directory("layers").join(format!("{layer}.tar-split.gz"))
    }

    /// Opens the tar-split of a layer.
    pub(super) fn tar_split(&self, layer: &str) -> Result<File, Error> {
        let id = component(layer).map_err(|error| Error::storage(self.root.display(), error))?;
        let path = self.tar_split_path(id);
        open_file(&path).map_err(|error| match error {
            Error::Source { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Error::storage(path.display(), StorageError::NoTarSplit(layer.to_owned()))
            }
            other => other,
        })
    }

    /// Returns where the files of a layer are, and where an image of their names would be.
    pub(super) fn files(&self, layer: &str) -> Result<(PathBuf, Option<PathBuf>), StorageError> {
        let id = component(layer)?;
        Ok(match self.driver {
            Driver::Overlay => {
                let directory = self.root.join("overlay").join(id);
                (directory.join("diff"), Some(directory.join("composefs-data/composefs.blob")))
            }
            Driver::Vfs => (self.root.join("vfs/dir").join(id), None),
        })
    }
}

fn read_records<T>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<Vec<T>, serde_json::Error>,
) -> Result<Vec<T>, Error> {
    let file = match open_file(path) {
        Err(Error::Source { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(Vec::new());
        }
        opened => opened?,
    };
    let fail = |source| Error::source(Step::ReadSource, path.display(), source);
    let bytes = read_bounded(file, RECORDS_MAX).map_err(fail)?;
    parse(&bytes).map_err(|source| {
        Error::model(path.display(), ModelError::Json { what: "record of a store", source })
    })
}

/// Takes an id for the name of a file, if it is one.
fn component(id: &str) -> Result<&str, StorageError> {
    let good = !id.is_empty() && id.len() <= 200 && !id.starts_with('.') && !id.contains(['/', '\0']);
    if good { Ok(id) } else { Err(StorageError::BadId(id.to_owned())) }
}

/// Returns the file name of a document: its own if that is plain.
fn document_file(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.';
    let plain = !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
    if plain { name.to_owned() } else { format!("={}", STANDARD.encode(name).replace('/', "_")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_documents() {
        assert_eq!(document_file("manifest"), "manifest");
        assert_eq!(document_file("instances.json"), "instances.json");
        assert_eq!(document_file("manifest-sha256:07"), "=bWFuaWZlc3Qtc2hhMjU2OjA3");
        assert!(!document_file("????").contains('/'));
    }

    #[test]
    fn ids_are_names() {
        assert!(component("0030c049").is_ok());
        for bad in ["", ".", "..", "a/b", "/etc", "a\0"] {
            assert!(component(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn records_of_old_and_new() {
        let images =
            r#"[{"id":"a","names":null,"unknown":1},{"id":"b","names":["x"],"big-data-names":["manifest"]}]"#;
        let images = parse_images(images.as_bytes()).unwrap();
        assert_eq!((images[0].names(), images[1].names()), (&[][..], &["x".to_owned()][..]));
        assert_eq!(images[1].documents(), ["manifest"]);
        let digests =
            r#"[{"id":"a","digest":"old","big-data-digests":{"manifest":"new"}},{"id":"b","digest":"d"}]"#;
        let images = parse_images(digests.as_bytes()).unwrap();
        assert_eq!((images[0].manifest_digest(), images[1].manifest_digest()), (Some("new"), Some("d")));
        assert!(parse_images(b"null").unwrap().is_empty());
        let layers = parse_layers(br#"[{"id":"a","diff-size":-1},{"id":"b","parent":"a"}]"#).unwrap();
        assert_eq!(layers[1].parent.as_deref(), Some("a"));
        assert!(parse_layers(b"{").is_err());
    }

    #[test]
    fn the_driver_is_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let driver = |set| Store::driver_of(dir.path(), set);
        let make = |name: &str| std::fs::create_dir(dir.path().join(name)).unwrap();
        assert_eq!(driver(Some("overlay")).unwrap(), None);
        make("zfs-images");
        assert!(matches!(driver(None), Err(StorageError::Driver(name)) if name == "zfs"));
        make("vfs-images");
        assert_eq!(driver(None).unwrap(), Some(Driver::Vfs));
        assert_eq!(driver(Some("overlay")).unwrap(), Some(Driver::Vfs));
        make("overlay-images");
        assert_eq!(driver(None).unwrap(), Some(Driver::Overlay));
        assert_eq!(driver(Some("vfs")).unwrap(), Some(Driver::Vfs));
        assert!(driver(Some("zfs")).is_err());
    }
}
