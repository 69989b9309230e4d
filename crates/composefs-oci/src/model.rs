//! Manifests, indexes and configs: the parsed form beside the bytes it came from.
//!
//! Digests are always of the bytes; nothing is ever serialised again.

pub(crate) mod edit;
pub mod media_type;
pub mod platform;

pub use oci_spec::image::Descriptor;
use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};

use crate::digest::{BlobDigest, ConfigDigest, DiffId, Digest, DigestError, ManifestDigest};

/// The largest manifest or index that is read, in bytes.
pub const MANIFEST_MAX: u64 = 4 << 20;
/// The largest config that is read, in bytes: parsed, it takes a dozen times as much.
pub const CONFIG_MAX: u64 = 4 << 20;
/// The most layers an image may have.
pub const LAYERS_MAX: usize = 4096;

/// Why a document is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// Not JSON, or not of the right shape.
    #[error("not a valid {what}")]
    Json {
        /// What was expected.
        what: &'static str,
        /// The parser's word.
        source: serde_json::Error,
    },
    /// A digest in it is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The number of layers is not the number of diff_ids.
    #[error("the manifest has {layers} layers, the config {diff_ids} diff_ids")]
    LayerCount {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// Too many layers.
    #[error("{0} layers, more than {LAYERS_MAX}")]
    TooManyLayers(usize),
    /// A descriptor's size disagrees with where it stands.
    #[error("{what} of {size} bytes is larger than {max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// A Docker schema 1 manifest.
    #[error("a Docker schema 1 manifest; images of that age are not supported")]
    Schema1,
    /// A document that could be a manifest and an index.
    #[error("neither clearly a manifest nor clearly an index")]
    Ambiguous,
}

/// A manifest and its bytes.
#[derive(Clone, Debug)]
pub struct Manifest {
    bytes: Vec<u8>,
    digest: ManifestDigest,
    parsed: ImageManifest,
}

impl Manifest {
    /// Parses the bytes of a manifest; its digest is computed with SHA-256.
    ///
    /// # Errors
    /// [`ModelError::Json`], [`ModelError::TooManyLayers`], [`ModelError::Digest`].
    pub fn parse(bytes: Vec<u8>) -> Result<Self, ModelError> {
        let digest = ManifestDigest::new(Digest::sha256(&bytes));
        Self::parse_as(bytes, digest)
    }

    /// Parses the bytes of a manifest known under a digest, which the caller has checked.
    ///
    /// # Errors
    /// As [`Manifest::parse`].
    pub fn parse_as(bytes: Vec<u8>, digest: ManifestDigest) -> Result<Self, ModelError> {
        let parsed: ImageManifest =
            serde_json::from_slice(&bytes).map_err(|source| ModelError::Json { what: "manifest", source })?;
        if parsed.schema_version() == 1 {
            return Err(ModelError::Schema1);
        }
        let layers = parsed.layers().len();
        if layers > LAYERS_MAX {
            return Err(ModelError::TooManyLayers(layers));
        }
        let manifest = Self { bytes, digest, parsed };
        manifest.config_digest()?;
        for layer in manifest.layers() {
            descriptor_digest(layer)?;
        }
        Ok(manifest)
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the digest of the bytes.
    #[must_use]
    pub const fn digest(&self) -> &ManifestDigest {
        &self.digest
    }

    /// Returns the parsed form.
    #[must_use]
    pub const fn parsed(&self) -> &ImageManifest {
        &self.parsed
    }

    /// Returns the layers' descriptors.
    #[must_use]
    pub fn layers(&self) -> &[Descriptor] {
        self.parsed.layers()
    }

    /// Returns the config's digest.
    ///
    /// # Errors
    /// [`DigestError`]; never after a successful parse.
    pub fn config_digest(&self) -> Result<ConfigDigest, DigestError> {
        self.parsed.config().digest().as_ref().parse()
    }

    /// Tells whether this is a container image; everything else is an artifact.
    #[must_use]
    pub fn is_container(&self) -> bool {
        media_type::is_image_config(self.parsed.config().media_type().as_ref())
    }
}

/// Returns a descriptor's digest.
///
/// # Errors
/// [`DigestError`] for text that is none.
pub fn descriptor_digest(descriptor: &Descriptor) -> Result<BlobDigest, DigestError> {
    descriptor.digest().as_ref().parse()
}

/// A config and its bytes.
#[derive(Clone, Debug)]
pub struct Config {
    bytes: Vec<u8>,
    digest: ConfigDigest,
    parsed: ImageConfiguration,
    diff_ids: Vec<DiffId>,
}

impl Config {
    /// Parses the bytes of a config known under a digest, which the caller has checked.
    ///
    /// # Errors
    /// [`ModelError::Json`], [`ModelError::Digest`] for a diff_id that is none.
    pub fn parse_as(bytes: Vec<u8>, digest: ConfigDigest) -> Result<Self, ModelError> {
        let parsed: ImageConfiguration = serde_json::from_slice(&bytes)
            .map_err(|source| ModelError::Json { what: "image config", source })?;
        let diff_ids = parsed.rootfs().diff_ids();
        if diff_ids.len() > LAYERS_MAX {
            return Err(ModelError::TooManyLayers(diff_ids.len()));
        }
        let diff_ids = diff_ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
        Ok(Self { bytes, digest, parsed, diff_ids })
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the digest of the bytes.
    #[must_use]
    pub const fn digest(&self) -> &ConfigDigest {
        &self.digest
    }

    /// Returns the parsed form.
    #[must_use]
    pub const fn parsed(&self) -> &ImageConfiguration {
        &self.parsed
    }

    /// Returns the diff_ids, lowest layer first.
    #[must_use]
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.diff_ids
    }

    /// Returns a label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.parsed.config().as_ref()?.labels().as_ref()?.get(key).map(String::as_str)
    }
}

/// Parses the bytes of an image index.
///
/// # Errors
/// [`ModelError::Json`].
pub fn parse_index(bytes: &[u8]) -> Result<ImageIndex, ModelError> {
    serde_json::from_slice(bytes).map_err(|source| ModelError::Json { what: "image index", source })
}
