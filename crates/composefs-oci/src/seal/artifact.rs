//! The seal as an artifact beside the image, which stays as it is.
//!
//! # Format
//! `docs/formats/sealing.md`, section 4. The bytes depend on the digests and signatures alone.

use serde_json::{Map, Value, json};

use super::{
    annotation::Annotation,
    claim::{ARTIFACT_TYPE, Claim, EMPTY_TYPE, SIGNATURE_TYPE},
};
use crate::{
    digest::{Digest, ManifestDigest},
    error::Error,
    model::{Manifest, edit, media_type},
    transport::memory::InMemory,
};

/// The contents of what is empty.
const EMPTY: &[u8] = b"{}";

/// An artifact that is not stored yet.
#[derive(Clone, Debug)]
pub struct Artifact {
    manifest: Vec<u8>,
    blobs: Vec<Vec<u8>>,
}

impl Artifact {
    /// Makes the artifact of an image, of digests in the order of [`digests`](super::digests::digests).
    ///
    /// # Errors
    /// [`Error::Model`] for an image whose manifest has no clear type.
    pub fn new(subject: &Manifest, claims: &[Claim]) -> Result<Self, Error> {
        let subject_type = media_type::of_document(None, subject.bytes())
            .map_err(|source| Error::model(subject.digest(), source))?;
        let mut blobs = vec![EMPTY.to_vec()];
        let mut layers = Vec::new();
        for claim in claims {
            let (kind, blob) = match &claim.signature {
                Some(signature) => (SIGNATURE_TYPE, signature.as_slice()),
                None => (EMPTY_TYPE, EMPTY),
            };
            let mut entry = descriptor(kind, blob);
            let (key, value) = Annotation::Digest(claim.key, claim.digest).text();
            entry.insert("annotations".to_owned(), json!({ key: value }));
            layers.push(Value::Object(entry));
            blobs.push(blob.to_vec());
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_MANIFEST,
            "artifactType": ARTIFACT_TYPE,
            "config": descriptor(EMPTY_TYPE, EMPTY),
            "layers": layers,
            "subject": edit::entry(&subject_type, subject.digest().digest(), subject.bytes().len()),
        });
        Ok(Self { manifest: manifest.to_string().into_bytes(), blobs })
    }

    /// Returns the bytes of its manifest.
    #[must_use]
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// Returns the digest of its manifest.
    #[must_use]
    pub fn digest(&self) -> ManifestDigest {
        ManifestDigest::new(Digest::sha256(&self.manifest))
    }

    /// Returns it as a medium to store it from.
    pub(crate) fn source(&self) -> InMemory {
        let source = InMemory::new(format!("artifact {}", self.digest()), self.manifest.clone());
        self.blobs.iter().fold(source, |source, blob| source.blob(blob.clone()))
    }
}

fn descriptor(kind: &str, blob: &[u8]) -> Map<String, Value> {
    edit::entry(kind, &Digest::sha256(blob), blob.len())
}
