//! The functions of 0.3 over the native ones, for programs written against it; wrappers only.
//!
//! Streams are written in today's format and under today's names; those of 0.3 are read as they are.
//!
//! # Format
//! `docs/formats/oci.md`, section 8.

pub mod tar;
pub mod image;
mod config;
#[cfg(any(feature = "proxy", feature = "registry"))]
mod pull;
#[cfg(any(feature = "proxy", feature = "registry"))]
mod bars;

pub use config::{open_config, open_config_shallow, seal, write_config};
#[cfg(any(feature = "proxy", feature = "registry"))]
pub use pull::pull;

use std::{
    io::{Read, Write as _},
    sync::Arc,
};

use composefs::{
    digest::ObjectId,
    fsverity::FsVerityHashValue,
    name::{RefName, StreamName},
    repo::{PoolOptions, StorePool, Writer},
    repository::Repository,
    util::Sha256Digest,
};
use composefs_tar::Mode;

use crate::{
    digest::{DiffId, Digest},
    error::{Error, Step},
    ident,
    import::{LayerDigest, LayerImporter},
};

/// A native id as one of 0.3.
fn frozen<ObjectID: FsVerityHashValue>(id: &ObjectId) -> Result<ObjectID, Error> {
    Ok(ObjectID::from_native(id).map_err(composefs::Error::caller)?)
}

/// Commits a stream, if it has a new id, with a ref to it.
fn commit(
    writer: &Writer,
    entry: &StreamName,
    id: Option<ObjectId>,
    reference: Option<RefName>,
) -> Result<(), Error> {
    let mut commit = writer.begin();
    if let Some(id) = id {
        commit.stream(entry.clone(), id);
    }
    if let Some(reference) = reference {
        commit.stream_ref(reference, entry);
    }
    Ok(commit.finish()?)
}

/// Imports an uncompressed tar as the layer of that SHA-256, unless it is here, and gives it a ref, if one is given.
/// Returns the id of the layer's stream.
///
/// # Errors
/// [`Error::LayerMismatch`] if the tar has another digest; [`Error::LayerTar`]; what storing gives.
pub fn import_layer<ObjectID: FsVerityHashValue>(
    repo: &Arc<Repository<ObjectID>>,
    sha256: &Sha256Digest,
    name: Option<&str>,
    tar_stream: &mut impl Read,
) -> Result<ObjectID, Error> {
    if let Some(id) = repo.has_stream(sha256)? {
        if let Some(name) = name {
            repo.name_stream(*sha256, name)?;
        }
        return Ok(id);
    }
    let reference = name.map(RefName::new).transpose()?;
    let writer = repo.writer()?;
    let pool = StorePool::new(&writer, PoolOptions::default())?;
    let diff_id = DiffId::new(Digest::from_sha256(sha256));
    let expected = LayerDigest::DiffId(diff_id.clone());
    let layer = LayerImporter::new(&writer, &pool, Mode::Lenient).import_tar(tar_stream, &expected)?;
    commit(&writer, &ident::layer(&diff_id)?, Some(layer.stream), reference)?;
    frozen(&layer.stream)
}

/// Prints each entry of a layer to standard output, a line each.
///
/// # Errors
/// What reading gives; [`Error::Source`] if standard output takes no more.
pub fn ls_layer<ObjectID: FsVerityHashValue>(repo: &Repository<ObjectID>, name: &str) -> Result<(), Error> {
    let mut reader = repo.open_stream(name, None)?;
    let mut out = std::io::stdout().lock();
    while let Some(entry) = tar::get_entry(&mut reader)? {
        writeln!(out, "{entry}").map_err(|source| Error::source(Step::Write, "standard output", source))?;
    }
    Ok(())
}

/// Mounts a sealed config's image onto a directory.
///
/// # Errors
/// [`Error::NotSealed`]; what opening and mounting give.
pub fn mount<ObjectID: FsVerityHashValue>(
    repo: &Repository<ObjectID>,
    name: &str,
    mountpoint: &str,
    verity: Option<&ObjectID>,
) -> Result<(), Error> {
    let config = open_config_shallow(repo, name, verity)?;
    let labels = config.config().as_ref().and_then(|section| section.labels().as_ref());
    let label = labels.and_then(|labels| labels.get(crate::seal::LABEL)).ok_or(Error::NotSealed)?;
    Ok(repo.mount(label, mountpoint)?)
}
