//! The streams of configs, manifests and artifacts' blobs: one external chunk, and names of other streams.
//!
//! # Format
//! `docs/formats/oci.md`, section 1.

use std::fmt;

use composefs::{
    digest::{Algorithm, ObjectId},
    repo::Writer,
    splitstream::{Builder, ContentType},
};

use crate::error::Error;

/// What a stream of one object holds beside the object.
#[derive(Clone, Debug)]
pub struct DocumentStream<'a> {
    /// `ociconfg`, `ocimanif` or `oci_blob`.
    pub content_type: ContentType,
    /// The object with the bytes.
    pub object: ObjectId,
    /// Their number.
    pub size: u64,
    /// Names of other streams and images, in the order that decides the stream's bytes.
    pub named_refs: &'a [(String, ObjectId)],
}

impl DocumentStream<'_> {
    /// Builds the bytes of the splitstream.
    ///
    /// # Errors
    /// What the builder refuses.
    pub fn build(&self, algorithm: Algorithm) -> Result<Vec<u8>, composefs::splitstream::SplitstreamError> {
        let mut builder = Builder::new(algorithm, self.content_type)?;
        for (name, id) in self.named_refs {
            builder.named_ref(name, id)?;
        }
        builder.external(&self.object, self.size)?;
        builder.finish()?.into_bytes()
    }

    /// Stores the splitstream, whose object is stored already; nothing names it yet. `subject` is for the error's text.
    pub(crate) fn store(&self, writer: &Writer, subject: impl fmt::Display) -> Result<ObjectId, Error> {
        let bytes = self.build(writer.algorithm()).map_err(|source| Error::stream(subject, source))?;
        Ok(writer.store_bytes(&bytes)?.id)
    }
}
