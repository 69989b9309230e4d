//! An image that is here already costs a look, not a pull.

use composefs::{
    digest::ObjectId,
    erofs::FormatVersion,
    progress::{Event, Observer},
    repo::{IngestStats, Repository, Writer},
    splitstream::ContentType,
};

use crate::{digest::Digest, error::Error, ident, model::Manifest, stored::StoredConfig};

use super::{ImageBuild, PullOptions, Pulled, layer_name, stored};

/// Finds an image with everything that a pull would make: documents, layers, their objects, images.
pub(super) fn find(
    writer: &Writer,
    manifest: &Manifest,
    options: &PullOptions,
    observer: &dyn Observer,
) -> Result<Option<Pulled>, Error> {
    let Some(image) = stored(writer, manifest.digest()) else { return Ok(None) };
    let config = image.config();
    if writer.stream_entry(&ident::config(config.digest())?)?.as_ref() != Some(config.stream()) {
        return Ok(None);
    }
    let keys: Vec<Digest> = match image.is_container() {
        true => match config.parse() {
            Ok(config) => config.diff_ids().iter().map(|id| id.digest().clone()).collect(),
            Err(_) => return Ok(None),
        },
        false => {
            manifest.layers().iter().filter_map(|layer| Digest::new(layer.digest().as_ref()).ok()).collect()
        }
    };
    if keys.len() != manifest.layers().len() {
        return Ok(None);
    }
    for key in &keys {
        let Some(stream) = config.named(key.as_str()) else { return Ok(None) };
        if !is_whole(writer, key, stream, image.is_container())? {
            return Ok(None);
        }
    }
    let Some(images) =
        images(writer, config, options, image.is_container() && options.image == ImageBuild::Build)?
    else {
        return Ok(None);
    };
    for key in &keys {
        observer.event(&Event::Skipped { what: "layer", name: key.as_str() });
    }
    Ok(Some(Pulled {
        manifest: manifest.digest().clone(),
        config: config.digest().clone(),
        verity: *image.manifest_stream(),
        config_stream: *config.stream(),
        images,
        objects: IngestStats::default(),
        inlined_bytes: 0,
    }))
}

/// Tells whether a layer's entry leads to `stream`, and that to objects that are all there. A layer of a file
/// system must have been stored as one: an artifact may have the same bytes as a blob.
pub(super) fn is_whole(
    repo: &Repository,
    key: &Digest,
    stream: &ObjectId,
    of_image: bool,
) -> Result<bool, Error> {
    if repo.stream_entry(&layer_name(key)?)?.as_ref() != Some(stream) {
        return Ok(false);
    }
    let Ok(stream) = repo.open_stream(stream) else { return Ok(false) };
    if of_image && !matches!(stream.content_type(), ContentType::OCI_LAYER | ContentType::NONE) {
        return Ok(false);
    }
    for object in stream.object_refs().iter() {
        if !repo.has_object(&object)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The images of every format of the repository; `None` if one is missing that is wanted.
fn images(
    writer: &Writer,
    config: &StoredConfig,
    options: &PullOptions,
    wanted: bool,
) -> Result<Option<Vec<(FormatVersion, ObjectId)>>, Error> {
    let mut images = Vec::new();
    for version in options.formats_for(writer) {
        match config.image(version) {
            Some(id) if writer.image_entry(id)?.is_some() && writer.has_object(id)? => {
                images.push((version, *id));
            }
            _ if wanted => return Ok(None),
            _ => {}
        }
    }
    Ok(Some(images))
}
