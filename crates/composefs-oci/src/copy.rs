//! From medium to medium, without a repository: bytes and digests stay what they are.
//!
//! What the destination has is not sent. Nothing is packed or unpacked; where a source keeps layers otherwise than its
//! manifest says, the manifest is changed to what is there, which is a warning. What refers to an image, such as its
//! seals, is copied with it if that is asked for.

mod rewrite;

use std::{
    collections::HashSet,
    io::{self, Read},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use composefs::progress::{Cancel, Event, Observer};
use oci_spec::image::Descriptor;

use crate::{
    afresh::once_more,
    digest::{Digest, ManifestDigest},
    error::{Error, Step},
    model::{MANIFEST_MAX, Manifest, media_type, parse_index, platform::Platform},
    stoppable::Stoppable,
    transport::{
        Artifacts, Root, Sink, Source,
        artifacts::{descriptor_of, kind_of},
        digest_of,
    },
};

/// The most blobs that are copied at once unless more are asked for.
const JOBS: usize = 4;
/// The most manifests and indexes of one image.
const DOCUMENTS_MAX: usize = 1024;
/// The most bytes of all of them.
const DOCUMENTS_SIZE_MAX: usize = 64 << 20;

/// Which images of an index are copied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which {
    /// The manifest for this platform, alone.
    One(Platform),
    /// The index itself with all that is in it; of what is no index, the manifest.
    All,
}

/// How an image is copied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopyOptions {
    /// Which images of an index; default: the one for this machine.
    pub which: Which,
    /// Which artifacts about the image are copied with it; default: none.
    pub artifacts: Artifacts,
    /// Blobs copied at once; default: 4.
    pub jobs: usize,
    /// Asks the copy to stop.
    pub cancel: Cancel,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            which: Which::One(Platform::native()),
            artifacts: Artifacts::None,
            jobs: JOBS,
            cancel: Cancel::default(),
        }
    }
}

impl CopyOptions {
    /// Sets which images of an index are copied.
    #[must_use]
    pub fn which(mut self, which: Which) -> Self {
        self.which = which;
        self
    }

    /// Sets which artifacts about the image are copied with it.
    #[must_use]
    pub fn artifacts(mut self, artifacts: Artifacts) -> Self {
        self.artifacts = artifacts;
        self
    }

    /// Sets how many blobs are copied at once; at least one.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// Sets what asks the copy to stop.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }
}

/// What a copy did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The digest of what the destination's name leads to.
    pub manifest: ManifestDigest,
    /// Its media type.
    pub media_type: String,
    /// Blobs sent.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that the destination had.
    pub present: u64,
    /// Artifacts about the image that came with it.
    pub artifacts: Vec<ManifestDigest>,
}

/// Copies an image from one medium to another.
///
/// # Errors
/// [`Error`] names the digest and the step. Whatever happens, the destination's name leads to what it led to before,
/// or to the whole image.
pub fn copy(
    source: &dyn Source,
    sink: &dyn Sink,
    options: &CopyOptions,
    observer: &dyn Observer,
) -> Result<Copied, Error> {
    let span = tracing::info_span!("copy", from = %source.describe(), to = %sink.describe());
    let _entered = span.enter();
    let image = Image::collect(source, options, observer)?;
    let announced: Vec<Descriptor> = image.blobs.iter().chain(&image.children_descriptors).cloned().collect();
    sink.begin(&image.root, &announced)?;
    let counts = copy_blobs(source, sink, &image, options, observer)?;
    // Children were found after their parents.
    for document in image.children.iter().rev() {
        stopped(options)?;
        sink.put_manifest(document)?;
    }
    stopped(options)?;
    sink.finish(&image.root)?;
    Ok(Copied {
        manifest: ManifestDigest::new(image.root.digest),
        media_type: image.root.media_type,
        blobs: counts.sent,
        bytes: counts.bytes,
        present: counts.present,
        artifacts: image.artifacts,
    })
}

fn stopped(options: &CopyOptions) -> Result<(), Error> {
    if options.cancel.is_cancelled() { Err(Error::Cancelled { kept: 0 }) } else { Ok(()) }
}

/// All that an image is.
struct Image {
    root: Root,
    /// The manifests and indexes below the root, parents first.
    children: Vec<Root>,
    children_descriptors: Vec<Descriptor>,
    /// Configs and layers, each once.
    blobs: Vec<Descriptor>,
    /// Those of the children that are about others.
    artifacts: Vec<ManifestDigest>,
}

impl Image {
    fn collect(source: &dyn Source, options: &CopyOptions, observer: &dyn Observer) -> Result<Self, Error> {
        let root = match &options.which {
            Which::All => source.root()?,
            Which::One(platform) => {
                let chosen = source.manifest(platform)?;
                if let Some(warning) = &chosen.warning {
                    observer.event(&Event::Warning { text: warning });
                }
                let media_type = media_type::of_document(None, &chosen.bytes)
                    .map_err(|source| Error::model(&chosen.digest, source))?;
                Root { bytes: chosen.bytes, digest: chosen.digest, media_type }
            }
        };
        let mut image = Self {
            root,
            children: Vec::new(),
            children_descriptors: Vec::new(),
            blobs: Vec::new(),
            artifacts: Vec::new(),
        };
        if media_type::is_index(&image.root.media_type) {
            image.add_children(source)?;
            for document in &image.children {
                if media_type::is_manifest(&document.media_type) {
                    let manifest = parse(document)?;
                    if let Some(layer) = rewrite::kept_otherwise(source, &manifest)? {
                        return Err(Error::KeptOtherwise { reference: source.describe(), layer });
                    }
                    add_blobs(&mut image.blobs, &manifest);
                }
            }
        } else {
            if let Some(changed) = rewrite::as_kept(source, &parse(&image.root)?)? {
                let text = format!(
                    "the layers of {} are kept uncompressed there, so the copy's manifest is another one: {} instead of {}",
                    source.describe(),
                    changed.digest,
                    image.root.digest
                );
                observer.event(&Event::Warning { text: &text });
                image.root = changed;
            }
            add_blobs(&mut image.blobs, &parse(&image.root)?);
        }
        if options.artifacts != Artifacts::None
            && let Err(error) = image.add_artifacts(source, options.artifacts)
        {
            if options.artifacts == Artifacts::All {
                return Err(error);
            }
            let text = format!("what seals the image cannot be copied with it: {error}");
            observer.event(&Event::Warning { text: &text });
        }
        let mut seen = HashSet::new();
        image.blobs.retain(|blob| seen.insert(blob.digest().to_string()));
        Ok(image)
    }

    /// Adds artifacts about the manifests there are. They go before them, so that none is seen without.
    fn add_artifacts(&mut self, source: &dyn Source, which: Artifacts) -> Result<(), Error> {
        let subjects: Vec<Digest> = std::iter::once(&self.root)
            .chain(&self.children)
            .filter(|document| media_type::is_manifest(&document.media_type))
            .map(|document| document.digest.clone())
            .collect();
        let mut found = Vec::new();
        for subject in subjects {
            for descriptor in source.artifacts_of(&subject, which.kind())? {
                let digest = digest_of(&descriptor)?;
                if self.children.iter().any(|child| child.digest == digest)
                    || found.iter().any(|(_, document, _): &(_, Root, _)| document.digest == digest)
                {
                    continue;
                }
                let bytes = source.document(&descriptor, MANIFEST_MAX)?;
                let document = Root { bytes, digest, media_type: descriptor.media_type().to_string() };
                let manifest = parse(&document)?;
                if self.children.len() + found.len() >= DOCUMENTS_MAX {
                    let (size, max) = (descriptor.size(), DOCUMENTS_SIZE_MAX as u64);
                    return Err(Error::TooLarge { digest: self.root.digest.clone(), size, max });
                }
                let descriptor = descriptor_of(&descriptor, &kind_of(&manifest));
                found.push((descriptor, document, manifest));
            }
        }
        for (descriptor, document, manifest) in found {
            add_blobs(&mut self.blobs, &manifest);
            self.artifacts.push(manifest.digest().clone());
            self.children.push(document);
            self.children_descriptors.push(descriptor);
        }
        Ok(())
    }

    /// Adds what an index leads to, indexes below it included.
    fn add_children(&mut self, source: &dyn Source) -> Result<(), Error> {
        let mut seen = HashSet::from([self.root.digest.clone()]);
        let mut size = self.root.bytes.len();
        let mut at = 0;
        let mut index = Some(self.root.bytes.clone());
        while let Some(bytes) = index.take() {
            let parsed = parse_index(&bytes).map_err(|source| Error::model(&self.root.digest, source))?;
            for descriptor in parsed.manifests() {
                let digest = digest_of(descriptor)?;
                if !seen.insert(digest.clone()) {
                    continue;
                }
                let kind = descriptor.media_type().to_string();
                if !media_type::is_manifest(&kind) && !media_type::is_index(&kind) {
                    return Err(Error::MediaType { digest: digest.to_string(), media_type: kind });
                }
                let bytes = source.document(descriptor, MANIFEST_MAX)?;
                size = size.saturating_add(bytes.len());
                if self.children.len() >= DOCUMENTS_MAX || size > DOCUMENTS_SIZE_MAX {
                    let (size, max) = (size as u64, DOCUMENTS_SIZE_MAX as u64);
                    return Err(Error::TooLarge { digest: self.root.digest.clone(), size, max });
                }
                self.children.push(Root { bytes, digest, media_type: kind });
                self.children_descriptors.push(descriptor.clone());
            }
            while let Some(child) = self.children.get(at) {
                at += 1;
                if media_type::is_index(&child.media_type) {
                    index = Some(child.bytes.clone());
                    break;
                }
            }
        }
        Ok(())
    }
}

fn parse(document: &Root) -> Result<Manifest, Error> {
    Manifest::parse_as(document.bytes.clone(), ManifestDigest::new(document.digest.clone()))
        .map_err(|source| Error::model(&document.digest, source))
}

fn add_blobs(blobs: &mut Vec<Descriptor>, manifest: &Manifest) {
    blobs.push(manifest.parsed().config().clone());
    blobs.extend(manifest.layers().iter().cloned());
}

/// What the copying threads share.
struct Shared<'i> {
    /// Still to do, the largest last.
    queue: Vec<&'i Descriptor>,
    counts: Counts,
    error: Option<Error>,
}

/// What became of the blobs.
#[derive(Default)]
struct Counts {
    sent: u64,
    bytes: u64,
    present: u64,
}

fn copy_blobs(
    source: &dyn Source,
    sink: &dyn Sink,
    image: &Image,
    options: &CopyOptions,
    observer: &dyn Observer,
) -> Result<Counts, Error> {
    let mut queue: Vec<&Descriptor> = image.blobs.iter().collect();
    queue.sort_by_key(|blob| blob.size());
    let workers = options.jobs.clamp(1, queue.len().max(1));
    let shared = Mutex::new(Shared { queue, counts: Counts::default(), error: None });
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let next = || {
        let mut shared = lock();
        if options.cancel.is_cancelled() {
            shared.error.get_or_insert(Error::Cancelled { kept: 0 });
        }
        if shared.error.is_some() { None } else { shared.queue.pop() }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let spawned = std::thread::Builder::new().name("blob".to_owned()).spawn_scoped(scope, || {
                while let Some(blob) = next() {
                    let result = copy_blob(source, sink, blob, options, observer);
                    let mut shared = lock();
                    match result {
                        Ok(true) => {
                            shared.counts.sent += 1;
                            shared.counts.bytes = shared.counts.bytes.saturating_add(blob.size());
                        }
                        Ok(false) => shared.counts.present += 1,
                        Err(error) => {
                            shared.error.get_or_insert(error);
                        }
                    }
                }
            });
            if let Err(source) = spawned {
                lock().error.get_or_insert(Error::source(Step::Spawn, "a blob", source));
            }
        }
    });
    let Shared { counts, error, .. } = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    match error {
        Some(_) if options.cancel.is_cancelled() => Err(Error::Cancelled { kept: 0 }),
        Some(error) => Err(error),
        None => Ok(counts),
    }
}

/// Copies a blob; tells whether it had to be sent.
fn copy_blob(
    source: &dyn Source,
    sink: &dyn Sink,
    blob: &Descriptor,
    options: &CopyOptions,
    observer: &dyn Observer,
) -> Result<bool, Error> {
    let (what, digest) = (what(blob), digest_of(blob)?);
    let name = digest.as_str();
    if sink.has_blob(blob)? {
        observer.event(&Event::Skipped { what, name });
        return Ok(false);
    }
    let span = tracing::info_span!("blob", digest = name);
    let _entered = span.enter();
    observer.event(&Event::Begin { what, name, total: Some(blob.size()) });
    let furthest = AtomicU64::new(0);
    let open = || {
        let reader = Stoppable::new(source.blob(blob)?, &options.cancel);
        let counted = Counted { reader, seen: 0, furthest: &furthest, name, observer };
        Ok(Box::new(counted) as Box<dyn Read + Send + '_>)
    };
    once_more(source, &digest, observer, || sink.put_blob(blob, &open))?;
    observer.event(&Event::Done { name });
    Ok(true)
}

fn what(blob: &Descriptor) -> &'static str {
    let kind = blob.media_type().as_ref();
    if media_type::is_image_config(kind) { "config" } else { "layer" }
}

/// A blob on its way: tells how far it is, once even if it is read again.
struct Counted<'a> {
    reader: Stoppable<'a, Box<dyn Read + Send + 'a>>,
    seen: u64,
    furthest: &'a AtomicU64,
    name: &'a str,
    observer: &'a dyn Observer,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.reader.read(buffer)?;
        self.seen = self.seen.saturating_add(got as u64);
        let before = self.furthest.fetch_max(self.seen, Ordering::Relaxed);
        if self.seen > before {
            self.observer.event(&Event::Advance { name: self.name, by: self.seen - before });
        }
        Ok(got)
    }
}
