//! Whatever skopeo speaks: its image proxy as a source.
//!
//! The proxy is a process of its own and its protocol asynchronous; both end here. Blobs come out of a bounded
//! queue to plain threads.

use std::{
    fmt,
    io::{self, Read},
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use containers_image_proxy::{ConvertedLayerInfo, ImageProxy, ImageProxyConfig, OpenedImage};
use oci_spec::image::Descriptor;
use tokio::{
    io::AsyncReadExt as _,
    runtime::Runtime,
    sync::mpsc::{Receiver, Sender, channel},
};

use crate::{
    digest::Digest,
    error::{Error, Step},
    model::{MANIFEST_MAX, Manifest, media_type, platform::Platform},
};

use super::{Chosen, Root, Source};

/// Bytes of a piece of a blob.
const PIECE_SIZE: usize = 256 * 1024;
/// Pieces that wait for the reader.
const QUEUE: usize = 4;

/// The transport whose layers are not kept as the manifest says.
const STORAGE: &str = "containers-storage:";

/// How the proxy is run.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ProxyOptions {
    /// What is done about TLS.
    pub tls: Tls,
    /// The policy.json that skopeo goes by; none: the user's, else the system's.
    pub policy: Option<PathBuf>,
}

/// What is done about TLS and certificates of registries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// What skopeo's configuration says, which by default is to insist on both.
    #[default]
    Configured,
    /// Neither is insisted on.
    Unchecked,
}

impl ProxyOptions {
    /// Sets what is done about TLS.
    #[must_use]
    pub const fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Sets the policy.json that skopeo goes by.
    #[must_use]
    pub fn policy(mut self, path: Option<PathBuf>) -> Self {
        self.policy = path;
        self
    }
}

/// An image that skopeo gets. The process is started when the manifest is asked for.
pub struct Proxy {
    reference: String,
    options: ProxyOptions,
    warning: Option<String>,
    // Before the runtime: what ends the process still needs it.
    session: Mutex<Option<Arc<Session>>>,
    runtime: Runtime,
}

struct Session {
    proxy: ImageProxy,
    image: OpenedImage,
    platform: Platform,
    manifest: Manifest,
    /// What podman's store has of the layers, in the manifest's order; empty for other media.
    kept: Vec<Descriptor>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("reference", &self.reference).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Prepares to get an image; `reference` is what skopeo takes, such as `docker://debian:12`.
    ///
    /// # Errors
    /// [`Error::Source`] if no thread can be started.
    pub fn open(reference: impl Into<String>, options: ProxyOptions) -> Result<Self, Error> {
        let reference = reference.into();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("skopeo proxy")
            .enable_all()
            .build()
            .map_err(|source| Error::source(Step::Spawn, &reference, source))?;
        Ok(Self { reference, options, warning: None, session: Mutex::new(None), runtime })
    }

    /// Says with the manifest why skopeo is asked.
    #[must_use]
    pub fn warning(mut self, text: impl Into<String>) -> Self {
        self.warning = Some(text.into());
        self
    }

    fn error(&self, step: &'static str) -> impl Fn(containers_image_proxy::Error) -> Error + '_ {
        move |source| Error::Proxy { step, reference: self.reference.clone(), source: source.into() }
    }

    /// Starts the process and opens the image, unless that was done for this platform.
    fn session(&self, platform: &Platform) -> Result<Arc<Session>, Error> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = session.as_ref().filter(|session| session.platform == *platform) {
            return Ok(Arc::clone(session));
        }
        let mut command = Command::new("skopeo");
        if let Some(policy) = &self.options.policy {
            command.arg("--policy").arg(policy);
        }
        if *platform != Platform::native() {
            command.arg(format!("--override-os={}", platform.os));
            command.arg(format!("--override-arch={}", platform.architecture));
            if let Some(variant) = &platform.variant {
                command.arg(format!("--override-variant={variant}"));
            }
        }
        let mut config = ImageProxyConfig::default();
        config.skopeo_cmd = Some(command);
        config.insecure_skip_tls_verification = (self.options.tls == Tls::Unchecked).then_some(true);
        let opened = self.runtime.block_on(async {
            let proxy =
                ImageProxy::new_with_config(config).await.map_err(self.error("start the proxy for"))?;
            let image = proxy.open_image(&self.reference).await.map_err(self.error("open"))?;
            let (_, bytes) =
                proxy.fetch_manifest_raw_oci(&image).await.map_err(self.error("fetch the manifest of"))?;
            let mut kept = Vec::new();
            if self.reference.starts_with(STORAGE) {
                let step = "list the layers of";
                let layers = proxy.get_layer_info(&image).await.map_err(self.error(step))?;
                let layers = layers.ok_or_else(|| Error::Proxy {
                    step,
                    reference: self.reference.clone(),
                    source: "this skopeo cannot say what podman's store keeps; 1.11 and later can".into(),
                })?;
                let kept_as =
                    |layer: ConvertedLayerInfo| Descriptor::new(layer.media_type, layer.size, layer.digest);
                kept.extend(layers.into_iter().map(kept_as));
            }
            Ok::<_, Error>((proxy, image, bytes, kept))
        });
        let (proxy, image, bytes, kept) = opened?;
        let digest = Digest::sha256(&bytes);
        if bytes.len() as u64 > MANIFEST_MAX {
            return Err(Error::TooLarge { digest, size: bytes.len() as u64, max: MANIFEST_MAX });
        }
        // The digest is of these bytes: an image in Docker's format is converted on the way.
        let manifest = Manifest::parse(bytes).map_err(|source| Error::model(&digest, source))?;
        let opened = Arc::new(Session { proxy, image, platform: platform.clone(), manifest, kept });
        *session = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn current(&self) -> Result<Arc<Session>, Error> {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner).clone();
        session.map_or_else(|| self.session(&Platform::native()), Ok)
    }
}

impl Source for Proxy {
    fn describe(&self) -> String {
        self.reference.clone()
    }

    /// The proxy chooses by itself, so this is the manifest for this machine.
    fn root(&self) -> Result<Root, Error> {
        let manifest = &self.current()?.manifest;
        Ok(Root {
            bytes: manifest.bytes().to_vec(),
            digest: manifest.digest().digest().clone(),
            media_type: media_type::OCI_MANIFEST.to_owned(),
        })
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        let session = self.session(platform)?;
        let digest = session.manifest.digest().digest().clone();
        Ok(Chosen { bytes: session.manifest.bytes().to_vec(), digest, warning: self.warning.clone() })
    }

    fn waits(&self) -> bool {
        true
    }

    fn kept_as(&self, layer: &Descriptor) -> Result<Option<Descriptor>, Error> {
        let session = self.current()?;
        let at = session.manifest.layers().iter().position(|there| there.digest() == layer.digest());
        Ok(at.and_then(|at| session.kept.get(at)).cloned())
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let session = self.current()?;
        if descriptor.digest() == session.manifest.parsed().config().digest() {
            // Of a converted image the config is not a blob anywhere.
            let config = self.runtime.block_on(session.proxy.fetch_config_raw(&session.image));
            return Ok(Box::new(io::Cursor::new(config.map_err(self.error("fetch the config of"))?)));
        }
        let (to_reader, pieces) = channel(QUEUE);
        let descriptor = descriptor.clone();
        self.runtime.spawn(async move {
            if let Err(error) = fetch(&session, &descriptor, &to_reader).await {
                // Nobody may be there to be told.
                let _ = to_reader.send(Err(io::Error::other(error))).await;
            }
        });
        Ok(Box::new(Pieces { pieces, current: Vec::new(), used: 0 }))
    }
}

/// Sends a blob in pieces; ends early and well if nobody takes them.
async fn fetch(
    session: &Session,
    descriptor: &Descriptor,
    to_reader: &Sender<io::Result<Vec<u8>>>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (mut blob, end) = session.proxy.get_descriptor(&session.image, descriptor).await?;
    let copy = async move {
        loop {
            let mut piece = Vec::with_capacity(PIECE_SIZE);
            // Never past the capacity, so that this bounds memory; a pipe gives less at a time.
            while piece.len() < PIECE_SIZE && (&mut blob).take(room(&piece)).read_buf(&mut piece).await? > 0 {
            }
            if piece.is_empty() {
                return Ok::<_, io::Error>(Taken::All);
            }
            if to_reader.send(Ok(piece)).await.is_err() {
                return Ok(Taken::Part);
            }
        }
    };
    // The proxy closes the pipe only when it is asked for the result, so both at once.
    match tokio::join!(copy, end) {
        (Ok(Taken::Part), _) => Ok(()),
        // What the proxy says tells more than a pipe that broke.
        (_, Err(error)) => Err(error.into()),
        (Err(error), Ok(())) => Err(error.into()),
        (Ok(Taken::All), Ok(())) => Ok(()),
    }
}

fn room(piece: &[u8]) -> u64 {
    PIECE_SIZE.saturating_sub(piece.len()) as u64
}

/// How much of a blob its reader wanted.
enum Taken {
    All,
    Part,
}

/// A blob as it comes out of the queue.
struct Pieces {
    pieces: Receiver<io::Result<Vec<u8>>>,
    current: Vec<u8>,
    used: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.current.len() {
            match self.pieces.blocking_recv() {
                Some(piece) => (self.current, self.used) = (piece?, 0),
                None => return Ok(0),
            }
        }
        let rest = self.current.get(self.used..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.used += count;
        Ok(count)
    }
}
