//! The 0.3 seal: the image id as a label in the config, which makes a new config.
//!
//! The new JSON is a function of the old one and the id: sealing twice gives the same bytes.
//!
//! # Format
//! `docs/formats/oci.md`, section 8, `seal`.

use composefs::{
    digest::ObjectId, filetree::XattrMode, progress::Observer, repo::Writer, splitstream::ContentType,
};
use composefs_tar::Mode;
use serde_json::{Map, Value};

use crate::{
    digest::{ConfigDigest, Digest},
    error::Error,
    ident,
    import::streams::DocumentStream,
    model::ModelError,
    rootfs::{
        Rules,
        image::{RootfsOptions, store_images, tree},
    },
    stored::StoredConfig,
};

/// The label that holds the image id in hex.
pub const LABEL: &str = "containers.composefs.fsverity";

/// A sealed config, stored and committed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sealed {
    /// The new config's digest.
    pub config: ConfigDigest,
    /// The id of its stream.
    pub stream: ObjectId,
    /// The image it is bound to, which is committed too.
    pub image: ObjectId,
}

/// Seals a config: computes the image id by `rules`, stores the image, and a copy of the config with the label.
///
/// The new config names the same layers. It has no tag; the caller gives it a ref if it is to stay.
///
/// # Errors
/// [`Error::NoConfigSection`] for a config that cannot have labels; what merging and storing give.
pub fn seal(
    writer: &Writer,
    config: &StoredConfig,
    rules: Rules,
    observer: &dyn Observer,
) -> Result<Sealed, Error> {
    let layers = config.layers()?;
    let options = RootfsOptions::default().rules(rules).mode(Mode::Lenient).xattrs(XattrMode::default());
    let tree = tree(writer, config.digest(), &layers, &options)?;
    let version = writer.erofs_formats().default;
    let images = store_images(writer, &tree, &[version], observer)?;
    let Some(&(_, image)) = images.first() else { return Err(Error::NoImage(config.digest().to_string())) };

    let bytes = with_label(config, &image.to_hex())?;
    let digest = ConfigDigest::new(Digest::sha256(&bytes));
    let object = writer.store_bytes(&bytes)?.id;
    let mut refs: Vec<_> = layers.iter().map(|(diff_id, id)| (diff_id.to_string(), *id)).collect();
    refs.push((ident::image_key(version).to_owned(), image));
    let stream = DocumentStream {
        content_type: ContentType::OCI_CONFIG,
        object,
        size: bytes.len() as u64,
        named_refs: &refs,
    };
    let stream = stream.store(writer, format_args!("oci-config-{digest}"))?;
    let mut commit = writer.begin();
    commit.image(image);
    commit.stream(ident::config(&digest)?, stream);
    commit.finish()?;
    Ok(Sealed { config: digest, stream, image })
}

/// Reads the image id out of a sealed config.
///
/// # Errors
/// [`Error::NotSealed`] without the label; [`Error::Damaged`] if it is no id.
pub fn sealed_image(config: &StoredConfig) -> Result<ObjectId, Error> {
    let parsed = config.parse()?;
    let label = parsed.label(LABEL).ok_or(Error::NotSealed)?;
    ObjectId::from_any_hex(label).map_err(|source| Error::Damaged {
        subject: format!("config {}", config.digest()),
        reason: format!("its label {LABEL} is no image id: {source}"),
    })
}

/// Returns the config's JSON with the label, as the reference implementation writes it: the members that the OCI
/// specification knows in its order, labels sorted. Members it does not know are kept behind them.
fn with_label(config: &StoredConfig, value: &str) -> Result<Vec<u8>, Error> {
    let json = |source| Error::model(config.digest(), ModelError::Json { what: "image config", source });
    let original: Map<String, Value> = serde_json::from_slice(config.bytes()).map_err(json)?;
    let parsed = config.parse()?;
    let mut known = serde_json::to_value(parsed.parsed()).map_err(json)?;
    let Some(members) = known.as_object_mut() else { return Err(Error::NoConfigSection) };
    keep_unknown(members, &original);
    let section = members.get_mut("config").and_then(Value::as_object_mut).ok_or(Error::NoConfigSection)?;
    let labels = section.entry("Labels").or_insert_with(|| Value::Object(Map::new()));
    if labels.is_null() {
        *labels = Value::Object(Map::new());
    }
    let labels = labels.as_object_mut().ok_or(Error::NoConfigSection)?;
    labels.insert(LABEL.to_owned(), Value::String(value.to_owned()));
    labels.sort_keys();
    serde_json::to_vec(&known).map_err(json)
}

/// Adds what the parsed form dropped: a config is never poorer for being sealed.
fn keep_unknown(to: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (to.get_mut(key), value) {
            (Some(Value::Object(inner)), Value::Object(original)) if key == "config" => {
                keep_unknown(inner, original);
            }
            (Some(_), _) => {}
            (None, value) => {
                to.insert(key.clone(), value.clone());
            }
        }
    }
}
