//! A registry in this process, how to get at it, and repositories to pull into.

use std::{path::Path, sync::Mutex};

use composefs::{
    digest::Algorithm,
    progress::{Event, Observer, Silent},
    repo::{InitOptions, OpenOptions, Repository, Writer, init},
};
use composefs_oci::{
    Error,
    credentials::{Credentials, KeychainOptions},
    model::platform::Platform,
    pull::{PullOptions, Pulled, pull},
    reference::{Reference, RegistryReference},
    transport::{
        Source, SourceOptions, open,
        registry::{Registry, RegistryOptions, fault::Fault},
    },
};
use composefs_testkit::{
    images::{Compression, Image},
    registry::Registry as InProcess,
};
use rustix::fs::CWD;
use tempfile::TempDir;

#[path = "../lab/plain_http.rs"]
mod plain_http;

pub(crate) use plain_http::options;

pub(crate) use composefs_testkit::{chain, images::layer_of_noise as layer};

/// Keeps all that it is told.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<String>>);

impl Heard {
    /// What was told since the last time, one event a line.
    pub(crate) fn all(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join("\n")
    }
}

impl Observer for Heard {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

pub(crate) fn with_login(user: &str, password: &str) -> RegistryOptions {
    options().keychain(KeychainOptions::default().credentials(Some(Credentials::basic(user, password))))
}

/// Trusts the registry's authority, and shows a certificate if it is wanted; the files are put into `dir`.
pub(crate) fn trusting(registry: &InProcess, dir: &Path, with_client: bool) -> RegistryOptions {
    registry.certificates().unwrap().write(dir, with_client);
    options().tls_verify(None).cert_dir(Some(dir.to_owned()))
}

pub(crate) fn connect(reference: &str, options: &RegistryOptions) -> Registry {
    Registry::open(&name_of(reference), options).unwrap()
}

pub(crate) fn name_of(reference: &str) -> RegistryReference {
    match reference.parse().unwrap() {
        Reference::Registry(name) => name,
        other => panic!("{other:?}"),
    }
}

/// The image's manifest for linux/amd64.
pub(crate) fn manifest(reference: &str, options: &RegistryOptions) -> Result<Vec<u8>, Error> {
    connect(reference, options).manifest(&amd64()).map(|chosen| chosen.bytes)
}

pub(crate) fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

/// What went wrong with the registry.
pub(crate) fn fault(error: Error) -> Fault {
    match error {
        Error::Registry(error) => error.fault,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn writer(path: &Path) -> Writer {
    init(CWD, path, &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
    Repository::open(CWD, path, &OpenOptions::default()).unwrap().into_writer().unwrap()
}

pub(crate) fn pull_with(reference: &str, options: &RegistryOptions) -> Result<Pulled, Error> {
    let dir = TempDir::new().unwrap();
    let writer = writer(&dir.path().join("repo"));
    let source = open(&reference.parse()?, &SourceOptions::default().registry(options.clone()))?;
    let pull_options = PullOptions::default().tag("x").platform(amd64());
    let pulled = pull(&writer, source.as_ref(), &pull_options, &Silent)?;
    let again = pull(&writer, source.as_ref(), &pull_options, &Silent)?;
    assert_eq!(again.images, pulled.images);
    Ok(pulled)
}

/// Two images are the same in all that counts.
pub(crate) fn assert_same(one: &Pulled, other: &Pulled) {
    assert_eq!(one.manifest, other.manifest);
    assert_eq!(one.config, other.config);
    assert_eq!(one.config_stream, other.config_stream);
    assert_eq!(one.images, other.images);
    assert_eq!(one.objects, other.objects);
}

/// An image of three layers, each in another compression.
pub(crate) fn image() -> Image {
    Image::new([
        layer(1, 3000, Compression::Gzip),
        layer(2, 700_000, Compression::Plain),
        layer(3, 200_000, Compression::Zstd),
    ])
}
