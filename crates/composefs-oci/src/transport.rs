//! Where images come from, and where they go: a medium gives, or takes, an index or a manifest, and blobs by descriptor.

mod archive_file;
mod archive_index;
pub mod containers_storage;
pub(crate) mod memory;
pub mod layout;
pub mod oci_archive;
pub mod dir;
pub mod docker_archive;
pub mod docker_daemon;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "registry")]
pub mod registry;
pub mod saved;
pub mod select;
pub mod artifacts;
mod sink;

use std::{
    fs::File,
    io::{self, Read},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use composefs::disk::outside;

use oci_spec::image::Descriptor;

use crate::{
    digest::Digest,
    environment::Environment,
    error::Error,
    model::platform::Platform,
    policy::{Identity, PathTransport, Policy},
    reference::{InStorage, Reference},
};

pub(crate) use archive_file::unnamed;
pub use artifacts::Artifacts;
pub(crate) use layout::read_document;
pub use sink::{OpenBlob, Sink, SinkOptions, create};

/// The bytes of a manifest, an index or a config, checked against the digest under which they were asked for.
pub type Document = Vec<u8>;

/// What a reference names on its medium, before a platform is chosen: an index or a manifest, as it is there.
#[derive(Clone, Debug)]
pub struct Root {
    /// Its bytes.
    pub bytes: Document,
    /// Their digest; for a reference by digest the one asked for.
    pub digest: Digest,
    /// Its media type: what the medium says, else what the document says of itself, else what it looks like.
    pub media_type: String,
}

/// A manifest that was chosen on a medium.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The manifest's bytes.
    pub bytes: Document,
    /// Its digest, which the bytes have.
    pub digest: Digest,
    /// What a user should know about the choice.
    pub warning: Option<String>,
}

/// A medium that holds images. What it gives is not believed by anybody: the importer checks every blob.
pub trait Source: Send + Sync {
    /// Returns the reference in words for messages.
    fn describe(&self) -> String;

    /// Returns what the reference names, whatever the platform.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], also if it names several things, and what reading gives.
    fn root(&self) -> Result<Root, Error>;

    /// Reads the document of a descriptor (a manifest of an index, a config) whole, checked against digest and size.
    ///
    /// # Errors
    /// [`Error::TooLarge`] past `max` bytes, [`Error::BlobMismatch`], and what reading gives.
    fn document(&self, descriptor: &Descriptor, max: u64) -> Result<Document, Error> {
        read_document(descriptor, max, |descriptor| self.blob(descriptor))
    }

    /// Tells whether what came wrong may come right when it is asked for again, as over a network. Whoever checks
    /// does that once.
    fn gives_afresh(&self) -> bool {
        false
    }

    /// Tells whether reading may take long for other reasons than its size, as over a network. Then nobody should hold
    /// a lock meanwhile that others wait for.
    fn waits(&self) -> bool {
        self.gives_afresh()
    }

    /// Finds the manifest that the reference and the platform mean.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] with what is there, and what reading gives.
    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error>;

    /// Lists what refers to a manifest, of one artifact type if that is given: manifests whose documents and blobs are
    /// had like any other. Media that cannot tell have nothing.
    ///
    /// # Errors
    /// What asking the medium gives.
    fn artifacts_of(&self, _subject: &Digest, _kind: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        Ok(Vec::new())
    }

    /// Returns what another tag leads to, beside the one that the reference names; `None` where there is none, or where
    /// the medium has no tags.
    ///
    /// # Errors
    /// What asking the medium gives.
    fn tagged(&self, _tag: &str) -> Result<Option<Root>, Error> {
        Ok(None)
    }

    /// Returns the descriptor of the bytes there are for a layer, where the medium keeps another form of it than the
    /// manifest says, such as the tar without its compression; [`Source::blob`] takes that one then.
    ///
    /// # Errors
    /// What asking the medium gives.
    fn kept_as(&self, _layer: &Descriptor) -> Result<Option<Descriptor>, Error> {
        Ok(None)
    }

    /// Tells whether the medium has layers as files that [`Source::blob_of_files`] offers, so that a file system may
    /// keep what they hold once.
    fn has_files(&self) -> bool {
        false
    }

    /// Opens a blob. It is called from several threads at once. While a medium waits for bytes, reading may be
    /// [interrupted](std::io::ErrorKind::Interrupted) now and then, and goes on with the next read.
    ///
    /// # Errors
    /// [`Error::BlobMissing`], [`Error::Source`].
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error>;

    /// Opens a blob as [`Source::blob`], and offers the files that its bytes come from to `taker` on the way. Only a
    /// medium that has layers unpacked has such files.
    ///
    /// # Errors
    /// As [`Source::blob`].
    fn blob_of_files<'a>(
        &'a self,
        descriptor: &Descriptor,
        _taker: &'a dyn FileTaker,
    ) -> Result<Box<dyn Read + Send + 'a>, Error> {
        self.blob(descriptor)
    }
}

/// Takes files whole that a blob's bytes come from.
pub trait FileTaker: Send + Sync {
    /// Is offered the file whose contents are the next `size` bytes of the blob, `offset` bytes from its beginning.
    /// Returns the file that they must be read from instead, if it was taken.
    ///
    /// # Errors
    /// What keeps the blob from being read further.
    fn take(&self, file: BorrowedFd<'_>, offset: u64, size: u64) -> io::Result<Option<File>>;
}

/// Returns the digest of a descriptor.
///
/// # Errors
/// [`Error::Model`] for text that is none.
pub(crate) fn digest_of(descriptor: &Descriptor) -> Result<Digest, Error> {
    Digest::new(descriptor.digest().as_ref())
        .map_err(|source| Error::model(descriptor.digest(), source.into()))
}

/// How media are opened.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SourceOptions {
    /// How registries are got at.
    #[cfg(feature = "registry")]
    pub registry: registry::RegistryOptions,
    /// Where Docker's daemon is.
    pub docker: docker_daemon::DaemonOptions,
    /// How skopeo's proxy is run.
    #[cfg(feature = "proxy")]
    pub proxy: proxy::ProxyOptions,
    /// Where the settings of podman's store are looked for; by default there are none.
    pub environment: Environment,
    /// Which images may be used; by default any. A skopeo that looks at policies as a proxy goes by its own besides.
    pub policy: Policy,
}

impl SourceOptions {
    /// Sets where the settings of podman's store are looked for.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Sets which images may be used.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets where Docker's daemon is.
    #[must_use]
    pub fn docker(mut self, options: docker_daemon::DaemonOptions) -> Self {
        self.docker = options;
        self
    }

    /// Sets how registries are got at.
    #[cfg(feature = "registry")]
    #[must_use]
    pub fn registry(mut self, options: registry::RegistryOptions) -> Self {
        self.registry = options;
        self
    }

    /// Sets how skopeo's proxy is run.
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn proxy(mut self, options: proxy::ProxyOptions) -> Self {
        self.proxy = options;
        self
    }
}

/// Opens the medium of a reference: natively, or through the proxy for transports that only skopeo speaks. Where the
/// policy does not admit the image, nothing of it is read.
///
/// # Errors
/// [`Error::NoSuchImage`], [`Error::Source`], [`Error::Policy`]; without the feature `proxy` [`Error::NeedsProxy`].
pub fn open(reference: &Reference, options: &SourceOptions) -> Result<Box<dyn Source>, Error> {
    if let Some(identity) = identity(reference, options)? {
        options.policy.admit(&identity)?;
    }
    match reference {
        Reference::Layout(at) => Ok(Box::new(layout::Layout::open(at)?)),
        Reference::OciArchive(at) => Ok(Box::new(oci_archive::OciArchive::open(at)?)),
        Reference::Dir(path) => Ok(Box::new(dir::Dir::open(path)?)),
        Reference::DockerArchive(at) => Ok(Box::new(docker_archive::DockerArchive::open(at)?)),
        Reference::DockerDaemon(image) => {
            Ok(Box::new(docker_daemon::DockerDaemon::open(image, &options.docker)?))
        }
        Reference::ContainersStorage(at) => open_storage(at, options),
        #[cfg(feature = "registry")]
        Reference::Registry(name) => Ok(Box::new(registry::Registry::open(name, &options.registry)?)),
        #[cfg(feature = "registry")]
        Reference::ShortName(name) => {
            Ok(Box::new(registry::Registry::open_short_under(name, &options.registry, &options.policy)?))
        }
        #[cfg(all(feature = "proxy", not(feature = "registry")))]
        Reference::ShortName(name) => {
            let name = format!("docker://{}", name.on_hub());
            Ok(Box::new(proxy::Proxy::open(name, options.proxy.clone())?))
        }
        #[cfg(feature = "proxy")]
        _ => Ok(Box::new(proxy::Proxy::open(reference.to_string(), options.proxy.clone())?)),
        #[cfg(not(feature = "proxy"))]
        _ => Err(Error::NeedsProxy { reference: reference.to_string() }),
    }
}

/// Returns a path as policies have it. What is not there, or has no path, is called as it was written; opening it tells
/// more.
fn resolved(path: &Path) -> Result<PathBuf, Error> {
    let resolved = outside::resolve(path)?.or_else(|| std::path::absolute(path).ok());
    Ok(resolved.unwrap_or_else(|| path.to_owned()))
}

/// Returns what an image is called in a policy, where that is known before anything is opened. Not every skopeo looks at
/// policies when it is a proxy, so what it gets is judged here, too.
fn identity(reference: &Reference, options: &SourceOptions) -> Result<Option<Identity>, Error> {
    let path = |transport, path: &Path| Ok::<_, Error>(Some(Identity::path(transport, &resolved(path)?)));
    match reference {
        Reference::Layout(at) => path(PathTransport::Layout, &at.path),
        Reference::OciArchive(at) => path(PathTransport::OciArchive, &at.path),
        Reference::Dir(at) => path(PathTransport::Dir, at),
        Reference::DockerArchive(at) => Ok(Some(Identity::docker_archive(&at.path))),
        Reference::DockerDaemon(image) => Ok(Some(Identity::docker_daemon(image))),
        Reference::Registry(name) => Ok(Some(Identity::registry(name))),
        #[cfg(not(feature = "registry"))]
        Reference::ShortName(name) => Ok(Some(Identity::registry(&name.on_hub()))),
        Reference::Proxy(text) => match text.parse() {
            Ok(Reference::ContainersStorage(at)) => {
                containers_storage::identity(&at, &options.environment, None).map(Some)
            }
            // What is parsed is never the proxy's.
            Ok(native) => identity(&native, options),
            Err(_) => Ok(Some(Identity::unknown(text))),
        },
        _ => Ok(None),
    }
}

/// Opens podman's store, through skopeo if its driver is one that we don't read.
fn open_storage(at: &InStorage, options: &SourceOptions) -> Result<Box<dyn Source>, Error> {
    match containers_storage::ContainersStorage::open(at, &options.environment) {
        Ok(storage) => {
            options.policy.admit(storage.identity())?;
            Ok(Box::new(storage))
        }
        #[cfg(feature = "proxy")]
        Err(Error::Storage { source: fault @ containers_storage::StorageError::Driver(_), .. }) => {
            let driver = if let containers_storage::StorageError::Driver(name) = &fault { name } else { "" };
            let identity = containers_storage::identity(at, &options.environment, Some(driver))?;
            options.policy.admit(&identity)?;
            let name = format!("containers-storage:{at}");
            let proxy = proxy::Proxy::open(name, options.proxy.clone())?;
            Ok(Box::new(proxy.warning(format!("{fault}; skopeo reads it"))))
        }
        Err(error) => Err(error),
    }
}
