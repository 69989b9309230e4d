//! A whole pull on a page: choose, import, build, tag, in one commit.
//!
//! Nothing is believed: every digest and size is computed while the data flow by, and an entry is made only when
//! all agree. Layers that finished survive a pull that did not.

mod layers;
mod present;

use composefs::{
    digest::ObjectId,
    erofs::FormatVersion,
    filetree::XattrMode,
    name::StreamName,
    progress::{Event, Observer},
    repo::{Commit, IngestStats, Repository, Writer},
    splitstream::ContentType,
};
use composefs_tar::Mode;
use oci_spec::image::Descriptor;

use crate::{
    digest::{ConfigDigest, DiffId, Digest, ManifestDigest},
    error::Error,
    ident,
    import::streams::DocumentStream,
    model::{CONFIG_MAX, Config, Manifest, ModelError, descriptor_digest, media_type, platform::Platform},
    rootfs::image::{RootfsOptions, store_images, tree},
    stored::{StoredConfig, StoredImage},
    transport::Source,
};

/// The most jobs there are unless more are asked for: what they cost in memory is bounded, too.
const JOBS_MAX: usize = 16;

/// How an image is pulled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PullOptions {
    /// The tag to give; none leaves the image without a name, for the next collection to take.
    pub tag: Option<String>,
    /// Which image of several; default: this machine's.
    pub platform: Platform,
    /// Lenient takes what container runtimes take, strict what upstream takes.
    pub mode: Mode,
    /// Threads that store files, and layers imported at once; default: as many as cores, at most 16. Memory grows
    /// with them, by about 4 MiB each.
    pub jobs: usize,
    /// Whether to build the EROFS images.
    pub image: ImageBuild,
    /// The manifest that is expected; another one is refused before anything is fetched.
    pub expected: Option<ManifestDigest>,
    /// The EROFS formats of the images; none: those of the repository.
    pub formats: Vec<FormatVersion>,
}

/// Whether a pull builds the image's EROFS images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageBuild {
    /// One for each format of the repository.
    #[default]
    Build,
    /// None.
    Skip,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            tag: None,
            platform: Platform::native(),
            mode: Mode::Lenient,
            jobs: std::thread::available_parallelism().map_or(1, usize::from).min(JOBS_MAX),
            image: ImageBuild::Build,
            expected: None,
            formats: Vec::new(),
        }
    }
}

impl PullOptions {
    /// Sets the tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Sets the platform.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Sets the mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the number of threads; at least one.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// Sets whether images are built.
    #[must_use]
    pub fn image(mut self, image: ImageBuild) -> Self {
        self.image = image;
        self
    }

    /// Sets the manifest that must come.
    #[must_use]
    pub fn expected(mut self, digest: ManifestDigest) -> Self {
        self.expected = Some(digest);
        self
    }

    /// Sets the EROFS formats of the images.
    #[must_use]
    pub fn formats(mut self, formats: Vec<FormatVersion>) -> Self {
        self.formats = formats;
        self
    }

    fn formats_for(&self, repo: &Repository) -> Vec<FormatVersion> {
        if self.formats.is_empty() { repo.erofs_formats().iter().collect() } else { self.formats.clone() }
    }
}

/// What a pull brought.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pulled {
    /// The manifest's digest.
    pub manifest: ManifestDigest,
    /// The config's digest.
    pub config: ConfigDigest,
    /// The id that 0.9 prints: of the manifest's stream as it was found, or as it was before the images were
    /// recorded. For output only, never a key.
    pub verity: ObjectId,
    /// The id of the config's stream.
    pub config_stream: ObjectId,
    /// The images, if any were built or found.
    pub images: Vec<(FormatVersion, ObjectId)>,
    /// What was stored of the layers' files.
    pub objects: IngestStats,
    /// Bytes of the imported layers that are inline in their streams.
    pub inlined_bytes: u64,
}

/// Pulls an image from a medium into a repository.
///
/// # Errors
/// [`Error`] names the digest and the step. Whatever happens, no tag moves and no entry is made of anything that
/// did not check.
pub fn pull(
    writer: &Writer,
    source: &dyn Source,
    options: &PullOptions,
    observer: &dyn Observer,
) -> Result<Pulled, Error> {
    // A name no file can have must fail before the work, not after it.
    let tag = options.tag.as_deref().map(ident::tag).transpose()?;
    let span = tracing::info_span!("pull", reference = %source.describe());
    let _entered = span.enter();
    let chosen = source.manifest(&options.platform)?;
    if let Some(warning) = &chosen.warning {
        observer.event(&Event::Warning { text: warning });
    }
    let digest = ManifestDigest::new(chosen.digest);
    if let Some(expected) = options.expected.as_ref().filter(|expected| **expected != digest) {
        return Err(Error::UnexpectedManifest { expected: expected.clone(), actual: digest });
    }
    let manifest =
        Manifest::parse_as(chosen.bytes, digest.clone()).map_err(|source| Error::model(&digest, source))?;
    let mut commit = writer.begin();
    if let Some(tag) = tag {
        commit.stream_ref(tag, &ident::manifest(&digest)?);
    }
    keep_referrer(&mut commit, &manifest)?;
    if let Some(found) = present::find(writer, &manifest, options, observer)? {
        commit.finish()?;
        return Ok(found);
    }
    let pulled = Pull { writer, source, options, observer, manifest: &manifest }.run(&mut commit)?;
    commit.finish()?;
    Ok(pulled)
}

/// An artifact about another manifest is kept beside it.
fn keep_referrer(commit: &mut Commit<'_>, manifest: &Manifest) -> Result<(), Error> {
    if let Some(subject) = manifest.parsed().subject() {
        let subject = subject
            .digest()
            .as_ref()
            .parse()
            .map_err(|source| Error::model(manifest.digest(), ModelError::Digest(source)))?;
        commit
            .stream_ref(ident::referrer(&subject, manifest.digest())?, &ident::manifest(manifest.digest())?);
    }
    Ok(())
}

struct Pull<'a> {
    writer: &'a Writer,
    source: &'a dyn Source,
    options: &'a PullOptions,
    observer: &'a dyn Observer,
    manifest: &'a Manifest,
}

/// One layer to have: where it is, and what its contents must be.
pub(crate) struct LayerPlan<'a> {
    pub(crate) descriptor: &'a Descriptor,
    /// The diff_id of a tar layer; the blob's digest of anything else.
    pub(crate) key: Digest,
    pub(crate) kind: LayerKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerKind {
    /// A layer of a file system.
    Tar,
    /// An archive of an artifact, which nobody will merge.
    OpaqueTar,
    /// Anything else.
    Blob,
}

/// What an image is made of once its layers are here.
struct ImageParts<'a> {
    config_digest: ConfigDigest,
    config_bytes: Vec<u8>,
    old_config: Option<StoredConfig>,
    plans: &'a [LayerPlan<'a>],
    imported: &'a layers::Imported,
}

impl Pull<'_> {
    fn run(&self, commit: &mut Commit<'_>) -> Result<Pulled, Error> {
        let config_digest = self
            .manifest
            .config_digest()
            .map_err(|source| Error::model(self.manifest.digest(), source.into()))?;
        let old_config = self.old_config(&config_digest)?;
        let config_bytes = match &old_config {
            Some(config) => config.bytes().to_vec(),
            None => self.source.document(self.manifest.parsed().config(), CONFIG_MAX)?,
        };
        let plans = self.plan(&config_digest, &config_bytes)?;
        let imported = layers::import(self.writer, self.source, &plans, self.options, commit, self.observer)?;
        let image =
            ImageParts { config_digest, config_bytes, old_config, plans: &plans, imported: &imported };
        match self.assemble(image, commit) {
            Ok(pulled) => {
                layers::register(commit, &imported.fresh)?;
                Ok(pulled)
            }
            Err(error) => {
                // The layers are whole, whatever became of the image; one that breaks every image gets no name.
                let whole = imported.fresh.iter().filter(|(key, _)| error.unmergeable() != Some(key));
                layers::keep(commit, &whole.cloned().collect::<Vec<_>>());
                Err(error)
            }
        }
    }

    /// Builds and stores the images and the streams of the documents.
    fn assemble(&self, image: ImageParts<'_>, commit: &mut Commit<'_>) -> Result<Pulled, Error> {
        let ImageParts { config_digest, config_bytes, old_config, plans, imported } = image;
        let mut refs: Vec<(String, ObjectId)> =
            plans.iter().zip(&imported.streams).map(|(plan, id)| (plan.key.to_string(), *id)).collect();
        let layer_refs = refs.clone();
        let config_object = self.writer.store_bytes(&config_bytes)?.id;
        let manifest_object = self.writer.store_bytes(self.manifest.bytes())?.id;

        let mut images = Vec::new();
        if self.manifest.is_container() && self.options.image == ImageBuild::Build {
            let layers: Vec<(DiffId, ObjectId)> = plans
                .iter()
                .zip(&imported.streams)
                .map(|(plan, id)| (DiffId::new(plan.key.clone()), *id))
                .collect();
            let rootfs = RootfsOptions::default().mode(self.options.mode).xattrs(XattrMode::default());
            let tree = tree(self.writer, &config_digest, &layers, &rootfs)?;
            images = store_images(self.writer, &tree, &self.options.formats_for(self.writer), self.observer)?;
        }
        refs.extend(image_refs(self.writer, &images, old_config.as_ref())?);

        let config_stream =
            self.document(ContentType::OCI_CONFIG, &config_object, config_bytes.len(), &refs)?;
        let config_id = self.writer.store_bytes(&config_stream)?.id;
        let manifest_refs = |config: ObjectId| {
            let mut refs = vec![(ident::config_key(&config_digest), config)];
            refs.extend(layer_refs.iter().cloned());
            refs
        };
        let size = self.manifest.bytes().len();
        let manifest_stream =
            self.document(ContentType::OCI_MANIFEST, &manifest_object, size, &manifest_refs(config_id))?;
        let manifest_id = self.writer.store_bytes(&manifest_stream)?.id;
        let verity = self.printed_verity(
            &manifest_object,
            &config_object,
            config_bytes.len(),
            &layer_refs,
            &manifest_refs,
        )?;

        for (_, id) in &images {
            commit.image(*id);
        }
        commit.stream(ident::config(&config_digest)?, config_id);
        commit.stream(ident::manifest(self.manifest.digest())?, manifest_id);
        Ok(Pulled {
            manifest: self.manifest.digest().clone(),
            config: config_digest,
            verity,
            config_stream: config_id,
            images,
            objects: imported.objects,
            inlined_bytes: imported.inlined_bytes,
        })
    }

    /// A config that is here already is used if it is whole, and its boot images are kept.
    fn old_config(&self, digest: &ConfigDigest) -> Result<Option<StoredConfig>, Error> {
        match StoredConfig::open(self.writer, digest) {
            Ok(config) => Ok(Some(config)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error @ (Error::Damaged { .. } | Error::Repository(_))) => {
                tracing::warn!(digest = %digest, error = %error, "the stored config is damaged; fetching it again");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn plan(&self, config_digest: &ConfigDigest, config_bytes: &[u8]) -> Result<Vec<LayerPlan<'_>>, Error> {
        let descriptors = self.manifest.layers();
        if !self.manifest.is_container() {
            return descriptors
                .iter()
                .map(|descriptor| {
                    let digest = descriptor_digest(descriptor)
                        .map_err(|source| Error::model(self.manifest.digest(), source.into()))?;
                    let plain_tar = media_type::tar_layer(descriptor.media_type().as_ref())
                        == Some(media_type::Compression::None);
                    let kind = if plain_tar { LayerKind::OpaqueTar } else { LayerKind::Blob };
                    Ok(LayerPlan { descriptor, key: digest.digest().clone(), kind })
                })
                .collect();
        }
        let config = Config::parse_as(config_bytes.to_vec(), config_digest.clone())
            .map_err(|source| Error::model(config_digest, source))?;
        let (layers, diff_ids) = (descriptors.len(), config.diff_ids().len());
        if layers != diff_ids {
            return Err(Error::model(self.manifest.digest(), ModelError::LayerCount { layers, diff_ids }));
        }
        for descriptor in descriptors {
            if media_type::tar_layer(descriptor.media_type().as_ref()).is_none() {
                let text = format!(
                    "layer {} has the media type {}, which is no tar layer; it is taken for one",
                    descriptor.digest(),
                    descriptor.media_type()
                );
                self.observer.event(&Event::Warning { text: &text });
            }
        }
        let plan = |(descriptor, diff_id): (_, &DiffId)| LayerPlan {
            descriptor,
            key: diff_id.digest().clone(),
            kind: LayerKind::Tar,
        };
        Ok(descriptors.iter().zip(config.diff_ids()).map(plan).collect())
    }

    fn document(
        &self,
        content_type: ContentType,
        object: &ObjectId,
        size: usize,
        refs: &[(String, ObjectId)],
    ) -> Result<Vec<u8>, Error> {
        let stream = DocumentStream { content_type, object: *object, size: size as u64, named_refs: refs };
        stream
            .build(self.writer.algorithm())
            .map_err(|source| Error::stream(format!("oci-manifest-{}", self.manifest.digest()), source))
    }

    /// The id that 0.9 prints: the manifest's stream as it is found, else as it is before images are recorded.
    fn printed_verity(
        &self,
        manifest_object: &ObjectId,
        config_object: &ObjectId,
        config_size: usize,
        layer_refs: &[(String, ObjectId)],
        manifest_refs: &dyn Fn(ObjectId) -> Vec<(String, ObjectId)>,
    ) -> Result<ObjectId, Error> {
        if let Some(id) = self.writer.stream_entry(&ident::manifest(self.manifest.digest())?)? {
            return Ok(id);
        }
        let algorithm = self.writer.algorithm();
        let config = self.document(ContentType::OCI_CONFIG, config_object, config_size, layer_refs)?;
        let config = composefs::digest::object_id_of(algorithm, &config);
        let size = self.manifest.bytes().len();
        let manifest =
            self.document(ContentType::OCI_MANIFEST, manifest_object, size, &manifest_refs(config))?;
        Ok(composefs::digest::object_id_of(algorithm, &manifest))
    }
}

/// The image keys of a config's stream in their order: root images, then the boot images it had and that are
/// still here.
fn image_refs(
    repo: &Repository,
    images: &[(FormatVersion, ObjectId)],
    old: Option<&StoredConfig>,
) -> Result<Vec<(String, ObjectId)>, Error> {
    let mut refs: Vec<(String, ObjectId)> =
        images.iter().map(|(version, id)| (ident::image_key(*version).to_owned(), *id)).collect();
    for (key, id) in old.into_iter().flat_map(StoredConfig::refs) {
        let replaced = refs.iter().any(|(have, _)| have == key);
        if ident::is_image_key(key) && !replaced && repo.image_entry(id)?.is_some() && repo.has_object(id)? {
            refs.push((key.clone(), *id));
        }
    }
    // `composefs.image` before `.v1` before the boot keys, these in byte order.
    refs.sort_by_key(|(key, _)| (key.starts_with("composefs.image.boot"), key.clone()));
    Ok(refs)
}

/// Names the stream of a planned layer.
pub(crate) fn layer_name(key: &Digest) -> Result<StreamName, Error> {
    Ok(ident::layer(&DiffId::new(key.clone()))?)
}

/// The image of a manifest that is here whole.
pub(crate) fn stored(writer: &Writer, digest: &ManifestDigest) -> Option<StoredImage> {
    StoredImage::open(writer, digest).ok()
}
