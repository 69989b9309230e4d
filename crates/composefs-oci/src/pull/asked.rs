//! A medium that is asked without the repository's lock, if it may take long.

use std::io::Read;

use composefs::repo::Session;
use oci_spec::image::Descriptor;

use crate::{
    digest::Digest,
    error::Error,
    model::platform::Platform,
    transport::{Chosen, Document, FileTaker, Root, Source},
};

/// A source whose documents are read without the session's lock. Blobs are opened as they are: who reads them gives
/// the lock up for as long as that takes.
pub(crate) struct Asked<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) session: Option<&'a Session>,
}

impl Asked<'_> {
    fn ask<T>(&self, question: impl FnOnce(&dyn Source) -> Result<T, Error>) -> Result<T, Error> {
        match self.session.filter(|_| self.source.waits()) {
            Some(session) => session.without_lock(|| question(self.source))?,
            None => question(self.source),
        }
    }
}

impl Source for Asked<'_> {
    fn describe(&self) -> String {
        self.source.describe()
    }

    fn root(&self) -> Result<Root, Error> {
        self.ask(|source| source.root())
    }

    fn document(&self, descriptor: &Descriptor, max: u64) -> Result<Document, Error> {
        self.ask(|source| source.document(descriptor, max))
    }

    fn artifacts_of(&self, subject: &Digest, kind: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        self.ask(|source| source.artifacts_of(subject, kind))
    }

    fn tagged(&self, tag: &str) -> Result<Option<Root>, Error> {
        self.ask(|source| source.tagged(tag))
    }

    fn gives_afresh(&self) -> bool {
        self.source.gives_afresh()
    }

    fn has_files(&self) -> bool {
        self.source.has_files()
    }

    fn waits(&self) -> bool {
        self.source.waits()
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        self.ask(|source| source.manifest(platform))
    }

    /// Every medium knows this once it has given the manifest.
    fn kept_as(&self, layer: &Descriptor) -> Result<Option<Descriptor>, Error> {
        self.source.kept_as(layer)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        self.source.blob(descriptor)
    }

    fn blob_of_files<'a>(
        &'a self,
        descriptor: &Descriptor,
        taker: &'a dyn FileTaker,
    ) -> Result<Box<dyn Read + Send + 'a>, Error> {
        self.source.blob_of_files(descriptor, taker)
    }
}
