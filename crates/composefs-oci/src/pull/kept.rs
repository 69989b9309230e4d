//! Layers kept as they are shipped beside what they hold, so that a push gives the manifest that was pulled.
//!
//! # Format
//! `docs/formats/oci.md`, sections 1 and 7: streams of blobs, named in the manifest's stream by their digests.

use std::collections::BTreeMap;

use composefs::{
    digest::ObjectId,
    name::StreamName,
    progress::{Event, Observer},
    repo::Repository,
    splitstream::ContentType,
};

use crate::{
    digest::BlobDigest,
    error::Error,
    ident,
    model::{Manifest, descriptor_digest},
    stored::StoredImage,
    transport::Source,
};

use super::{
    plan::{LayerKind, LayerState, PlannedLayer, PullPlan},
    present,
};

/// Plans to keep the blobs of an image's layers. A layer that was never packed needs no keeping.
pub(super) fn plan(
    repo: Option<&Repository>,
    source: &dyn Source,
    manifest: &Manifest,
    layers: &[PlannedLayer],
    observer: &dyn Observer,
) -> Result<Vec<PlannedLayer>, Error> {
    let mut planned: Vec<PlannedLayer> = Vec::new();
    if !manifest.is_container() {
        return Ok(planned);
    }
    for (descriptor, layer) in manifest.layers().iter().zip(layers) {
        let digest = digest_of(manifest, descriptor)?;
        if *digest.digest() == layer.key || planned.iter().any(|there| there.key == *digest.digest()) {
            continue;
        }
        let other = source.kept_as(descriptor)?.filter(|other| other.digest() != descriptor.digest());
        if other.is_some() {
            let text =
                format!("{} has layer {digest} only unpacked, so no blob of it is kept", source.describe());
            observer.event(&Event::Warning { text: &text });
            continue;
        }
        planned.push(PlannedLayer::new(repo, source, descriptor, LayerKind::Packed, digest.digest(), false)?);
    }
    Ok(planned)
}

fn digest_of(manifest: &Manifest, descriptor: &oci_spec::image::Descriptor) -> Result<BlobDigest, Error> {
    descriptor_digest(descriptor).map_err(|source| Error::model(manifest.digest(), source.into()))
}

/// Tells whether the manifest's stream names all of these blobs, and they are here.
pub(super) fn are_named(
    repo: &Repository,
    image: &StoredImage,
    blobs: &[PlannedLayer],
) -> Result<bool, Error> {
    if blobs.is_empty() {
        return Ok(true);
    }
    let stream = repo.open_stream(image.manifest_stream())?;
    let is_named = |blob: &PlannedLayer| match blob.state {
        LayerState::Here(id) => stream.named_ref(blob.key.as_str()) == Some(id),
        _ => false,
    };
    Ok(blobs.iter().all(is_named))
}

/// Returns the names of blobs for the manifest's stream: those that have come, and those that it has named before.
pub(super) fn refs(
    repo: &Repository,
    plan: &PullPlan,
    came: &BTreeMap<StreamName, ObjectId>,
) -> Result<Vec<(String, ObjectId)>, Error> {
    let manifest = &plan.manifest;
    if !manifest.is_container() {
        return Ok(Vec::new());
    }
    // One that cannot be read names nothing.
    let before = match repo.stream_entry(&ident::manifest(manifest.digest())?)? {
        Some(id) => repo.open_stream(&id).ok(),
        None => None,
    };
    let mut refs: Vec<(String, ObjectId)> = Vec::new();
    for descriptor in manifest.layers() {
        let digest = digest_of(manifest, descriptor)?;
        let is_there = |key: &str| key == digest.as_str();
        if plan.layers.iter().any(|layer| is_there(layer.key.as_str()))
            || refs.iter().any(|(key, _)| is_there(key))
        {
            continue;
        }
        let wanted = plan.blobs.iter().any(|blob| blob.key == *digest.digest());
        let id = match came.get(&ident::blob(&digest)?).filter(|_| wanted) {
            Some(id) => Some(*id),
            None => before.as_ref().and_then(|stream| stream.named_ref(digest.as_str())),
        };
        if let Some(id) = id
            && repo.open_stream(&id).is_ok_and(|stream| stream.content_type() == ContentType::OCI_BLOB)
            && present::is_whole(repo, &id)?
        {
            refs.push((digest.to_string(), id));
        }
    }
    Ok(refs)
}
