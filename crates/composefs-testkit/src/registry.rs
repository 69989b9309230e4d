//! A registry in the test's own process, which does what the distribution specification says, or misbehaves.
//!
//! Plain threads and a small HTTP/1.1 of its own: that is what lets it cut a connection after any byte, lie about a
//! length, or never end an answer. Three listeners on 127.0.0.1, each on a port the system chose: the registry, the
//! *storage* that blobs may be redirected to, and a token service that may be another host than the registry.
//!
//! ```no_run
//! use composefs_testkit::images::Image;
//! use composefs_testkit::registry::{Fault, Registry, RegistryOptions, Rule};
//! let registry = Registry::start(RegistryOptions::default());
//! registry.add_image("app", "latest", &Image::new([]));
//! registry.inject(Rule::new("/blobs/", Fault::CutAfter(1000)).times(5));
//! // … pull registry.reference("app:latest") …
//! assert!(registry.requests().iter().all(|request| request.header("cookie").is_none()));
//! ```
//!
//! # Format
//! OCI distribution-spec 1.1; Docker's token protocol.

mod auth;
mod blobs;
mod fault;
mod http;
mod manifests;
mod pace;
mod record;
mod serve;
mod store;
mod tls;
mod uploads;

pub use auth::{Auth, Bearer, Realm, TokenField};
pub use fault::{Fault, Rule};
pub use record::{Place, Recorded};
pub use tls::{Certificates, Tls};

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use serde_json::Value;

use crate::images::{Descriptor, Image, Layout, Written, sha256};

use auth::Tokens;
use record::Log;
use store::Store;
use tls::Identity;

/// Where blobs are given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blobs {
    /// By the registry itself.
    #[default]
    Here,
    /// By the storage, to which the registry redirects.
    Storage,
    /// By the storage, and each address that a redirect named works once: then it answers 403.
    StorageOnce,
}

/// What validator answers carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Etags {
    /// A strong one, made of the digest.
    #[default]
    Strong,
    /// A weak one.
    Weak,
    /// None.
    Absent,
}

/// How a registry behaves before any fault is put in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegistryOptions {
    /// What it wants to know about whoever asks.
    pub auth: Auth,
    /// Whether it has the referrers API; without, 404, and pushed subjects are not answered with `OCI-Subject`.
    pub referrers: bool,
    /// The most tags or referrers of one page.
    pub page: usize,
    /// Where blobs come from.
    pub blobs: Blobs,
    /// The status of redirects.
    pub redirect_status: u16,
    /// What validators answers carry.
    pub etags: Etags,
    /// Whether bodies come in chunks, without a length.
    pub chunked: bool,
    /// Whether an upload in one POST is taken; without, it is begun as an ordinary one.
    pub single_post: bool,
    /// Whether manifests and blobs can be deleted.
    pub deletes: bool,
    /// The least size in bytes of a chunk of an upload that is not the last.
    pub chunk_min: Option<u64>,
    /// Bytes a second and connection, for bodies.
    pub rate: Option<u64>,
    /// Bytes a second and connection, for what is sent to it.
    pub intake: Option<u64>,
    /// How it speaks TLS; not to be changed later.
    pub tls: Tls,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            auth: Auth::None,
            referrers: true,
            page: 100,
            blobs: Blobs::Here,
            redirect_status: 307,
            etags: Etags::Strong,
            chunked: false,
            single_post: true,
            deletes: true,
            chunk_min: None,
            rate: None,
            intake: None,
            tls: Tls::Absent,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        impl RegistryOptions {
            $($(#[$doc])* #[must_use] pub fn $name(mut self, $name: $type) -> Self { self.$name = $name; self })*
        }
    };
}
setters! {
    /// Sets what it wants to know about whoever asks.
    auth: Auth,
    /// Sets whether it has the referrers API.
    referrers: bool,
    /// Sets the most entries of one page.
    page: usize,
    /// Sets where blobs come from.
    blobs: Blobs,
    /// Sets the status of redirects.
    redirect_status: u16,
    /// Sets what validators answers carry.
    etags: Etags,
    /// Sets whether bodies come in chunks.
    chunked: bool,
    /// Sets whether an upload in one POST is taken.
    single_post: bool,
    /// Sets whether manifests and blobs can be deleted.
    deletes: bool,
    /// Sets the least size of a chunk of an upload.
    chunk_min: Option<u64>,
    /// Sets bytes a second and connection.
    rate: Option<u64>,
    /// Sets how many bytes a second it takes on one connection.
    intake: Option<u64>,
    /// Sets how it speaks TLS.
    tls: Tls,
}

/// A running registry; dropping it ends its threads and every connection.
#[derive(Debug)]
pub struct Registry {
    shared: Arc<Shared>,
    listeners: Vec<JoinHandle<()>>,
}

/// What the threads of a registry share.
#[derive(Debug)]
struct Shared {
    options: Mutex<RegistryOptions>,
    addresses: [SocketAddr; 3],
    tls: Tls,
    identity: Option<Identity>,
    store: Mutex<Store>,
    tokens: Mutex<Tokens>,
    rules: Mutex<Vec<Rule>>,
    log: Log,
    stopping: AtomicBool,
    /// Stalled answers wait here; the number counts releases.
    stalled: (Mutex<u64>, Condvar),
    connections: Mutex<Vec<(u64, TcpStream)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn options(&self) -> RegistryOptions {
        lock(&self.options).clone()
    }

    fn address(&self, place: Place) -> SocketAddr {
        self.addresses[place as usize]
    }

    fn url(&self, place: Place, path: &str) -> String {
        let scheme = if self.identity_at(place).is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address(place))
    }

    /// What a listener speaks TLS with, if it does.
    fn identity_at(&self, place: Place) -> Option<&Identity> {
        let plain = self.tls == Tls::PlainStorage && place == Place::Storage;
        self.identity.as_ref().filter(|_| !plain)
    }

    /// Waits until released, stopped, or `time` is over.
    fn stall(&self, time: Option<Duration>) {
        let (count, changed) = &self.stalled;
        let count = lock(count);
        let before = *count;
        let waiting = |count: &mut u64| *count == before && !self.stopping.load(Ordering::SeqCst);
        match time {
            Some(time) => drop(changed.wait_timeout_while(count, time, waiting)),
            None => drop(changed.wait_while(count, waiting)),
        }
    }
}

impl Registry {
    /// Starts a registry with nothing in it.
    ///
    /// # Panics
    /// When no port or thread can be had.
    #[must_use]
    pub fn start(options: RegistryOptions) -> Self {
        let sockets = [Place::Registry, Place::Storage, Place::Tokens]
            .map(|place| (place, TcpListener::bind("127.0.0.1:0").unwrap()));
        let addresses = [0, 1, 2].map(|at: usize| sockets[at].1.local_addr().unwrap());
        let tls = options.tls;
        let shared = Arc::new(Shared {
            options: Mutex::new(options),
            addresses,
            tls,
            identity: (tls != Tls::Absent).then(Identity::generate),
            store: Mutex::default(),
            tokens: Mutex::default(),
            rules: Mutex::default(),
            log: Log::default(),
            stopping: AtomicBool::new(false),
            stalled: (Mutex::new(0), Condvar::new()),
            connections: Mutex::default(),
        });
        let listeners = sockets
            .into_iter()
            .map(|(place, socket)| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve::listen(&shared, place, &socket))
            })
            .collect();
        Self { shared, listeners }
    }

    /// Returns `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.shared.address(Place::Registry).to_string()
    }

    /// Returns the reference of `name`, which is a repository with a tag or a digest: `docker://127.0.0.1:PORT/NAME`.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.host())
    }

    /// Returns the address of a path at one of the listeners.
    #[must_use]
    pub fn url(&self, place: Place, path: &str) -> String {
        self.shared.url(place, path)
    }

    /// Returns the certificates, if it speaks TLS: its server's is signed by that authority, for 127.0.0.1 and localhost.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.shared.identity.as_ref().map(|identity| &identity.certificates)
    }

    /// Changes the options while it runs.
    pub fn change(&self, change: impl FnOnce(&mut RegistryOptions)) {
        change(&mut lock(&self.shared.options));
    }

    /// Puts a fault in. Rules are asked in the order in which they came; all that match a request take part.
    pub fn inject(&self, rule: Rule) {
        lock(&self.shared.rules).push(rule);
    }

    /// Takes all faults out.
    pub fn heal(&self) {
        lock(&self.shared.rules).clear();
    }

    /// Lets stalled answers go on.
    pub fn release(&self) {
        let (count, changed) = &self.shared.stalled;
        *lock(count) += 1;
        changed.notify_all();
    }

    /// Returns every request so far, in the order in which they came, at all listeners.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.all()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.shared.log.clear();
    }

    /// Returns the bytes of bodies that were sent in answer to requests whose path contains `part`.
    #[must_use]
    pub fn sent_bytes(&self, part: &str) -> u64 {
        self.requests().iter().filter(|request| request.path.contains(part)).map(|request| request.sent).sum()
    }

    /// Stores a blob under its true digest.
    pub fn blob(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = sha256(bytes);
        self.blob_as(repository, &digest, bytes);
        Descriptor { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 }
    }

    /// Stores a blob under any digest.
    pub fn blob_as(&self, repository: &str, digest: &str, bytes: &[u8]) {
        lock(&self.shared.store).put_blob(repository, digest, Arc::new(bytes.to_vec()));
    }

    /// Stores a manifest or an index under its true digest.
    pub fn manifest(&self, repository: &str, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = sha256(bytes);
        lock(&self.shared.store).put_manifest(repository, &digest, media_type, bytes.to_vec());
        Descriptor { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 }
    }

    /// Gives a manifest a tag.
    pub fn tag(&self, repository: &str, tag: &str, digest: &str) {
        lock(&self.shared.store).put_tag(repository, tag, digest);
    }

    /// Stores an image and gives it a tag.
    ///
    /// # Panics
    /// When the temporary layout cannot be written.
    pub fn add_image(&self, repository: &str, tag: &str, image: &Image) -> Written {
        let dir = tempfile::tempdir().unwrap();
        let mut layout = Layout::create(dir.path().join("layout"));
        let written = layout.image(tag, image);
        self.add_layout(repository, layout.path());
        written
    }

    /// Stores everything in a layout, blobs under the digests that their file names say, and its tags.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn add_layout(&self, repository: &str, layout: &Path) {
        let mut store = lock(&self.shared.store);
        for algorithm in std::fs::read_dir(layout.join("blobs")).unwrap() {
            let algorithm = algorithm.unwrap();
            for blob in std::fs::read_dir(algorithm.path()).unwrap() {
                let blob = blob.unwrap();
                let digest =
                    format!("{}:{}", algorithm.file_name().display(), blob.file_name().to_string_lossy());
                store.put_blob(repository, &digest, Arc::new(std::fs::read(blob.path()).unwrap()));
            }
        }
        let index: Value =
            serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
        let mut pending: Vec<Value> = index["manifests"].as_array().cloned().unwrap_or_default();
        while let Some(entry) = pending.pop() {
            let (Some(digest), Some(media_type)) = (entry["digest"].as_str(), entry["mediaType"].as_str())
            else {
                continue;
            };
            let Some(bytes) = store.blob(repository, digest) else { continue };
            store.put_manifest(repository, digest, media_type, bytes.to_vec());
            if let Some(tag) = entry["annotations"]["org.opencontainers.image.ref.name"].as_str() {
                store.put_tag(repository, tag, digest);
            }
            let parsed: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            pending.extend(parsed["manifests"].as_array().cloned().unwrap_or_default());
        }
    }

    /// Returns a manifest's media type and bytes, by tag or digest.
    #[must_use]
    pub fn find_manifest(&self, repository: &str, reference: &str) -> Option<(String, Vec<u8>)> {
        let store = lock(&self.shared.store);
        let (_, found) = store.manifest(repository, reference)?;
        Some((found.media_type.clone(), found.bytes.to_vec()))
    }

    /// Returns a blob's bytes.
    #[must_use]
    pub fn find_blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        lock(&self.shared.store).blob(repository, digest).map(|bytes| bytes.to_vec())
    }

    /// Returns the tags of a repository, sorted.
    #[must_use]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        lock(&self.shared.store).tags(repository)
    }

    /// Removes a blob.
    pub fn remove_blob(&self, repository: &str, digest: &str) {
        lock(&self.shared.store).remove_blob(repository, digest);
    }

    /// Makes every token that was given out invalid.
    pub fn revoke_tokens(&self) {
        lock(&self.shared.tokens).revoke();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.release();
        for address in self.shared.addresses {
            // Wakes the listener, which then sees that it is over.
            let _ = TcpStream::connect(address);
        }
        for listener in self.listeners.drain(..) {
            let _ = listener.join();
        }
    }
}

#[cfg(test)]
mod tests;
