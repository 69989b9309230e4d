//! An image that is in the repository: its documents, and the ids of its layers and images.

pub mod indexes;
pub mod layer;
pub mod tags;
pub mod referrers;
pub mod origins;
pub mod check;
pub mod unused;

use composefs::{
    digest::ObjectId,
    erofs::FormatVersion,
    name::StreamName,
    repo::Repository,
    splitstream::{ContentType, Layout, MapEntry, SplitStream},
};

use crate::{
    digest::{ConfigDigest, DiffId, Digest, ManifestDigest},
    error::Error,
    ident,
    model::{CONFIG_MAX, Config, MANIFEST_MAX, Manifest},
};

/// An image or artifact of the repository.
#[derive(Clone, Debug)]
pub struct StoredImage {
    manifest: Manifest,
    manifest_stream: ObjectId,
    config: StoredConfig,
}

/// A config of the repository, with the streams and images it names.
#[derive(Clone, Debug)]
pub struct StoredConfig {
    digest: ConfigDigest,
    bytes: Vec<u8>,
    stream: ObjectId,
    refs: Vec<(String, ObjectId)>,
}

impl StoredImage {
    /// Opens the image of a tag.
    ///
    /// # Errors
    /// [`Error::NotFound`]; otherwise as [`StoredImage::open`].
    pub fn open_tag(repo: &Repository, tag: &str) -> Result<Self, Error> {
        Self::open(repo, &tags::resolve(repo, tag)?)
    }

    /// Opens the image of a manifest digest.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Damaged`] when bytes and digests disagree.
    pub fn open(repo: &Repository, digest: &ManifestDigest) -> Result<Self, Error> {
        StoredManifest::open(repo, digest)?.with_config(repo)
    }

    /// Returns the manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns the id of the manifest's stream.
    #[must_use]
    pub const fn manifest_stream(&self) -> &ObjectId {
        &self.manifest_stream
    }

    /// Returns the config.
    #[must_use]
    pub const fn config(&self) -> &StoredConfig {
        &self.config
    }

    /// Tells whether this is a container image.
    #[must_use]
    pub fn is_container(&self) -> bool {
        self.manifest.is_container()
    }
}

/// A manifest of the repository whose config was not looked at.
pub(crate) struct StoredManifest {
    manifest: Manifest,
    stream: ObjectId,
    refs: Vec<(String, ObjectId)>,
}

impl StoredManifest {
    /// Opens a manifest by its digest, as [`StoredImage::open`] does.
    pub(crate) fn open(repo: &Repository, digest: &ManifestDigest) -> Result<Self, Error> {
        let name = ident::manifest(digest)?;
        let stream = repo.stream_entry(&name)?.ok_or_else(|| Error::NotFound(digest.to_string()))?;
        let document = Document::read(repo, &name, &stream, ContentType::OCI_MANIFEST, MANIFEST_MAX)?;
        document.check(digest.digest(), &name)?;
        let manifest = Manifest::parse_as(document.bytes, digest.clone())
            .map_err(|source| Error::model(digest, source))?;
        Ok(Self { manifest, stream, refs: document.refs })
    }

    /// Opens the config, too.
    pub(crate) fn with_config(self, repo: &Repository) -> Result<StoredImage, Error> {
        let digest = self.manifest.digest();
        let config = self.manifest.config_digest().map_err(|source| Error::model(digest, source.into()))?;
        let key = ident::config_key(&config);
        let stream = self.refs.iter().find(|(name, _)| *name == key).map(|(_, id)| *id).ok_or_else(|| {
            Error::Damaged {
                subject: format!("manifest {digest}"),
                reason: format!("its stream names no stream of the config {config}"),
            }
        })?;
        let config = StoredConfig::open_stream(repo, &config, &stream)?;
        Ok(StoredImage { manifest: self.manifest, manifest_stream: self.stream, config })
    }
}

impl StoredConfig {
    /// Opens a config by its digest.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Damaged`].
    pub fn open(repo: &Repository, digest: &ConfigDigest) -> Result<Self, Error> {
        let name = ident::config(digest)?;
        let stream = match repo.stream_entry(&name)? {
            Some(stream) => stream,
            // 0.3 names a stream by the bare SHA-256 of its contents.
            None => {
                let old = repo.stream_entry(&StreamName::new(digest.digest().encoded())?)?;
                old.ok_or_else(|| Error::NotFound(digest.to_string()))?
            }
        };
        Self::open_stream(repo, digest, &stream)
    }

    /// Opens a config by the id of its stream.
    ///
    /// # Errors
    /// [`Error::Damaged`] when its bytes are not the digest's.
    pub fn open_stream(repo: &Repository, digest: &ConfigDigest, stream: &ObjectId) -> Result<Self, Error> {
        let name = ident::config(digest)?;
        let document = Document::read(repo, &name, stream, ContentType::OCI_CONFIG, CONFIG_MAX)?;
        document.check(digest.digest(), &name)?;
        Ok(Self { digest: digest.clone(), bytes: document.bytes, stream: *stream, refs: document.refs })
    }

    /// Returns the digest of the bytes.
    #[must_use]
    pub const fn digest(&self) -> &ConfigDigest {
        &self.digest
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the id of the config's stream.
    #[must_use]
    pub const fn stream(&self) -> &ObjectId {
        &self.stream
    }

    /// Returns every name in the stream, with its id.
    #[must_use]
    pub fn refs(&self) -> &[(String, ObjectId)] {
        &self.refs
    }

    /// Returns the id of what the stream names under a key.
    #[must_use]
    pub fn named(&self, key: &str) -> Option<&ObjectId> {
        self.refs.iter().find(|(name, _)| name == key).map(|(_, id)| id)
    }

    /// Returns the id of the root file system's image in a format.
    #[must_use]
    pub fn image(&self, version: FormatVersion) -> Option<&ObjectId> {
        self.named(ident::image_key(version))
    }

    /// Parses the bytes as an image config.
    ///
    /// # Errors
    /// [`Error::Model`].
    pub fn parse(&self) -> Result<Config, Error> {
        Config::parse_as(self.bytes.clone(), self.digest.clone())
            .map_err(|source| Error::model(&self.digest, source))
    }

    /// Returns the layers of a container image in order: diff_id and id of the stream.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a diff_id that the stream does not name.
    pub fn layers(&self) -> Result<Vec<(DiffId, ObjectId)>, Error> {
        let config = self.parse()?;
        let layer = |diff_id: &DiffId| {
            let id = self.named(diff_id.as_str()).ok_or_else(|| Error::Damaged {
                subject: format!("config {}", self.digest),
                reason: format!("it names no stream of the layer {diff_id}"),
            })?;
            Ok((diff_id.clone(), *id))
        };
        config.diff_ids().iter().map(layer).collect()
    }
}

/// A stream of one object, read.
struct Document {
    bytes: Vec<u8>,
    refs: Vec<(String, ObjectId)>,
}

impl Document {
    fn read(
        repo: &Repository,
        name: &StreamName,
        id: &ObjectId,
        content_type: ContentType,
        max: u64,
    ) -> Result<Self, Error> {
        let stream = repo.open_stream(id)?;
        let damaged = |reason: &str| Error::Damaged { subject: name.to_string(), reason: reason.to_owned() };
        if stream.layout() == Layout::V03 {
            return Self::read_v03(repo, id, &stream, max);
        }
        if stream.content_type() != content_type {
            return Err(damaged("its stream is of another type"));
        }
        let object = stream.only_object().map_err(|_| damaged("its stream must name exactly one object"))?;
        let refs = stream.named_refs().map(|(name, id)| (name.to_owned(), id)).collect();
        Ok(Self { bytes: repo.read_object(&object, max)?, refs })
    }

    /// 0.3 has the contents in the stream itself, and a map from digests to streams.
    fn read_v03(
        repo: &Repository,
        id: &ObjectId,
        stream: &SplitStream<std::fs::File>,
        max: u64,
    ) -> Result<Self, Error> {
        let mut bytes = Bounded { bytes: Vec::new(), max: usize::try_from(max).unwrap_or(usize::MAX) };
        repo.replay_stream(id, stream, &mut bytes)?;
        let named = |entry: &MapEntry| (Digest::from_sha256(&entry.body_sha256).to_string(), entry.stream);
        Ok(Self { bytes: bytes.bytes, refs: stream.v03_map().iter().map(named).collect() })
    }

    fn check(&self, digest: &Digest, name: &StreamName) -> Result<(), Error> {
        match digest.of_same_algorithm(&self.bytes) {
            Some(actual) if actual == *digest => Ok(()),
            Some(actual) => Err(Error::Damaged {
                subject: name.to_string(),
                reason: format!("contents hash to {actual}"),
            }),
            None => Err(Error::Damaged {
                subject: name.to_string(),
                reason: format!("digest algorithm {} cannot be checked", digest.algorithm()),
            }),
        }
    }
}

/// Bytes in memory, up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.len() > self.max.saturating_sub(self.bytes.len()) {
            return Err(std::io::Error::other(format!("more than {} bytes", self.max)));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
