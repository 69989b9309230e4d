//! An image in a registry, over HTTP: the only native code that is asynchronous.
//!
//! What comes in: a reference, and how to get at it ([`RegistryOptions`]). What goes out: documents whole, blobs over
//! bounded queues to plain threads. Mirrors are asked first, and one that fails in whatever way is passed over.
//!
//! # Format
//! `docs/formats/transports.md`, sections 2 to 6 and 8.

mod background;
pub mod challenge;
mod client;
mod connect;
pub mod fault;
pub mod hosts;
pub mod header;
mod login;
pub mod proxies;
mod pull;
pub mod ranged;
pub mod push;
mod redirect;
mod referrers;
pub mod retry;
mod sending;
pub mod tls;
mod token;

use std::{
    collections::HashMap,
    fmt,
    io::{self, Read},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use composefs::error::chain;
use oci_spec::image::Descriptor;

use crate::{
    credentials::KeychainOptions,
    digest::Digest,
    environment::Environment,
    error::Error,
    model::{MANIFEST_MAX, media_type, platform::Platform},
    policy::{Identity, Policy},
    reference::{Reference, RegistryReference, ShortName},
};

use super::{Chosen, Document, Root, Source, digest_of, layout::read_document, select};

use background::Background;
use client::Client;
use fault::Failure;
use hosts::{HostsError, RegistriesConf};
use ranged::{BlobOrigin, Download, Plan, SplitOptions, Traffic};
pub use retry::{RetryOptions, Told};

pub use fault::RegistryError;
pub use login::check_login;

/// What this program calls itself unless it is told otherwise.
const USER_AGENT: &str = concat!("composefs-oci/", env!("CARGO_PKG_VERSION"));
/// How long a connection may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long nothing may come on a connection.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// The most bytes of documents that are remembered.
const DOCUMENTS_MAX: usize = 32 << 20;
/// The digest of `{}`, which nobody needs to fetch.
const EMPTY: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

/// How registries are got at.
///
/// The default looks at no variables and at no user's files, only at the system's; programs set
/// [`Environment::from_process`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegistryOptions {
    /// Variables, the user, where files are.
    pub environment: Environment,
    /// Credentials given by hand, or the file to look for them in.
    pub keychain: KeychainOptions,
    /// The registries.conf to use instead of the usual ones.
    pub registries_conf: Option<PathBuf>,
    /// The directory with the registry's certificates, instead of the usual ones.
    pub cert_dir: Option<PathBuf>,
    /// Whether TLS and certificates are insisted on, whatever registries.conf says of the registry.
    pub tls_verify: Option<bool>,
    /// How often something is tried again.
    pub retries: RetryOptions,
    /// When blobs are split over several connections.
    pub split: SplitOptions,
    /// What we call ourselves.
    pub user_agent: String,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long nothing may come, or be taken, before a connection is given up; for the answer to what was sent, five
    /// times as long.
    pub read_timeout: Duration,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            environment: Environment::default(),
            keychain: KeychainOptions::default(),
            registries_conf: None,
            cert_dir: None,
            tls_verify: None,
            retries: RetryOptions::default(),
            split: SplitOptions::default(),
            user_agent: USER_AGENT.to_owned(),
            connect_timeout: CONNECT_TIMEOUT,
            read_timeout: READ_TIMEOUT,
        }
    }
}

impl RegistryOptions {
    /// Sets where variables and files come from.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Sets where credentials come from.
    #[must_use]
    pub fn keychain(mut self, keychain: KeychainOptions) -> Self {
        self.keychain = keychain;
        self
    }

    /// Sets the registries.conf.
    #[must_use]
    pub fn registries_conf(mut self, path: Option<PathBuf>) -> Self {
        self.registries_conf = path;
        self
    }

    /// Sets the directory with the registry's certificates.
    #[must_use]
    pub fn cert_dir(mut self, path: Option<PathBuf>) -> Self {
        self.cert_dir = path;
        self
    }

    /// Sets whether TLS and certificates are insisted on; `None` leaves it to registries.conf, which by default does.
    #[must_use]
    pub const fn tls_verify(mut self, verify: Option<bool>) -> Self {
        self.tls_verify = verify;
        self
    }

    /// Sets how often something is tried again.
    #[must_use]
    pub fn retries(mut self, retries: RetryOptions) -> Self {
        self.retries = retries;
        self
    }

    /// Sets when blobs are split over several connections.
    #[must_use]
    pub fn split(mut self, split: SplitOptions) -> Self {
        self.split = split;
        self
    }

    /// Sets what we call ourselves.
    #[must_use]
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// Sets how long a connection may take to come about, and how long nothing may come on it.
    #[must_use]
    pub const fn timeouts(mut self, connect: Duration, read: Duration) -> Self {
        (self.connect_timeout, self.read_timeout) = (connect, read);
        self
    }
}

/// An image in a registry. Nothing is asked before something is wanted.
pub struct Registry {
    reference: RegistryReference,
    /// Where to ask, in this order.
    places: Vec<Arc<Client>>,
    /// The first of them that has answered for the image.
    first: AtomicUsize,
    retries: RetryOptions,
    split: SplitOptions,
    traffic: Traffic,
    known: Mutex<Known>,
    background: Background,
}

/// What was fetched and may be wanted again.
#[derive(Default)]
struct Known {
    root: Option<Root>,
    documents: HashMap<Digest, Document>,
    size: usize,
    /// How often blobs were asked for, if there are several places.
    asked: HashMap<Digest, usize>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("reference", &self.reference).finish_non_exhaustive()
    }
}

impl Registry {
    /// Prepares to ask for an image: reads registries.conf and certificates, and starts a thread.
    ///
    /// # Errors
    /// [`Error::Hosts`] for settings that cannot be used, or that block the registry; [`Error::Tls`] for certificates;
    /// [`Error::Source`] if no thread can be started.
    pub fn open(reference: &RegistryReference, options: &RegistryOptions) -> Result<Self, Error> {
        let conf = RegistriesConf::load(&options.environment, options.registries_conf.as_deref())?;
        Self::of(std::slice::from_ref(reference), &conf, options)
    }

    /// Prepares to ask for an image whose registry follows from registries.conf: an alias, or the registries that are
    /// searched, one after the other. Without any settings it is Docker Hub.
    ///
    /// # Errors
    /// As [`Registry::open`]; [`Error::Hosts`] also for a name that could be in several places, and for credentials given
    /// by hand if several registries are searched.
    pub fn open_short(name: &ShortName, options: &RegistryOptions) -> Result<Self, Error> {
        Self::open_short_under(name, options, &Policy::default())
    }

    /// Prepares as [`Registry::open_short`]; registries whose image the policy does not admit are passed over.
    ///
    /// # Errors
    /// As [`Registry::open_short`]; [`Error::Policy`] if none is left.
    pub fn open_short_under(
        name: &ShortName,
        options: &RegistryOptions,
        policy: &Policy,
    ) -> Result<Self, Error> {
        let conf = RegistriesConf::load(&options.environment, options.registries_conf.as_deref())?;
        let (mut admitted, mut refused) = (Vec::new(), None);
        for candidate in conf.resolve_short(name)? {
            match policy.admit(&Identity::registry(&candidate)) {
                Ok(()) => admitted.push(candidate),
                Err(error) => {
                    tracing::debug!(%candidate, %error, "not from here");
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            Some(error) if admitted.is_empty() => Err(error.into()),
            _ => Self::of(&admitted, &conf, options),
        }
    }

    fn of(
        references: &[RegistryReference],
        conf: &RegistriesConf,
        options: &RegistryOptions,
    ) -> Result<Self, Error> {
        check_whose_credentials(references, options)?;
        let mut connector = connect::Connector::new(options);
        let mut places = Vec::new();
        for reference in references {
            for endpoint in conf.endpoints(reference)? {
                places.push(Arc::new(connector.client(&endpoint)?));
            }
        }
        let reference = references.first().ok_or_else(|| Error::Connections("no place to ask".to_owned()))?;
        Ok(Self {
            reference: reference.clone(),
            places,
            first: AtomicUsize::new(0),
            retries: options.retries.clone(),
            split: options.split.clone(),
            traffic: Traffic::default(),
            known: Mutex::default(),
            background: Background::start(reference)?,
        })
    }

    /// Lists the tags of the repository.
    ///
    /// # Errors
    /// [`Error::Registry`].
    pub fn tags(&self) -> Result<Vec<String>, Error> {
        self.somewhere(&async |client, retries| referrers::tags(client, retries).await)
    }

    /// Lists what refers to a manifest of the repository, of one artifact type if that is given.
    ///
    /// # Errors
    /// [`Error::Registry`], [`Error::Model`].
    pub fn referrers(&self, digest: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        self.somewhere(&async |client, retries| {
            referrers::referrers(client, digest, artifact_type, retries).await
        })
    }

    /// Asks one place after the other, and returns what the last one says if none gives it. What the others say becomes
    /// a warning; that they don't have it, only if the last one doesn't give it either.
    fn somewhere<T>(
        &self,
        ask: &impl AsyncFn(&Client, &RetryOptions) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let begin = self.first.load(Ordering::Relaxed);
        let of_mirror = self.retries.of_mirror();
        self.background.block_on(async {
            let (mut last, mut absent) = (None, Vec::new());
            for (at, client) in self.places.iter().enumerate().skip(begin) {
                let is_last = at + 1 == self.places.len();
                match ask(client, if is_last { &self.retries } else { &of_mirror }).await {
                    Ok(got) => {
                        // What answers for the image is asked for its blobs.
                        self.first.fetch_max(at, Ordering::Relaxed);
                        return Ok(got);
                    }
                    Err(error) => {
                        tracing::debug!(place = client.name(), %error, "not from here");
                        if !is_last {
                            let text = format!("passed over: {}", chain(&error));
                            match &error {
                                Error::Registry(error) if error.is_absent() => absent.push(text),
                                _ => self.retries.observer.warn(&text),
                            }
                        }
                        last = Some(error);
                    }
                }
            }
            absent.iter().for_each(|text| self.retries.observer.warn(text));
            Err(last.unwrap_or_else(|| Error::Connections("no place to ask".to_owned())))
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a document, unless there are too many.
    fn remember(&self, digest: &Digest, bytes: &[u8]) {
        let mut known = self.known();
        if known.size + bytes.len() <= DOCUMENTS_MAX
            && known.documents.insert(digest.clone(), bytes.to_vec()).is_none()
        {
            known.size += bytes.len();
        }
    }

    /// Gets a manifest or index by its digest.
    fn manifest_document(&self, digest: &Digest) -> Result<Document, Error> {
        let root =
            self.somewhere(&async |client, retries| pull::manifest(client, digest.as_str(), retries).await)?;
        Ok(root.bytes)
    }

    /// Opens a blob at one of the places, else, of a foreign layer, at one of the addresses its descriptor names.
    fn fetched_blob(&self, descriptor: &Descriptor, digest: &Digest) -> Result<Download<BlobOrigin>, Error> {
        let handle = self.background.handle()?;
        let plan = Plan {
            size: descriptor.size(),
            retries: self.retries.clone(),
            split: self.split.clone(),
            traffic: self.traffic.clone(),
        };
        let mut places = self.places.get(self.first.load(Ordering::Relaxed)..).unwrap_or_default().to_vec();
        if places.len() > 1 {
            // Asked for again, it came damaged perhaps: then from elsewhere first.
            let mut known = self.known();
            let times = known.asked.entry(digest.clone()).or_default();
            let count = places.len();
            places.rotate_left(*times % count);
            *times = times.wrapping_add(1);
        }
        let mut places = places.into_iter();
        let first = places.next().ok_or_else(|| Error::Connections("no place to ask".to_owned()))?;
        let origin = BlobOrigin::new(first, places.collect(), digest);
        let error = match handle.block_on(ranged::open(handle, origin, plan.clone())) {
            Ok(pieces) => return Ok(pieces),
            Err(failure) => Error::from(failure),
        };
        let urls = descriptor.urls().iter().flatten().filter_map(|url| url.parse::<reqwest::Url>().ok());
        if let Some(client) = self.places.last() {
            for url in urls.filter(|url| url.scheme() == "https").take(URLS_MAX) {
                let origin = BlobOrigin::foreign(Arc::clone(client), digest, url);
                match handle.block_on(ranged::open(handle, origin, plan.clone())) {
                    Ok(pieces) => return Ok(pieces),
                    Err(Failure { error, .. }) => {
                        tracing::debug!(fault = %error.fault, "the foreign layer is not there either");
                    }
                }
            }
        }
        match error {
            Error::Registry(error) if error.is_absent() => Err(missing(digest, &self.reference)),
            error => Err(error),
        }
    }
}

/// Refuses credentials given by hand for a name that several registries are searched for: they would be told to all.
fn check_whose_credentials(
    references: &[RegistryReference],
    options: &RegistryOptions,
) -> Result<(), HostsError> {
    let Some(first) = references.first() else { return Ok(()) };
    let given = options.keychain.credentials.is_some();
    if !given || references.iter().all(|other| other.domain() == first.domain()) {
        return Ok(());
    }
    let registries = references.iter().map(|reference| reference.domain().to_owned()).collect();
    Err(HostsError::WhoseCredentials { name: first.path().to_owned(), registries })
}

/// The most addresses of a foreign layer that are tried.
const URLS_MAX: usize = 8;

fn missing(digest: &Digest, reference: &RegistryReference) -> Error {
    Error::BlobMissing { digest: digest.clone(), place: reference.name() }
}

/// Returns the contents that a descriptor has in itself, or that are known without asking.
fn at_hand(descriptor: &Descriptor, digest: &Digest) -> Option<Vec<u8>> {
    use base64::Engine as _;
    if digest.as_str() == EMPTY {
        return Some(b"{}".to_vec());
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(descriptor.data().as_ref()?).ok()?;
    let right = bytes.len() as u64 == descriptor.size()
        && digest.of_same_algorithm(&bytes).is_some_and(|actual| actual == *digest);
    right.then_some(bytes)
}

impl Source for Registry {
    fn describe(&self) -> String {
        Reference::Registry(self.reference.clone()).to_string()
    }

    fn root(&self) -> Result<Root, Error> {
        if let Some(root) = &self.known().root {
            return Ok(root.clone());
        }
        let wanted = self.reference.wanted();
        let root = self.somewhere(&async |client, retries| pull::manifest(client, wanted, retries).await)?;
        self.known().root = Some(root.clone());
        Ok(root)
    }

    fn document(&self, descriptor: &Descriptor, max: u64) -> Result<Document, Error> {
        let digest = digest_of(descriptor)?;
        if let Some(bytes) = self.known().documents.get(&digest) {
            return Ok(bytes.clone());
        }
        let kind = descriptor.media_type().to_string();
        let bytes = if media_type::is_manifest(&kind) || media_type::is_index(&kind) {
            read_document(descriptor, max.min(MANIFEST_MAX), |descriptor| {
                match at_hand(descriptor, &digest) {
                    Some(bytes) => Ok(Box::new(io::Cursor::new(bytes))),
                    None => Ok(Box::new(io::Cursor::new(self.manifest_document(&digest)?))),
                }
            })?
        } else {
            let read = || read_document(descriptor, max, |descriptor| self.blob(descriptor));
            match read() {
                Err(Error::BlobMismatch { .. }) => read()?,
                result => result?,
            }
        };
        self.remember(&digest, &bytes);
        Ok(bytes)
    }

    fn gives_afresh(&self) -> bool {
        true
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        let root = self.root()?;
        let read = |descriptor: &Descriptor, max: u64| self.document(descriptor, max);
        select::choose_in(&root, platform, &self.describe(), &read)
    }

    fn artifacts_of(&self, subject: &Digest, kind: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        self.referrers(subject, kind)
    }

    fn tagged(&self, tag: &str) -> Result<Option<Root>, Error> {
        match self.somewhere(&async |client, retries| pull::manifest(client, tag, retries).await) {
            Ok(root) => Ok(Some(root)),
            Err(Error::Registry(error)) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let digest = digest_of(descriptor)?;
        if let Some(bytes) = at_hand(descriptor, &digest) {
            return Ok(Box::new(io::Cursor::new(bytes)));
        }
        Ok(Box::new(self.fetched_blob(descriptor, &digest)?))
    }
}
