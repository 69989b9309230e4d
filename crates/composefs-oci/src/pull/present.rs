//! What is here already costs a look, not a pull.

use composefs::{
    digest::ObjectId,
    erofs::FormatVersion,
    name::StreamName,
    repo::{IngestStats, Repository},
    splitstream::ContentType,
};

use crate::{
    error::Error,
    ident,
    stored::{StoredConfig, StoredImage},
};

use super::{
    ImageBuild, PullOptions, Pulled,
    plan::{LayerKind, LayerState, PlannedLayer},
};

/// Tells whether an image is here with everything that a pull would make: documents, layers, their objects, images.
/// The layers are those of the image, looked at before.
pub(super) fn whole(
    repo: &Repository,
    image: &StoredImage,
    layers: &[PlannedLayer],
    options: &PullOptions,
) -> Result<Option<Pulled>, Error> {
    let config = image.config();
    if repo.stream_entry(&ident::config(config.digest())?)?.as_ref() != Some(config.stream()) {
        return Ok(None);
    }
    let is_here = |layer: &PlannedLayer| match layer.state {
        LayerState::Here(stream) => config.named(layer.key.as_str()) == Some(&stream),
        _ => false,
    };
    if !layers.iter().all(is_here) {
        return Ok(None);
    }
    let wanted = image.is_container() && options.image == ImageBuild::Build;
    let Some(images) = images(repo, config, options, wanted)? else { return Ok(None) };
    Ok(Some(Pulled {
        manifest: image.manifest().digest().clone(),
        config: config.digest().clone(),
        verity: *image.manifest_stream(),
        manifest_stream: *image.manifest_stream(),
        config_stream: *config.stream(),
        images,
        index: None,
        objects: IngestStats::default(),
        inlined_bytes: 0,
        artifacts: Vec::new(),
    }))
}

/// Returns the stream that an entry leads to if that is whole: of the kind wanted, with all its objects. A layer of
/// a file system must have been stored as one: an artifact may have the same bytes as a blob.
///
/// With `looked` its objects are known to be there; see [`named_are_whole`].
pub(super) fn stream(
    repo: &Repository,
    name: &StreamName,
    kind: LayerKind,
    looked: bool,
) -> Result<Option<ObjectId>, Error> {
    let Some(id) = repo.stream_entry(name)? else { return Ok(None) };
    let Ok(stream) = repo.open_stream(&id) else { return Ok(None) };
    let fits = match kind {
        LayerKind::Tar => matches!(stream.content_type(), ContentType::OCI_LAYER | ContentType::NONE),
        LayerKind::OpaqueTar | LayerKind::Blob => true,
        LayerKind::Packed => stream.content_type() == ContentType::OCI_BLOB,
    };
    Ok(if fits && (looked || repo.has_objects(stream.object_refs().iter())?) { Some(id) } else { None })
}

/// Tells whether a stream is here with all its objects.
pub(crate) fn is_whole(repo: &Repository, id: &ObjectId) -> Result<bool, Error> {
    are_whole(repo, std::slice::from_ref(id))
}

/// Tells whether an image is here, with its entry and all objects that it names.
pub(super) fn image_is_whole(repo: &Repository, id: &ObjectId) -> Result<bool, Error> {
    match repo.image_objects(id) {
        Ok(objects) => Ok(repo.image_entry(id)?.is_some() && repo.has_objects(objects)?),
        Err(_) => Ok(false),
    }
}

/// Tells whether all these streams are here with all their objects; those without an entry don't count. Most often they
/// are, and to look for all of their objects together takes less time than for those of one after the other.
pub(super) fn named_are_whole(
    repo: &Repository,
    names: impl IntoIterator<Item = StreamName>,
) -> Result<bool, Error> {
    let mut ids = Vec::new();
    for name in names {
        ids.extend(repo.stream_entry(&name)?);
    }
    are_whole(repo, &ids)
}

/// Tells whether all these streams are here with all their objects.
pub(super) fn are_whole(repo: &Repository, ids: &[ObjectId]) -> Result<bool, Error> {
    let mut objects = Vec::new();
    for id in ids {
        match repo.open_stream(id) {
            Ok(stream) => objects.extend(stream.object_refs().iter()),
            Err(_) => return Ok(false),
        }
    }
    Ok(repo.has_objects(objects)?)
}

/// The images of every format of the repository; `None` if one is missing that is wanted, or that the config names.
fn images(
    repo: &Repository,
    config: &StoredConfig,
    options: &PullOptions,
    wanted: bool,
) -> Result<Option<Vec<(FormatVersion, ObjectId)>>, Error> {
    for (_, id) in config.refs().iter().filter(|(key, _)| ident::is_image_key(key)) {
        if repo.image_entry(id)?.is_none() || !repo.has_object(id)? {
            return Ok(None);
        }
    }
    let mut images = Vec::new();
    for version in options.formats_for(repo) {
        match config.image(version) {
            Some(id) => images.push((version, *id)),
            None if wanted => return Ok(None),
            None => {}
        }
    }
    Ok(Some(images))
}
