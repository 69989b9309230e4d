//! A stored image as a medium for another repository: layers as the tars they are kept as, with their files.

use std::{
    collections::HashMap,
    io::{self, Read},
};

use composefs::{digest::ObjectId, repo::Repository};
use oci_spec::image::{Descriptor, MediaType};

use crate::{
    digest::{BlobDigest, Digest},
    error::Error,
    find::{self, Name},
    ident,
    model::{descriptor_digest, media_type, platform::Platform},
    stored::{
        StoredImage,
        layer::{self, LayerReader},
    },
    transport::{Chosen, Document, FileTaker, Root, Source, digest_of, read_document},
};

use super::artifact;

/// An image of a repository, as [`pull`](mod@crate::pull) takes it into another one. What is kept there is offered as
/// files, so that a file system may keep it once; each is checked on the way, as from any medium.
#[derive(Debug)]
pub struct KeptSource {
    repo: Repository,
    name: Name,
    image: StoredImage,
    /// Layers by the digest in the manifest: their diff_ids and streams.
    layers: HashMap<Digest, (Digest, ObjectId)>,
}

impl KeptSource {
    /// Opens an image. The repository's shared lock is held as long as this lives.
    ///
    /// # Errors
    /// [`Error::NotFound`]; what reading gives.
    pub fn open(repo: &Repository, name: &Name) -> Result<Self, Error> {
        let image = find::image(repo, name)?;
        let mut layers = HashMap::new();
        if image.is_container() {
            let streams = image.config().layers()?;
            for (descriptor, (diff_id, stream)) in image.manifest().layers().iter().zip(streams) {
                let blob = descriptor_digest(descriptor)
                    .map_err(|source| Error::model(image.manifest().digest(), source.into()))?;
                layers.insert(blob.digest().clone(), (diff_id.digest().clone(), stream));
            }
        }
        Ok(Self { repo: repo.clone(), name: name.clone(), image, layers })
    }

    fn open_blob<'a>(
        &'a self,
        descriptor: &Descriptor,
        taker: Option<&'a dyn FileTaker>,
    ) -> Result<Box<dyn Read + Send + 'a>, Error> {
        let digest = digest_of(descriptor)?;
        if digest == *self.image.config().digest().digest() {
            return Ok(Box::new(io::Cursor::new(self.image.config().bytes())));
        }
        if let Some((_, stream)) = self.layers.values().find(|(diff_id, _)| *diff_id == digest) {
            return Ok(Box::new(LayerReader::open(&self.repo, stream)?.offered_to(taker)));
        }
        if let Some(stream) = self.repo.stream_entry(&ident::blob(&BlobDigest::new(digest.clone()))?)? {
            return Ok(Box::new(LayerReader::open(&self.repo, &stream)?));
        }
        artifact::blob(&self.repo, digest, &self.describe())
    }
}

impl Source for KeptSource {
    fn describe(&self) -> String {
        format!("{} of the repository {}", self.name, self.repo.path().display())
    }

    fn root(&self) -> Result<Root, Error> {
        let manifest = self.image.manifest();
        let media_type = media_type::of_document(None, manifest.bytes())
            .map_err(|source| Error::model(manifest.digest(), source))?;
        Ok(Root { bytes: manifest.bytes().to_vec(), digest: manifest.digest().digest().clone(), media_type })
    }

    fn document(&self, descriptor: &Descriptor, max: u64) -> Result<Document, Error> {
        if media_type::is_manifest(descriptor.media_type().as_ref()) {
            return artifact::document(&self.repo, digest_of(descriptor)?);
        }
        read_document(descriptor, max, |descriptor| self.blob(descriptor))
    }

    /// Returns the manifest there is, whatever the platform: the name means that one.
    fn manifest(&self, _platform: &Platform) -> Result<Chosen, Error> {
        let Root { bytes, digest, .. } = self.root()?;
        Ok(Chosen { bytes, digest, warning: None })
    }

    fn artifacts_of(&self, subject: &Digest, kind: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        artifact::list(&self.repo, subject, kind)
    }

    fn kept_as(&self, layer: &Descriptor) -> Result<Option<Descriptor>, Error> {
        let Some((diff_id, id)) = self.layers.get(&digest_of(layer)?) else { return Ok(None) };
        let size = layer::size(&self.repo, id)?;
        let digest: oci_spec::image::Digest = diff_id
            .as_str()
            .parse()
            .map_err(|_| Error::Damaged { subject: diff_id.to_string(), reason: "no digest".to_owned() })?;
        Ok(Some(Descriptor::new(MediaType::ImageLayer, size, digest)))
    }

    fn has_files(&self) -> bool {
        true
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        self.open_blob(descriptor, None)
    }

    fn blob_of_files<'a>(
        &'a self,
        descriptor: &Descriptor,
        taker: &'a dyn FileTaker,
    ) -> Result<Box<dyn Read + Send + 'a>, Error> {
        self.open_blob(descriptor, Some(taker))
    }
}
