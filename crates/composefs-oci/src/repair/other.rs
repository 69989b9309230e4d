//! Another composefs repository as a medium: layers come out of it as the tars they were, whatever its algorithm.

use std::io::Read;

use composefs::{digest::ObjectId, repo::Repository, splitstream::ContentType};
use oci_spec::image::{Descriptor, MediaType};

use crate::{
    digest::{BlobDigest, ConfigDigest, DiffId, Digest, ManifestDigest},
    error::Error,
    ident,
    model::platform::Platform,
    stored::{
        StoredConfig, StoredImage,
        layer::{self, LayerReader},
    },
    transport::{Chosen, Root, Source, digest_of},
};

/// A repository that others are mended from.
#[derive(Clone, Debug)]
pub(super) struct Other(Repository);

impl Other {
    pub(super) const fn new(repo: Repository) -> Self {
        Self(repo)
    }

    /// Returns the bytes of a manifest or config.
    pub(super) fn document(&self, digest: &Digest) -> Option<Vec<u8>> {
        let manifest = ManifestDigest::new(digest.clone());
        if let Ok(image) = StoredImage::open(&self.0, &manifest) {
            return Some(image.manifest().bytes().to_vec());
        }
        let config = StoredConfig::open(&self.0, &ConfigDigest::new(digest.clone()));
        config.ok().map(|config| config.bytes().to_vec())
    }

    /// Returns a descriptor of the blob with these bytes: of a layer's tar by its diff_id, of what is kept as it is
    /// shipped by its digest.
    pub(super) fn offer(&self, digest: &Digest) -> Option<Descriptor> {
        let id = self.stream(digest).ok().flatten()?;
        let size = layer::size(&self.0, &id).ok()?;
        let digest: oci_spec::image::Digest = digest.as_str().parse().ok()?;
        Some(Descriptor::new(MediaType::ImageLayer, size, digest))
    }

    fn stream(&self, digest: &Digest) -> Result<Option<ObjectId>, Error> {
        match self.0.stream_entry(&ident::layer(&DiffId::new(digest.clone()))?)? {
            Some(id) => Ok(Some(id)),
            None => Ok(self.0.stream_entry(&ident::blob(&BlobDigest::new(digest.clone()))?)?),
        }
    }
}

impl Source for Other {
    fn describe(&self) -> String {
        format!("the repository {}", self.0.path().display())
    }

    fn root(&self) -> Result<Root, Error> {
        Err(Error::NotFound(self.describe()))
    }

    fn manifest(&self, _platform: &Platform) -> Result<Chosen, Error> {
        Err(Error::NotFound(self.describe()))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let digest = digest_of(descriptor)?;
        let missing = || Error::BlobMissing { digest: digest.clone(), place: self.describe() };
        let id = self.stream(&digest)?.ok_or_else(missing)?;
        let stream = self.0.open_stream(&id)?;
        if !matches!(
            stream.content_type(),
            ContentType::OCI_LAYER | ContentType::OCI_BLOB | ContentType::NONE
        ) {
            return Err(missing());
        }
        Ok(Box::new(LayerReader::of(&self.0, stream).map_err(|source| Error::stream(&digest, source))?))
    }
}
