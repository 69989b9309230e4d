//! What refers to another manifest, where a registry does not keep the list itself: a tag that stands for the other's
//! digest has an index of all that refer to it.
//!
//! # Format
//! OCI distribution-spec, pushing manifests with subject; `docs/formats/transports.md`, section 7.

use oci_spec::image::ImageManifest;
use serde_json::Value;

use crate::{
    digest::Digest,
    error::Error,
    model::{
        ModelError,
        edit::{IndexEdit, entry, json_error},
        media_type,
    },
    transport::{Root, artifacts::tag_of},
};

use super::super::pull;
use super::RegistrySink;

/// Returns what a manifest refers to.
pub(super) fn subject(document: &Root) -> Option<Digest> {
    if !media_type::is_manifest(&document.media_type) {
        return None;
    }
    let manifest: ImageManifest = serde_json::from_slice(&document.bytes).ok()?;
    Digest::new(manifest.subject().as_ref()?.digest().as_ref()).ok()
}

/// Adds a manifest to the index of what refers to `subject`.
pub(super) fn refer(sink: &RegistrySink, document: &Root, subject: &Digest) -> Result<(), Error> {
    let tag = tag_of(subject);
    let there = sink.background.block_on(pull::manifest(&sink.client, &tag, &sink.retries));
    let old = match there {
        Ok(root) if media_type::is_index(&root.media_type) => Some(root.bytes),
        Ok(_) => None,
        Err(Error::Registry(error)) if error.is_absent() => None,
        Err(error) => return Err(error),
    };
    let Some(bytes) = with_referrer(old.as_deref(), document).map_err(|source| Error::model(&tag, source))?
    else {
        return Ok(());
    };
    let index = Root { digest: Digest::sha256(&bytes), bytes, media_type: media_type::OCI_INDEX.to_owned() };
    sink.publish(&index, &tag).map(drop)
}

/// Returns the index with a manifest more; `None` if it has it.
fn with_referrer(old: Option<&[u8]>, document: &Root) -> Result<Option<Vec<u8>>, ModelError> {
    let mut index = IndexEdit::of(old)?.typed();
    let entries = index.entries()?;
    let digest = document.digest.as_str();
    if entries.iter().any(|entry| entry.get("digest").and_then(Value::as_str) == Some(digest)) {
        return Ok(None);
    }
    let mut entry = entry(&document.media_type, &document.digest, document.bytes.len());
    let manifest: Value = serde_json::from_slice(&document.bytes).map_err(json_error)?;
    // Whoever asks for one type of artifacts is answered from here.
    let config = manifest.get("config").and_then(|config| config.get("mediaType"));
    let kind = manifest.get("artifactType").or(config);
    for (name, value) in [("artifactType", kind), ("annotations", manifest.get("annotations"))] {
        if let Some(value) = value {
            entry.insert(name.to_owned(), value.clone());
        }
    }
    entries.push(Value::Object(entry));
    index.into_bytes("index of referrers").map(Some)
}
