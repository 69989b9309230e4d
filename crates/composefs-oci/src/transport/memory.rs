//! An image whose manifest was made here: in memory, with those of its blobs that are new.

use std::{collections::BTreeMap, io::Read};

use oci_spec::image::Descriptor;

use crate::{
    digest::Digest,
    error::Error,
    model::{media_type, platform::Platform},
};

use super::{Chosen, Root, Source, digest_of};

/// A manifest, and blobs by digest; what else it names must be in the repository already.
#[derive(Clone, Debug)]
pub(crate) struct InMemory {
    name: String,
    root: Root,
    blobs: BTreeMap<String, Vec<u8>>,
}

impl InMemory {
    /// Takes a manifest; `name` is for messages.
    pub(crate) fn new(name: impl Into<String>, manifest: Vec<u8>) -> Self {
        let digest = Digest::sha256(&manifest);
        let root = Root { bytes: manifest, digest, media_type: media_type::OCI_MANIFEST.to_owned() };
        Self { name: name.into(), root, blobs: BTreeMap::new() }
    }

    /// Adds a blob.
    pub(crate) fn blob(mut self, bytes: Vec<u8>) -> Self {
        self.blobs.insert(Digest::sha256(&bytes).to_string(), bytes);
        self
    }
}

impl Source for InMemory {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn root(&self) -> Result<Root, Error> {
        Ok(self.root.clone())
    }

    fn manifest(&self, _: &Platform) -> Result<Chosen, Error> {
        Ok(Chosen { bytes: self.root.bytes.clone(), digest: self.root.digest.clone(), warning: None })
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        match self.blobs.get(descriptor.digest().as_ref()) {
            Some(bytes) => Ok(Box::new(bytes.as_slice())),
            None => Err(Error::BlobMissing {
                digest: digest_of(descriptor)?,
                place: format!("it is no longer in the repository, and {} has only what is new", self.name),
            }),
        }
    }
}
