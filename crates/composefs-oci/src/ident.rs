//! What streams of an image are called, and the keys under which they name others.
//!
//! # Format
//! `docs/formats/oci.md`, section 1.

use composefs::{
    digest::ObjectId,
    erofs::FormatVersion,
    filetree::XattrMode,
    name::{NameError, RefName, StreamName, encode_component},
};

use crate::digest::{BlobDigest, ConfigDigest, DiffId, Digest, ManifestDigest};

/// The directory of tags below `streams/refs/`.
pub const TAGS: &str = "oci";
/// The directory of referrers below `streams/refs/`.
pub const REFERRERS: &str = composefs::repo::referrer::REFERRERS;
/// The directory of indexes that are kept with a tag, below `streams/refs/`.
pub const INDEXES: &str = "x-oci-index";

const INDEX: &str = "oci-index-";
const MANIFEST_KEY: &str = "manifest:";
const MANIFEST: &str = "oci-manifest-";
const CONFIG: &str = "oci-config-";
const LAYER: &str = "oci-layer-";
const BLOB: &str = "oci-blob-";

/// Names the stream of a manifest.
///
/// # Errors
/// [`NameError::TooLong`] for a digest longer than a file name.
pub fn manifest(digest: &ManifestDigest) -> Result<StreamName, NameError> {
    StreamName::new(format!("{MANIFEST}{digest}"))
}

/// Names the stream of a config.
///
/// # Errors
/// [`NameError::TooLong`] for a digest longer than a file name.
pub fn config(digest: &ConfigDigest) -> Result<StreamName, NameError> {
    StreamName::new(format!("{CONFIG}{digest}"))
}

/// Names the stream of a tar layer.
///
/// # Errors
/// [`NameError::TooLong`] for a digest longer than a file name.
pub fn layer(diff_id: &DiffId) -> Result<StreamName, NameError> {
    StreamName::new(format!("{LAYER}{diff_id}"))
}

/// Names the stream of a free blob.
///
/// # Errors
/// [`NameError::TooLong`] for a digest longer than a file name.
pub fn blob(digest: &BlobDigest) -> Result<StreamName, NameError> {
    StreamName::new(format!("{BLOB}{digest}"))
}

/// Names the stream of an index.
///
/// # Errors
/// [`NameError::TooLong`] for a digest longer than a file name.
pub fn index(digest: &Digest) -> Result<StreamName, NameError> {
    StreamName::new(format!("{INDEX}{digest}"))
}

/// Reads the digest out of the name of an index's stream.
#[must_use]
pub fn parse_index(name: &str) -> Option<Digest> {
    name.strip_prefix(INDEX)?.parse().ok()
}

/// Returns the key under which an index's stream names a manifest's.
#[must_use]
pub fn manifest_key(digest: &ManifestDigest) -> String {
    format!("{MANIFEST_KEY}{digest}")
}

/// Reads the manifest's digest out of such a key.
#[must_use]
pub fn parse_manifest_key(key: &str) -> Option<ManifestDigest> {
    key.strip_prefix(MANIFEST_KEY)?.parse().ok()
}

/// Reads the manifest digest out of a stream's name.
#[must_use]
pub fn parse_manifest(name: &str) -> Option<ManifestDigest> {
    name.strip_prefix(MANIFEST)?.parse().ok()
}

/// Names the ref of a tag.
///
/// # Errors
/// [`NameError`] for tags no file can be called, and for those that begin with `@`.
pub fn tag(tag: &str) -> Result<RefName, NameError> {
    under(TAGS, tag)
}

/// Names the ref of the index that is kept with a tag.
///
/// # Errors
/// As [`tag`].
pub fn index_of_tag(tag: &str) -> Result<RefName, NameError> {
    under(INDEXES, tag)
}

fn under(directory: &str, tag: &str) -> Result<RefName, NameError> {
    if tag.starts_with('@') {
        return Err(NameError::At(tag.to_owned()));
    }
    let encoded = encode_component(tag);
    // Checked as one component first, so that the error shows the tag and not its directory.
    StreamName::new(if encoded == "refs" { "x".to_owned() } else { encoded.clone() })?;
    RefName::new(format!("{directory}/{encoded}"))
}

/// Names the ref that keeps an artifact with its subject.
///
/// # Errors
/// [`NameError::TooLong`] for a digest longer than a file name.
pub fn referrer(subject: &ManifestDigest, artifact: &ManifestDigest) -> Result<RefName, NameError> {
    RefName::new(format!(
        "{REFERRERS}/{}/{}",
        encode_component(subject.as_str()),
        encode_component(artifact.as_str())
    ))
}

/// Returns the key under which a manifest stream names its config's stream.
#[must_use]
pub fn config_key(digest: &ConfigDigest) -> String {
    format!("config:{digest}")
}

/// The key under which a config stream names the root file system's image.
#[must_use]
pub const fn image_key(version: FormatVersion) -> &'static str {
    match version {
        FormatVersion::V0 | FormatVersion::V1 => "composefs.image.v1",
        FormatVersion::V2 => "composefs.image",
    }
}

/// The key under which a config stream names the boot variant with default filtering.
#[must_use]
pub const fn boot_image_key(version: FormatVersion) -> &'static str {
    match version {
        FormatVersion::V0 | FormatVersion::V1 => "composefs.image.boot.v1",
        FormatVersion::V2 => "composefs.image.boot",
    }
}

/// The key under which a config stream names the boot variant of an attribute mode.
#[must_use]
pub fn boot_image_key_of(version: FormatVersion, xattrs: XattrMode) -> String {
    let key = boot_image_key(version);
    match xattrs {
        XattrMode::AllowlistOnly => key.to_owned(),
        XattrMode::KeepUserXattrs => format!("{key}.xattrs=keep-user-xattrs"),
        XattrMode::KeepAll => format!("{key}.xattrs=keep-all"),
    }
}

/// A key that names an EROFS image, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageKey {
    /// Whether it is a boot variant.
    pub bootable: bool,
    /// Which extended attributes stay.
    pub xattrs: XattrMode,
    /// The formats that the image may have: V1 and V0 have one key.
    pub versions: &'static [FormatVersion],
}

/// Takes the key of an image apart; `None` for other keys, and for modes we don't know.
#[must_use]
pub fn parse_image_key(key: &str) -> Option<ImageKey> {
    let modes = [XattrMode::AllowlistOnly, XattrMode::KeepUserXattrs, XattrMode::KeepAll];
    for versions in [&[FormatVersion::V1, FormatVersion::V0][..], &[FormatVersion::V2]] {
        let version = versions.first().copied()?;
        if key == image_key(version) {
            return Some(ImageKey { bootable: false, xattrs: XattrMode::default(), versions });
        }
        if let Some(xattrs) = modes.into_iter().find(|&mode| key == boot_image_key_of(version, mode)) {
            return Some(ImageKey { bootable: true, xattrs, versions });
        }
    }
    None
}

/// Puts the names of a config stream into the order that decides its bytes: layers as the config has them, then
/// `composefs.image`, `.v1`, the boot images in byte order.
pub fn sort_config_refs(refs: &mut [(String, ObjectId)], layers: &[(DiffId, ObjectId)]) {
    refs.sort_by_cached_key(|(key, _)| {
        let layer = layers.iter().position(|(diff_id, _)| diff_id.as_str() == key).unwrap_or(usize::MAX);
        (layer, key.starts_with("composefs.image.boot"), key.clone())
    });
}

/// Tells whether a key names an EROFS image.
#[must_use]
pub fn is_image_key(key: &str) -> bool {
    key.starts_with("composefs.image")
}

/// Reads a key of a config stream as the diff_id (or blob digest) of a layer; `None` for our own keys.
#[must_use]
pub fn layer_key(key: &str) -> Option<Digest> {
    if is_image_key(key) || key.starts_with("config:") { None } else { key.parse().ok() }
}
