//! What a pull would do: which layers are here, which come, and how many bytes. Making a plan reads only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use composefs::{
    digest::ObjectId,
    name::StreamName,
    progress::{Event, Observer},
    repo::{Repository, Session},
};
use oci_spec::image::Descriptor;
use serde::{Serialize, Serializer};

use crate::{
    digest::{BlobDigest, ConfigDigest, DiffId, Digest, ManifestDigest},
    error::Error,
    ident,
    model::{CONFIG_MAX, Config, Manifest, ModelError, descriptor_digest, media_type},
    stored::{StoredConfig, StoredImage},
    transport::Source,
};

use super::{
    Blobs, Platforms, PullOptions, Pulled,
    asked::Asked,
    kept,
    platforms::{self, IndexPlan},
    present,
    space::Space,
};

/// A pull before it is done.
///
/// It is what [`pull`](super::pull) goes by, so what it says is what would happen.
#[derive(Debug)]
pub struct PullPlan {
    pub(super) reference: String,
    pub(super) manifest: Manifest,
    pub(super) config: PlannedConfig,
    pub(super) layers: Vec<PlannedLayer>,
    /// The result, if there is nothing to do but to name it.
    pub(super) whole: Option<Pulled>,
    /// Layers of the image to be kept as they are shipped.
    pub(super) blobs: Vec<PlannedLayer>,
    pub(super) index: Option<IndexPlan>,
    pub(super) space: Space,
    pub(super) options: PullOptions,
    /// What the session's count was when the repository was looked at.
    pub(super) looked_at: u64,
}

/// The config of the image, which was read for the plan.
#[derive(Debug)]
pub(super) struct PlannedConfig {
    pub(super) digest: ConfigDigest,
    pub(super) bytes: Vec<u8>,
    /// The one that is here, with the names in its stream.
    pub(super) old: Option<StoredConfig>,
    /// Whether the bytes came from the medium.
    pub(super) came: bool,
}

/// One layer to have: where it is, and what its contents must be.
#[derive(Clone, Debug)]
pub struct PlannedLayer {
    pub(super) descriptor: Descriptor,
    pub(super) kind: LayerKind,
    /// The diff_id of a tar layer; the blob's digest of anything else.
    pub(super) key: Digest,
    pub(super) name: StreamName,
    pub(super) state: LayerState,
}

/// How a layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerKind {
    /// A layer of a file system.
    Tar,
    /// An archive of an artifact, which nobody will merge.
    OpaqueTar,
    /// Anything else of an artifact.
    Blob,
    /// A layer for another platform, or one that is kept: the bytes as they are shipped.
    Packed,
}

/// Where a layer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerState {
    /// It is here: the id of its stream.
    Here(ObjectId),
    /// It is here as it is shipped, in this object, and is unpacked from there.
    Packed(ObjectId),
    /// It comes from the medium.
    Comes,
}

impl PlannedLayer {
    /// Looks for the layer in the repository, if there is one, and at what the medium has of it. With `looked` all layers
    /// that have an entry are known to be whole.
    pub(super) fn new(
        repo: Option<&Repository>,
        source: &dyn Source,
        layer: &Descriptor,
        kind: LayerKind,
        key: &Digest,
        looked: bool,
    ) -> Result<Self, Error> {
        let name = match kind {
            LayerKind::Packed => ident::blob(&BlobDigest::new(key.clone()))?,
            _ => ident::layer(&DiffId::new(key.clone()))?,
        };
        let planned = |descriptor: &Descriptor, state| Self {
            descriptor: descriptor.clone(),
            kind,
            key: key.clone(),
            name: name.clone(),
            state,
        };
        let stream = repo.map(|repo| present::stream(repo, &name, kind, looked)).transpose()?.flatten();
        if let Some(stream) = stream {
            return Ok(planned(layer, LayerState::Here(stream)));
        }
        if kind != LayerKind::Packed
            && let Some(object) = repo.map(|repo| packed(repo, layer)).transpose()?.flatten()
        {
            return Ok(planned(layer, LayerState::Packed(object)));
        }
        // Bytes for other platforms are kept as the manifest says, or not at all.
        let kept = if kind == LayerKind::Packed { None } else { source.kept_as(layer)? };
        Ok(planned(kept.as_ref().unwrap_or(layer), LayerState::Comes))
    }

    /// Looks again whether the layer is here, and where it comes from if not.
    pub(super) fn look_again(&mut self, repo: &Repository) -> Result<(), Error> {
        self.state = match present::stream(repo, &self.name, self.kind, false)? {
            Some(stream) => LayerState::Here(stream),
            None => match packed(repo, &self.descriptor)? {
                Some(object) if self.kind != LayerKind::Packed => LayerState::Packed(object),
                _ => LayerState::Comes,
            },
        };
        Ok(())
    }

    /// Plans to have a layer again that is here and no good.
    pub(crate) const fn again(
        descriptor: Descriptor,
        kind: LayerKind,
        key: Digest,
        name: StreamName,
        state: LayerState,
    ) -> Self {
        Self { descriptor, kind, key, name, state }
    }

    /// Returns the descriptor of the blob that is or was fetched.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Returns the name of its stream.
    #[must_use]
    pub const fn name(&self) -> &StreamName {
        &self.name
    }

    /// Returns where it comes from.
    #[must_use]
    pub const fn state(&self) -> LayerState {
        self.state
    }
}

/// Finds the object with a blob's bytes.
fn packed(repo: &Repository, layer: &Descriptor) -> Result<Option<ObjectId>, Error> {
    let Ok(digest) = descriptor_digest(layer) else { return Ok(None) };
    let Some(stream) = present::stream(repo, &ident::blob(&digest)?, LayerKind::Packed, false)? else {
        return Ok(None);
    };
    Ok(repo.open_stream(&stream)?.only_object().ok())
}

impl PullPlan {
    /// Finds out what a pull would do. Without a repository everything comes.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::UnexpectedManifest`], [`Error::Model`], and what reading the medium or the
    /// repository gives.
    pub fn new(
        repo: Option<&Repository>,
        source: &dyn Source,
        options: &PullOptions,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let session = repo.map(Repository::session).transpose()?;
        Self::within(session.as_ref(), repo, source, options, observer)
    }

    /// Finds out what a pull would do, without the session's lock while the medium is asked.
    pub(super) fn within(
        session: Option<&Session>,
        repo: Option<&Repository>,
        source: &dyn Source,
        options: &PullOptions,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let source = &Asked { source, session };
        // A name no file can have must fail before the work, not after it.
        options.tag.as_deref().map(ident::tag).transpose()?;
        let chosen = source.manifest(&options.platform)?;
        if let Some(warning) = &chosen.warning {
            observer.event(&Event::Warning { text: warning });
        }
        let digest = ManifestDigest::new(chosen.digest);
        if let Some(expected) = options.expected.as_ref().filter(|expected| **expected != digest) {
            return Err(Error::UnexpectedManifest { expected: expected.clone(), actual: digest });
        }
        let manifest = Manifest::parse_as(chosen.bytes, digest.clone())
            .map_err(|source| Error::model(&digest, source))?;
        let stored = repo.and_then(|repo| StoredImage::open(repo, &digest).ok());
        let config = PlannedConfig::new(repo, source, &manifest, stored.as_ref())?;
        let looked_at = session.map_or(0, Session::releases);
        let layers = layers(repo, source, &manifest, &config)?;
        let blobs = match options.blobs {
            Blobs::Keep => kept::plan(repo, source, &manifest, &layers, observer)?,
            Blobs::Drop => Vec::new(),
        };
        let whole = match (repo, &stored) {
            (Some(repo), Some(image)) if kept::are_named(repo, image, &blobs)? => {
                present::whole(repo, image, &layers, options)?
            }
            _ => None,
        };
        if whole.is_none() {
            warn_of_types(&manifest, observer);
        }
        let index = match options.platforms {
            Platforms::One => None,
            Platforms::All => platforms::plan(repo, source, &digest, observer)?,
        };
        let reference = source.describe();
        let space = Space::default();
        let options = options.clone();
        let mut plan =
            Self { reference, manifest, config, layers, whole, blobs, index, space, options, looked_at };
        plan.space = Space::of(&plan, source, repo);
        Ok(plan)
    }

    /// Returns the digest of the manifest.
    #[must_use]
    pub const fn manifest(&self) -> &ManifestDigest {
        self.manifest.digest()
    }

    /// Returns the digest of the config.
    #[must_use]
    pub const fn config(&self) -> &ConfigDigest {
        &self.config.digest
    }

    /// Tells whether the config comes from the medium.
    #[must_use]
    pub const fn config_comes(&self) -> bool {
        self.config.came
    }

    /// Returns the layers of the image, lowest first.
    #[must_use]
    pub fn layers(&self) -> &[PlannedLayer] {
        &self.layers
    }

    /// Returns the plan for the other platforms, if they were asked for and there are any.
    #[must_use]
    pub const fn index(&self) -> Option<&IndexPlan> {
        self.index.as_ref()
    }

    /// Returns how much room the pull needs, and how much there is.
    #[must_use]
    pub const fn space(&self) -> &Space {
        &self.space
    }

    /// Tells whether everything is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole.is_some() && self.index.as_ref().is_none_or(IndexPlan::is_whole)
    }

    /// Returns the layers that come, those for other platforms too, each blob once.
    pub fn layers_to_come(&self) -> impl Iterator<Item = &PlannedLayer> {
        let mut seen = BTreeSet::new();
        // In this order they are fetched: what came for another platform, or is kept, needn't come again.
        self.packed_layers().chain(&self.layers).filter(move |layer| {
            layer.state == LayerState::Comes && seen.insert(layer.descriptor.digest().as_ref())
        })
    }

    /// Returns the layers of the image that are to be kept as they are shipped.
    #[must_use]
    pub fn blobs(&self) -> &[PlannedLayer] {
        &self.blobs
    }

    /// The layers that are to be here as they are shipped.
    pub(super) fn packed_layers(&self) -> impl Iterator<Item = &PlannedLayer> {
        self.index.iter().flat_map(IndexPlan::layers).chain(&self.blobs)
    }

    /// Returns the bytes of the layers that come.
    #[must_use]
    pub fn layer_bytes_to_come(&self) -> u64 {
        self.layers_to_come().map(|layer| layer.descriptor.size()).fold(0, u64::saturating_add)
    }

    /// Returns the bytes that come from the medium, without the manifests, which were read for the plan.
    #[must_use]
    pub fn bytes_to_come(&self) -> u64 {
        let config = if self.config.came { self.config.bytes.len() as u64 } else { 0 };
        let foreign = self.index.as_ref().map_or(0, IndexPlan::config_bytes_to_come);
        self.layer_bytes_to_come().saturating_add(config).saturating_add(foreign)
    }

    /// Takes layers from blobs that came as they are shipped in the meantime.
    pub(super) fn unpack_from(&mut self, packed: &BTreeMap<Digest, ObjectId>) {
        for layer in &mut self.layers {
            let found =
                packed.iter().find(|(digest, _)| digest.as_str() == layer.descriptor.digest().as_ref());
            if let (LayerState::Comes, Some((_, object))) = (layer.state, found) {
                layer.state = LayerState::Packed(*object);
            }
        }
    }
}

impl PlannedConfig {
    fn new(
        repo: Option<&Repository>,
        source: &dyn Source,
        manifest: &Manifest,
        image: Option<&StoredImage>,
    ) -> Result<Self, Error> {
        let digest =
            manifest.config_digest().map_err(|source| Error::model(manifest.digest(), source.into()))?;
        let old = repo.map(|repo| old_config(repo, &digest)).transpose()?.flatten();
        let here = old.as_ref().or_else(|| image.map(StoredImage::config));
        let (bytes, came) = match here {
            Some(config) => (config.bytes().to_vec(), false),
            None => (source.document(manifest.parsed().config(), CONFIG_MAX)?, true),
        };
        Ok(Self { digest, bytes, old, came })
    }
}

/// A config that is here already is used if it is whole, and its boot images are kept.
fn old_config(repo: &Repository, digest: &ConfigDigest) -> Result<Option<StoredConfig>, Error> {
    match StoredConfig::open(repo, digest) {
        Ok(config) => Ok(Some(config)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error @ (Error::Damaged { .. } | Error::Repository(_))) => {
            tracing::warn!(digest = %digest, error = %error, "the stored config is damaged; fetching it again");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn layers(
    repo: Option<&Repository>,
    source: &dyn Source,
    manifest: &Manifest,
    config: &PlannedConfig,
) -> Result<Vec<PlannedLayer>, Error> {
    let descriptors = manifest.layers();
    if !manifest.is_container() {
        return descriptors
            .iter()
            .map(|descriptor| {
                let digest = descriptor_digest(descriptor)
                    .map_err(|source| Error::model(manifest.digest(), source.into()))?;
                let plain_tar = media_type::tar_layer(descriptor.media_type().as_ref())
                    == Some(media_type::Compression::None);
                let kind = if plain_tar { LayerKind::OpaqueTar } else { LayerKind::Blob };
                PlannedLayer::new(repo, source, descriptor, kind, digest.digest(), false)
            })
            .collect();
    }
    let parsed = Config::parse_as(config.bytes.clone(), config.digest.clone())
        .map_err(|source| Error::model(&config.digest, source))?;
    let (layers, diff_ids) = (descriptors.len(), parsed.diff_ids().len());
    if layers != diff_ids {
        return Err(Error::model(manifest.digest(), ModelError::LayerCount { layers, diff_ids }));
    }
    let names = parsed.diff_ids().iter().map(ident::layer).collect::<Result<Vec<_>, _>>()?;
    let looked = repo.map(|repo| present::named_are_whole(repo, names)).transpose()?.unwrap_or(false);
    let plan = |(descriptor, diff_id): (&Descriptor, &DiffId)| {
        PlannedLayer::new(repo, source, descriptor, LayerKind::Tar, diff_id.digest(), looked)
    };
    descriptors.iter().zip(parsed.diff_ids()).map(plan).collect()
}

fn warn_of_types(manifest: &Manifest, observer: &dyn Observer) {
    if !manifest.is_container() {
        return;
    }
    for layer in manifest.layers() {
        if media_type::tar_layer(layer.media_type().as_ref()).is_none() {
            let text = format!(
                "layer {} has the media type {}, which is no tar layer; it is taken for one",
                layer.digest(),
                layer.media_type()
            );
            observer.event(&Event::Warning { text: &text });
        }
    }
}

impl fmt::Display for PullPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} layers to come", self.reference, self.layers_to_come().count())?;
        write!(f, ", {} bytes in all", self.bytes_to_come())
    }
}

impl Serialize for PullPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Plan<'a> {
            reference: &'a str,
            manifest: &'a str,
            config: &'a str,
            config_state: &'static str,
            layers: &'a [PlannedLayer],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            blobs: &'a [PlannedLayer],
            #[serde(skip_serializing_if = "Option::is_none")]
            index: Option<&'a IndexPlan>,
            complete: bool,
            layers_to_come: usize,
            bytes_to_come: u64,
            space: &'a Space,
        }
        Plan {
            reference: &self.reference,
            manifest: self.manifest.digest().as_str(),
            config: self.config.digest.as_str(),
            config_state: if self.config.came { "comes" } else { "present" },
            layers: &self.layers,
            blobs: &self.blobs,
            index: self.index.as_ref(),
            complete: self.is_whole(),
            layers_to_come: self.layers_to_come().count(),
            bytes_to_come: self.bytes_to_come(),
            space: &self.space,
        }
        .serialize(serializer)
    }
}

impl Serialize for PlannedLayer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Layer<'a> {
            digest: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            diff_id: Option<&'a str>,
            size: u64,
            state: LayerState,
        }
        let diff_id = (self.kind == LayerKind::Tar).then_some(self.key.as_str());
        Layer {
            digest: self.descriptor.digest().as_ref(),
            diff_id,
            size: self.descriptor.size(),
            state: self.state,
        }
        .serialize(serializer)
    }
}

impl Serialize for LayerState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Here(_) => "present",
            Self::Packed(_) => "packed",
            Self::Comes => "comes",
        })
    }
}
