//! The images of an index for other platforms: kept with their layers as shipped, never unpacked.
//!
//! # Format
//! `docs/formats/oci.md`, section 7.

use std::collections::{BTreeMap, HashSet};

use composefs::{
    digest::ObjectId,
    name::StreamName,
    progress::{Event, Observer},
    repo::{Commit, Repository, Writer},
    splitstream::ContentType,
};
use oci_spec::image::Descriptor;
use serde::{Serialize, Serializer};

use crate::{
    digest::{BlobDigest, BlobFault, ConfigDigest, Digest, ManifestDigest},
    error::Error,
    ident,
    import::streams::DocumentStream,
    model::{
        CONFIG_MAX, MANIFEST_MAX, Manifest, descriptor_digest, media_type, parse_index, platform::Platform,
    },
    stored::{StoredConfig, StoredImage},
    transport::{Root, Source},
};

use super::{
    plan::{LayerKind, LayerState, PlannedLayer},
    present,
};

/// The most bytes that the documents of an index may have together: a plan holds them.
const DOCUMENTS_MAX: u64 = 32 << 20;

/// What is to be done for the images of an index beside the one that is unpacked.
#[derive(Debug)]
pub struct IndexPlan {
    root: Root,
    children: Vec<ChildPlan>,
}

/// One image of an index.
#[derive(Debug)]
pub struct ChildPlan {
    digest: ManifestDigest,
    platform: Option<Platform>,
    state: ChildState,
}

#[derive(Debug)]
enum ChildState {
    /// It is unpacked by the pull.
    Native,
    /// It is here: the id of its manifest's stream.
    Here(ObjectId),
    /// It is to be kept.
    Comes(Box<Foreign>),
}

#[derive(Debug)]
struct Foreign {
    manifest: Manifest,
    config_digest: ConfigDigest,
    config: Vec<u8>,
    config_came: bool,
    layers: Vec<PlannedLayer>,
}

/// Manifests' streams in the index's order; `None` for the native one.
pub(super) type Children = Vec<(ManifestDigest, Option<ObjectId>)>;

impl IndexPlan {
    /// Returns the digest of the index.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.root.digest
    }

    /// Returns the images in the index's order.
    #[must_use]
    pub fn children(&self) -> &[ChildPlan] {
        &self.children
    }

    pub(super) fn is_whole(&self) -> bool {
        self.foreign().next().is_none()
    }

    fn foreign(&self) -> impl Iterator<Item = &Foreign> {
        self.children.iter().filter_map(|child| match &child.state {
            ChildState::Comes(foreign) => Some(foreign.as_ref()),
            _ => None,
        })
    }

    pub(super) fn layers(&self) -> impl Iterator<Item = &PlannedLayer> {
        self.foreign().flat_map(|foreign| &foreign.layers)
    }

    pub(super) fn layers_mut(&mut self) -> impl Iterator<Item = &mut PlannedLayer> {
        self.children.iter_mut().flat_map(|child| match &mut child.state {
            ChildState::Comes(foreign) => foreign.layers.as_mut_slice(),
            _ => &mut [],
        })
    }

    /// Tells whether the images that were here still are.
    pub(super) fn still_holds(&self, repo: &Repository) -> Result<bool, Error> {
        for child in &self.children {
            if let ChildState::Here(stream) = &child.state
                && here(repo, &child.digest)? != Some(*stream)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn config_bytes_to_come(&self) -> u64 {
        self.foreign()
            .filter(|foreign| foreign.config_came)
            .map(|foreign| foreign.config.len() as u64)
            .fold(0, u64::saturating_add)
    }
}

impl ChildPlan {
    /// Returns the digest of the manifest.
    #[must_use]
    pub const fn digest(&self) -> &ManifestDigest {
        &self.digest
    }

    /// Returns the platform that the index gives it.
    #[must_use]
    pub const fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// Tells whether it is the image that the pull unpacks.
    #[must_use]
    pub const fn is_native(&self) -> bool {
        matches!(self.state, ChildState::Native)
    }

    /// Tells whether it is here, in whatever form.
    #[must_use]
    pub const fn is_here(&self) -> bool {
        matches!(self.state, ChildState::Here(_))
    }

    /// Returns the layers that are kept as they are shipped; none if the image is here or is the native one.
    #[must_use]
    pub fn layers(&self) -> &[PlannedLayer] {
        match &self.state {
            ChildState::Comes(foreign) => &foreign.layers,
            _ => &[],
        }
    }
}

/// Finds out what the index of a reference names beside `native`; `None` if the reference leads to one image only.
pub(super) fn plan(
    repo: Option<&Repository>,
    source: &dyn Source,
    native: &ManifestDigest,
    observer: &dyn Observer,
) -> Result<Option<IndexPlan>, Error> {
    let root = source.root()?;
    if !media_type::is_index(&root.media_type) {
        let text = format!("{} is a single image: there are no other platforms to keep", source.describe());
        observer.event(&Event::Warning { text: &text });
        return Ok(None);
    }
    if let Some(actual) = root.digest.of_same_algorithm(&root.bytes).filter(|actual| *actual != root.digest) {
        return Err(Error::blob(&root.digest, BlobFault::Digest { actual }));
    }
    let index = parse_index(&root.bytes).map_err(|source| Error::model(&root.digest, source))?;
    let mut budget = Budget { index: &root.digest, left: DOCUMENTS_MAX };
    let mut seen = HashSet::new();
    let mut children = Vec::new();
    for descriptor in index.manifests() {
        let digest = descriptor_digest(descriptor)
            .map(|digest| ManifestDigest::new(digest.digest().clone()))
            .map_err(|source| Error::model(&root.digest, source.into()))?;
        let kind = descriptor.media_type().to_string();
        if !media_type::is_manifest(&kind) {
            let text = format!("{digest} of the index is not kept: its media type is {kind}");
            observer.event(&Event::Warning { text: &text });
            continue;
        }
        if !seen.insert(digest.clone()) {
            continue;
        }
        let state = match repo.map(|repo| here(repo, &digest)).transpose()?.flatten() {
            _ if digest == *native => ChildState::Native,
            Some(stream) => ChildState::Here(stream),
            None => {
                ChildState::Comes(Box::new(Foreign::new(repo, source, descriptor, &digest, &mut budget)?))
            }
        };
        let platform = descriptor.platform().as_ref().map(Platform::from);
        children.push(ChildPlan { digest, platform, state });
    }
    if !children.iter().any(ChildPlan::is_native) {
        return Err(Error::NoSuchImage {
            reference: source.describe(),
            reason: format!("its index does not name the image for this platform, {native}"),
            present: children.iter().map(|child| child.digest.to_string()).collect(),
        });
    }
    Ok(Some(IndexPlan { root, children }))
}

/// Bytes that may still be held.
struct Budget<'a> {
    index: &'a Digest,
    left: u64,
}

impl Budget<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        let size = bytes as u64;
        self.left = self.left.checked_sub(size).ok_or_else(|| Error::TooLarge {
            digest: self.index.clone(),
            size: DOCUMENTS_MAX.saturating_add(size),
            max: DOCUMENTS_MAX,
        })?;
        Ok(())
    }
}

/// Finds an image that is here: unpacked, or with the layers as they are shipped.
fn here(repo: &Repository, digest: &ManifestDigest) -> Result<Option<ObjectId>, Error> {
    let Ok(image) = StoredImage::open(repo, digest) else { return Ok(None) };
    let config = image.config();
    if whole_refs(repo, config)?.len() != config.refs().len() {
        return Ok(None);
    }
    let stream = repo.open_stream(image.manifest_stream())?;
    for (_, id) in stream.named_refs() {
        if !present::is_whole(repo, &id)? {
            return Ok(None);
        }
    }
    let has_entry = repo.stream_entry(&ident::config(config.digest())?)?.as_ref() == Some(config.stream());
    let names = |layer: &Descriptor| stream.named_ref(layer.digest().as_ref()).is_some();
    let has_all = (has_entry && is_unpacked(&image)) || image.manifest().layers().iter().all(names);
    Ok(has_all.then(|| *image.manifest_stream()))
}

fn is_unpacked(image: &StoredImage) -> bool {
    image.is_container() && image.config().layers().is_ok()
}

/// Returns what of the names in a config's stream leads to layers and images that are here with all their objects.
fn whole_refs(repo: &Repository, config: &StoredConfig) -> Result<Vec<(String, ObjectId)>, Error> {
    let mut whole = Vec::new();
    for (key, id) in config.refs() {
        let is_whole = if ident::is_image_key(key) {
            present::image_is_whole(repo, id)?
        } else {
            present::is_whole(repo, id)?
        };
        if is_whole {
            whole.push((key.clone(), *id));
        }
    }
    Ok(whole)
}

impl Foreign {
    fn new(
        repo: Option<&Repository>,
        source: &dyn Source,
        descriptor: &Descriptor,
        digest: &ManifestDigest,
        budget: &mut Budget<'_>,
    ) -> Result<Self, Error> {
        let stored = repo.and_then(|repo| StoredImage::open(repo, digest).ok());
        let (manifest, config) = match stored {
            Some(image) => (image.manifest().clone(), Some(image.config().bytes().to_vec())),
            None => {
                let bytes = source.document(descriptor, MANIFEST_MAX)?;
                let manifest = Manifest::parse_as(bytes, digest.clone())
                    .map_err(|source| Error::model(digest, source))?;
                (manifest, None)
            }
        };
        budget.take(manifest.bytes().len())?;
        let config_came = config.is_none();
        let config = match config {
            Some(config) => config,
            None => source.document(manifest.parsed().config(), CONFIG_MAX)?,
        };
        budget.take(config.len())?;
        let config_digest = manifest.config_digest().map_err(|source| Error::model(digest, source.into()))?;
        let layers = manifest
            .layers()
            .iter()
            .map(|layer| {
                let blob = descriptor_digest(layer).map_err(|source| Error::model(digest, source.into()))?;
                PlannedLayer::new(repo, source, layer, LayerKind::Packed, blob.digest(), false)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { manifest, config_digest, config, config_came, layers })
    }

    /// Stores the documents; the manifest's stream names the blobs, so that nothing collects these.
    ///
    /// The config gets no entry of its own: 0.9 takes one to mean that the layers are unpacked. As a blob it has one,
    /// since 0.9's collection keeps a stream that only an id names, and not what that names.
    ///
    /// If the image is here unpacked as well, what is whole of that stays with the manifest: a tag may lead to it.
    fn store(
        &self,
        writer: &Writer,
        blobs: &BTreeMap<StreamName, ObjectId>,
        commit: &mut Commit<'_>,
    ) -> Result<ObjectId, Error> {
        let blob = store_document(writer, ContentType::OCI_BLOB, &self.config, &[])?;
        commit.stream(ident::blob(&BlobDigest::new(self.config_digest.digest().clone()))?, blob);
        let unpacked = match StoredImage::open(writer, self.manifest.digest()) {
            Ok(image) if is_unpacked(&image) => whole_refs(writer, image.config())?,
            _ => Vec::new(),
        };
        let config = store_document(writer, ContentType::OCI_CONFIG, &self.config, &unpacked)?;
        let mut refs =
            vec![(ident::config_key(&self.config_digest), config), (self.config_digest.to_string(), blob)];
        let shipped =
            self.layers.iter().filter_map(|layer| Some((layer.key.as_str(), *blobs.get(&layer.name)?)));
        let unpacked = unpacked
            .iter()
            .filter(|(key, _)| ident::layer_key(key).is_some())
            .map(|(key, stream)| (key.as_str(), *stream));
        // A layer that is shipped as it is has one digest for both; the config names the other stream.
        for (key, stream) in shipped.chain(unpacked) {
            if refs.iter().all(|(have, _)| have != key) {
                refs.push((key.to_owned(), stream));
            }
        }
        store_document(writer, ContentType::OCI_MANIFEST, self.manifest.bytes(), &refs)
    }
}

fn store_document(
    writer: &Writer,
    content_type: ContentType,
    bytes: &[u8],
    named_refs: &[(String, ObjectId)],
) -> Result<ObjectId, Error> {
    let object = writer.store_bytes(bytes)?.id;
    let stream = DocumentStream { content_type, object, size: bytes.len() as u64, named_refs };
    stream.store(writer, Digest::sha256(bytes))
}

/// Finds the objects of layers as shipped, by digest.
pub(super) fn packed(
    writer: &Writer,
    layers: &[PlannedLayer],
    streams: &[ObjectId],
) -> BTreeMap<Digest, ObjectId> {
    let object = |(layer, stream): (&PlannedLayer, &ObjectId)| {
        Some((layer.key.clone(), writer.open_stream(stream).ok()?.only_object().ok()?))
    };
    layers.iter().zip(streams).filter_map(object).collect()
}

/// Stores the documents of the images for other platforms, with entries in the commit. Their layers are here.
pub(super) fn assemble(
    writer: &Writer,
    plan: &IndexPlan,
    streams: &BTreeMap<StreamName, ObjectId>,
    commit: &mut Commit<'_>,
) -> Result<Children, Error> {
    let mut children = Vec::new();
    for child in &plan.children {
        let stream = match &child.state {
            ChildState::Native => None,
            ChildState::Here(stream) => Some(*stream),
            ChildState::Comes(foreign) => {
                let stream = foreign.store(writer, streams, commit)?;
                commit.stream(ident::manifest(&child.digest)?, stream);
                Some(stream)
            }
        };
        children.push((child.digest.clone(), stream));
    }
    Ok(children)
}

/// Stores the index with what it names, and gives it its entry.
pub(super) fn store(
    writer: &Writer,
    plan: &IndexPlan,
    children: &[(ManifestDigest, Option<ObjectId>)],
    native: ObjectId,
    commit: &mut Commit<'_>,
) -> Result<(), Error> {
    let refs: Vec<(String, ObjectId)> = children
        .iter()
        .map(|(digest, stream)| (ident::manifest_key(digest), stream.unwrap_or(native)))
        .collect();
    let stream = store_document(writer, ContentType::OCI_INDEX, &plan.root.bytes, &refs)?;
    commit.stream(ident::index(&plan.root.digest)?, stream);
    Ok(())
}

impl Serialize for IndexPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Index<'a> {
            digest: &'a str,
            manifests: &'a [ChildPlan],
        }
        Index { digest: self.root.digest.as_str(), manifests: &self.children }.serialize(serializer)
    }
}

impl Serialize for ChildPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Child<'a> {
            manifest: &'a str,
            platform: Option<String>,
            state: &'static str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            layers: &'a [PlannedLayer],
        }
        Child {
            manifest: self.digest.as_str(),
            platform: self.platform.as_ref().map(ToString::to_string),
            state: match &self.state {
                ChildState::Native => "native",
                ChildState::Here(_) => "present",
                ChildState::Comes(foreign)
                    if foreign.layers.iter().all(|layer| layer.state != LayerState::Comes) =>
                {
                    "packed"
                }
                ChildState::Comes(_) => "comes",
            },
            layers: self.layers(),
        }
        .serialize(serializer)
    }
}
