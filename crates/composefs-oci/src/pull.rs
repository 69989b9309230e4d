//! A whole pull on a page: choose, import, build, tag, in one commit.
//!
//! Nothing is believed: every digest and size is computed while the data flow by, and an entry is made only when
//! all agree. Layers that finished survive a pull that did not.

mod options;
mod space;
mod artifacts;
pub(crate) mod asked;
pub(crate) mod plan;
pub(crate) mod present;
pub(crate) mod layers;
mod platforms;
mod kept;
mod fetch;

pub use options::{Blobs, ImageBuild, Platforms, PullOptions, SpaceCheck};
pub use plan::{LayerState, PlannedLayer, PullPlan};
pub use platforms::{ChildPlan, IndexPlan};
pub use space::Space;

use composefs::{
    digest::ObjectId,
    erofs::FormatVersion,
    filetree::XattrMode,
    progress::{Event, Observer},
    repo::{Commit, IngestStats, Repository, Session, Writer},
    splitstream::ContentType,
};

use crate::{
    digest::{ConfigDigest, DiffId, Digest, ManifestDigest},
    error::Error,
    ident,
    import::streams::DocumentStream,
    model::{Manifest, ModelError},
    rootfs::image::{RootfsOptions, store_images, tree},
    stored::{StoredConfig, indexes, origins},
    transport::Source,
};

use fetch::Fetched;
use layers::Context;
use plan::PlannedConfig;

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
    /// The id of the manifest's stream.
    pub manifest_stream: ObjectId,
    /// The id of the config's stream.
    pub config_stream: ObjectId,
    /// The images, if any were built or found.
    pub images: Vec<(FormatVersion, ObjectId)>,
    /// The index, if it was kept with all its images.
    pub index: Option<Digest>,
    /// What was stored of the layers' files.
    pub objects: IngestStats,
    /// Bytes of the imported layers that are inline in their streams.
    pub inlined_bytes: u64,
    /// The artifacts about the image that came with it.
    pub artifacts: Vec<ManifestDigest>,
}

/// Pulls an image from a medium into a repository.
///
/// # Errors
/// [`Error`] names the digest and the step; [`Error::Cancelled`] when the options' `cancel` asks for it. Whatever
/// happens, no tag moves and no entry is made of anything that did not check.
pub fn pull(
    writer: &Writer,
    source: &dyn Source,
    options: &PullOptions,
    observer: &dyn Observer,
) -> Result<Pulled, Error> {
    let span = tracing::info_span!("pull", reference = %source.describe());
    let _entered = span.enter();
    let mut pulled = image(writer, source, options, observer)
        .and_then(|mut pulled| {
            pulled.artifacts = artifacts::bring(writer, source, &pulled.manifest, options, observer)?;
            Ok(pulled)
        })
        .map_err(|error| match error {
            Error::Cancelled { .. } => error,
            // A helper that was stopped by the same signal, say.
            _ if options.cancel.is_cancelled() => Error::Cancelled { kept: 0 },
            _ => error,
        })?;
    pulled.artifacts.sort();
    Ok(pulled)
}

/// Pulls the image itself.
fn image(
    writer: &Writer,
    source: &dyn Source,
    options: &PullOptions,
    observer: &dyn Observer,
) -> Result<Pulled, Error> {
    // Held but for the time the medium is waited for.
    let session = writer.session()?;
    let plan = PullPlan::within(Some(&session), Some(writer), source, options, observer)?;
    plan.check_space(writer.path(), observer)?;
    apply(plan, &session, writer, source, observer)
}

/// Does what was planned: has the layers here, and from there on keeps the lock until everything has its name.
fn apply(
    mut plan: PullPlan,
    session: &Session,
    writer: &Writer,
    source: &dyn Source,
    observer: &dyn Observer,
) -> Result<Pulled, Error> {
    let options = plan.options.clone();
    if options.cancel.is_cancelled() {
        return Err(Error::Cancelled { kept: 0 });
    }
    let pieces = plan.layers_to_come().count() as u64;
    if pieces > 0 {
        observer.event(&Event::Plan { what: "layer", pieces, bytes: plan.layer_bytes_to_come() });
    }
    let context = Context { writer, session, source, options: &options, observer };
    let mut commit = writer.begin();
    let fetched = fetch::fetch(&context, &mut plan, &mut commit)?;
    let children = match &plan.index {
        Some(index) => Some(platforms::assemble(writer, index, &fetched.packed, &mut commit)?),
        None => None,
    };
    let mut pulled = match plan.whole.take() {
        Some(found) => {
            plan.layers.iter().for_each(|layer| layers::skipped(layer, observer));
            layers::register(&mut commit, &fetched.fresh);
            found
        }
        None => Pull { context: &context, plan: &plan, fetched: &fetched }.run(&mut commit)?,
    };
    if let (Some(index), Some(children)) = (&plan.index, &children) {
        platforms::store(writer, index, children, pulled.manifest_stream, &mut commit)?;
        pulled.index = Some(index.digest().clone());
    }
    name(writer, &plan, pulled.index.as_ref(), &mut commit)?;
    note_origin(writer, &plan)?;
    commit.finish()?;
    writer.note_use(ident::manifest(&pulled.manifest)?.as_str());
    Ok(pulled)
}

/// Gives the image its names: the tag, the index beside it, and as an artifact the place with its subject.
fn name(
    writer: &Writer,
    plan: &PullPlan,
    index: Option<&Digest>,
    commit: &mut Commit<'_>,
) -> Result<(), Error> {
    let digest = plan.manifest();
    if let Some(tag) = &plan.options.tag {
        commit.stream_ref(ident::tag(tag)?, &ident::manifest(digest)?);
        match index {
            Some(index) => {
                commit.stream_ref(ident::index_of_tag(tag)?, &ident::index(index)?);
            }
            None => indexes::forget_unless(writer, commit, tag, digest)?,
        }
    }
    keep_referrer(commit, &plan.manifest)
}

/// Notes where the image came from, and with it those of its index.
fn note_origin(writer: &Writer, plan: &PullPlan) -> Result<(), Error> {
    let Some(reference) = &plan.options.origin else { return Ok(()) };
    origins::record(writer, plan.manifest().digest(), reference)?;
    let Some(index) = &plan.index else { return Ok(()) };
    origins::record(writer, index.digest(), reference)?;
    for child in index.children() {
        origins::record(writer, child.digest().digest(), reference)?;
    }
    Ok(())
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
    context: &'a Context<'a>,
    plan: &'a PullPlan,
    fetched: &'a Fetched,
}

impl Pull<'_> {
    fn run(&self, commit: &mut Commit<'_>) -> Result<Pulled, Error> {
        let fresh = &self.fetched.fresh;
        match self.assemble(commit) {
            Ok(pulled) => {
                layers::register(commit, fresh);
                Ok(pulled)
            }
            Err(error) => {
                // The layers are whole, whatever became of the image; one that breaks every image gets no name.
                let bad =
                    error.unmergeable().map(|key| ident::layer(&DiffId::new(key.clone()))).transpose()?;
                let whole = fresh.iter().filter(|(name, _)| Some(name) != bad.as_ref());
                layers::keep(self.context, commit, &whole.cloned().collect::<Vec<_>>());
                Err(error)
            }
        }
    }

    /// Builds and stores the images and the streams of the documents.
    fn assemble(&self, commit: &mut Commit<'_>) -> Result<Pulled, Error> {
        let Context { writer, observer, .. } = *self.context;
        let imported = self.fetched;
        let PullPlan { manifest, layers: planned, options, .. } = self.plan;
        let PlannedConfig { digest: config_digest, bytes: config_bytes, old: old_config, .. } =
            &self.plan.config;
        let mut refs: Vec<(String, ObjectId)> =
            planned.iter().zip(&imported.streams).map(|(layer, id)| (layer.key.to_string(), *id)).collect();
        let layer_refs = refs.clone();
        let config_object = writer.store_bytes(config_bytes)?.id;
        let manifest_object = writer.store_bytes(manifest.bytes())?.id;

        let mut images = Vec::new();
        if manifest.is_container() && options.image == ImageBuild::Build {
            let layers: Vec<(DiffId, ObjectId)> = planned
                .iter()
                .zip(&imported.streams)
                .map(|(layer, id)| (DiffId::new(layer.key.clone()), *id))
                .collect();
            let rootfs = RootfsOptions::default().mode(options.mode).xattrs(XattrMode::default());
            let tree = tree(writer, config_digest, &layers, &rootfs)?;
            images = store_images(writer, &tree, &options.formats_for(writer), observer)?;
        }
        refs.extend(image_refs(writer, &images, old_config.as_ref())?);

        let config_stream =
            self.document(ContentType::OCI_CONFIG, &config_object, config_bytes.len(), &refs)?;
        let config_id = writer.store_bytes(&config_stream)?.id;
        let manifest_refs = |config: ObjectId| {
            let mut refs = vec![(ident::config_key(config_digest), config)];
            refs.extend(layer_refs.iter().cloned());
            refs
        };
        let size = manifest.bytes().len();
        let mut all_refs = manifest_refs(config_id);
        all_refs.extend(kept::refs(writer, self.plan, &imported.packed)?);
        let manifest_stream = self.document(ContentType::OCI_MANIFEST, &manifest_object, size, &all_refs)?;
        let manifest_id = writer.store_bytes(&manifest_stream)?.id;
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
        commit.stream(ident::config(config_digest)?, config_id);
        commit.stream(ident::manifest(manifest.digest())?, manifest_id);
        Ok(Pulled {
            manifest: manifest.digest().clone(),
            config: config_digest.clone(),
            verity,
            manifest_stream: manifest_id,
            config_stream: config_id,
            images,
            index: None,
            objects: imported.objects,
            inlined_bytes: imported.inlined_bytes,
            artifacts: Vec::new(),
        })
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
            .build(self.context.writer.algorithm())
            .map_err(|source| Error::stream(format!("oci-manifest-{}", self.plan.manifest()), source))
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
        let manifest = &self.plan.manifest;
        let writer = self.context.writer;
        if let Some(id) = writer.stream_entry(&ident::manifest(manifest.digest())?)? {
            return Ok(id);
        }
        let algorithm = writer.algorithm();
        let config = self.document(ContentType::OCI_CONFIG, config_object, config_size, layer_refs)?;
        let config = composefs::digest::object_id_of(algorithm, &config);
        let size = manifest.bytes().len();
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
