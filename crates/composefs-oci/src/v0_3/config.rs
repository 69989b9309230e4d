//! Configs: opened, written, sealed.

use std::{fs::File, io::Read as _, sync::Arc};

use composefs::{
    digest::ObjectId,
    erofs::FormatVersion,
    fsverity::FsVerityHashValue,
    progress::Silent,
    repository::Repository,
    splitstream::{ContentType, DigestMap, SplitStreamReader},
    util::{Sha256Digest, parse_sha256},
};
use oci_spec::image::ImageConfiguration;
use serde_json::Value;

use super::{commit, frozen};
use crate::{
    digest::{ConfigDigest, DiffId, Digest},
    error::Error,
    ident,
    import::streams::DocumentStream,
    model::{CONFIG_MAX, ModelError},
    rootfs::Rules,
    stored::StoredConfig,
};

type ConfigReader<ObjectID> = SplitStreamReader<File, ObjectID>;

/// Reads a name as the SHA-256 it must be where no id is given.
fn name_digest(name: &str) -> Result<Sha256Digest, Error> {
    parse_sha256(name).map_err(|source| composefs::Error::caller(source).into())
}

fn read_json<ObjectID: FsVerityHashValue>(
    name: &str,
    reader: &mut ConfigReader<ObjectID>,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let read = reader.take(CONFIG_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::source(crate::Step::ReadSource, format!("config {name}"), source))?;
    if bytes.len() as u64 > CONFIG_MAX {
        return Err(Error::Damaged {
            subject: format!("config {name}"),
            reason: format!("more than {CONFIG_MAX} bytes"),
        });
    }
    Ok(bytes)
}

fn parse(name: &str, bytes: &[u8]) -> Result<ImageConfiguration, Error> {
    let wrap = |source| Error::model(name, ModelError::Json { what: "image config", source });
    serde_json::from_slice(bytes).map_err(wrap)
}

/// A config's JSON and what it refers to, checked: by its id, or in full by its SHA-256.
fn open_checked<ObjectID: FsVerityHashValue>(
    repo: &Repository<ObjectID>,
    name: &str,
    verity: Option<&ObjectID>,
) -> Result<(Vec<u8>, DigestMap<ObjectID>), Error> {
    let id = match verity {
        Some(id) => id.clone(),
        None => repo.check_stream(&name_digest(name)?)?.ok_or_else(|| Error::NotFound(name.to_owned()))?,
    };
    let mut reader = repo.open_stream(name, Some(&id))?;
    let bytes = read_json(name, &mut reader)?;
    Ok((bytes, reader.refs))
}

/// Opens a config with the ids of its layers. Without the id of its stream, the name must be its SHA-256 in hex, and
/// it is checked in full with all its layers.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Repository`] for what is damaged; [`Error::Model`].
pub fn open_config<ObjectID: FsVerityHashValue>(
    repo: &Repository<ObjectID>,
    name: &str,
    verity: Option<&ObjectID>,
) -> Result<(ImageConfiguration, DigestMap<ObjectID>), Error> {
    let (bytes, refs) = open_checked(repo, name, verity)?;
    Ok((parse(name, &bytes)?, refs))
}

/// Opens a config alone. Without the id of its stream, the name must be its SHA-256 in hex, and its JSON must have it.
///
/// # Errors
/// [`Error::Damaged`]; [`Error::Repository`]; [`Error::Model`].
pub fn open_config_shallow<ObjectID: FsVerityHashValue>(
    repo: &Repository<ObjectID>,
    name: &str,
    verity: Option<&ObjectID>,
) -> Result<ImageConfiguration, Error> {
    let expected = if verity.is_none() { Some(Digest::from_sha256(&name_digest(name)?)) } else { None };
    let bytes = read_json(name, &mut repo.open_stream(name, verity)?)?;
    if let Some(expected) = expected {
        let actual = Digest::sha256(&bytes);
        if actual != expected {
            let reason = format!("data integrity issue: contents hash to {actual}");
            return Err(Error::Damaged { subject: format!("config {name}"), reason });
        }
    }
    parse(name, &bytes)
}

/// The layers of a config in order, with the ids of their streams.
pub(super) fn diff_ids<ObjectID: FsVerityHashValue>(
    config: &ImageConfiguration,
    refs: &DigestMap<ObjectID>,
) -> Result<Vec<(DiffId, ObjectId)>, Error> {
    let layer = |text: &String| {
        let diff_id: DiffId =
            text.parse().map_err(|source: crate::digest::DigestError| Error::model(text, source.into()))?;
        let id = text
            .strip_prefix("sha256:")
            .and_then(|hex| parse_sha256(hex).ok())
            .and_then(|body| refs.lookup(&body));
        let id = id.ok_or_else(|| Error::Damaged {
            subject: "config".to_owned(),
            reason: format!("it names no stream of the layer {diff_id}"),
        })?;
        Ok((diff_id, id.to_native()))
    };
    config.rootfs().diff_ids().iter().map(layer).collect()
}

/// What a config's stream names: its layers in order, then what else is in the map.
fn named_refs<ObjectID: FsVerityHashValue>(
    config: &ImageConfiguration,
    refs: &DigestMap<ObjectID>,
) -> Result<Vec<(String, ObjectId)>, Error> {
    let mut named: Vec<(String, ObjectId)> =
        diff_ids(config, refs)?.into_iter().map(|(diff_id, id)| (diff_id.to_string(), id)).collect();
    for entry in &refs.map {
        let key = Digest::from_sha256(&entry.body).to_string();
        if named.iter().all(|(have, _)| *have != key) {
            named.push((key, entry.verity.to_native()));
        }
    }
    Ok(named)
}

/// Stores a config's JSON and stream; nothing names them yet.
fn store<ObjectID: FsVerityHashValue>(
    repo: &Repository<ObjectID>,
    bytes: &[u8],
    named_refs: &[(String, ObjectId)],
) -> Result<(ConfigDigest, ObjectId), Error> {
    let writer = repo.writer()?;
    let digest = ConfigDigest::new(Digest::sha256(bytes));
    let object = writer.store_bytes(bytes)?.id;
    let size = bytes.len() as u64;
    let stream = DocumentStream { content_type: ContentType::OCI_CONFIG, object, size, named_refs };
    let stream = stream.store(&writer, format_args!("oci-config-{digest}"))?;
    Ok((digest, stream))
}

fn sha256_of(digest: &ConfigDigest) -> Result<Sha256Digest, Error> {
    name_digest(digest.digest().encoded())
}

/// Stores and names a config that refers to `refs`. The JSON is a function of the config: labels are sorted. A config
/// that is here with these layers stays as it is, with the images it names.
///
/// # Errors
/// [`Error::Damaged`] if a layer is not in `refs`; what storing gives.
#[allow(clippy::needless_pass_by_value)]
pub fn write_config<ObjectID: FsVerityHashValue>(
    repo: &Arc<Repository<ObjectID>>,
    config: &ImageConfiguration,
    refs: DigestMap<ObjectID>,
) -> Result<(Sha256Digest, ObjectID), Error> {
    let json = |source| Error::model("config", ModelError::Json { what: "image config", source });
    let mut value = serde_json::to_value(config).map_err(json)?;
    if let Some(labels) = value.pointer_mut("/config/Labels").and_then(Value::as_object_mut) {
        labels.sort_keys();
    }
    let bytes = serde_json::to_vec(&value).map_err(json)?;
    let named_refs = named_refs(config, &refs)?;
    let reader = repo.reader();
    let digest = ConfigDigest::new(Digest::sha256(&bytes));
    let there = match StoredConfig::open(&reader, &digest) {
        Ok(there) => {
            named_refs.iter().all(|(name, id)| there.named(name) == Some(id)).then_some(*there.stream())
        }
        // Whatever is wrong with it, a good one takes its place.
        Err(_) => None,
    };
    let stream = match there {
        Some(stream) => stream,
        None => {
            let (_, stream) = store(repo, &bytes, &named_refs)?;
            commit(&repo.writer()?, &ident::config(&digest)?, Some(stream), None)?;
            stream
        }
    };
    Ok((sha256_of(&digest)?, frozen(&stream)?))
}

/// Seals a config: a new one gets the id of the image as its label, and the image is stored and named.
///
/// Old repositories, and those whose format is still 0.3's, get the image that 0.3 would mean; others today's.
///
/// # Errors
/// [`Error::NoConfigSection`]; as [`open_config`]; what merging and storing give.
pub fn seal<ObjectID: FsVerityHashValue>(
    repo: &Arc<Repository<ObjectID>>,
    config_name: &str,
    config_verity: Option<&ObjectID>,
) -> Result<(Sha256Digest, ObjectID), Error> {
    let (bytes, refs) = open_checked(repo, config_name, config_verity)?;
    let rules = match repo.reader().erofs_formats().default {
        FormatVersion::V2 => Rules::V03,
        _ => Rules::Current,
    };
    // The native seal starts from a stream of today's format.
    let (digest, stream) = store(repo, &bytes, &named_refs(&parse(config_name, &bytes)?, &refs)?)?;
    let config = StoredConfig::open_stream(&repo.reader(), &digest, &stream)?;
    let sealed = crate::seal::seal(&repo.writer()?, &config, rules, &Silent)?;
    Ok((sha256_of(&sealed.config)?, frozen(&sealed.stream)?))
}
