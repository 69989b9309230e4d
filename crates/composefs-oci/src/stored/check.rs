//! Findings about the images of a repository: tags, manifests, configs, and what they name.
//!
//! What the repository itself knows to check is `composefs::repo`'s; here are the documents and their names.
//!
//! # Format
//! `docs/formats/repository.md`, section 8; the texts are in `docs/formats/cli.md`, section 4.

use std::fmt;

use composefs::{
    digest::ObjectId,
    error::{Category, chain},
    name::decode_component,
    repo::{Repository, check::Remedy},
    splitstream::ContentType,
};

use crate::{
    digest::{ConfigDigest, DiffId, Digest},
    ident,
    model::{CONFIG_MAX, Config, MANIFEST_MAX, Manifest},
    seal::LABEL,
};

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// The error with its causes.
    pub text: String,
    /// Whether the system could not read: then nothing is known about what was to be read, and no name should go.
    pub is_io: bool,
}

impl Reason {
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let is_io = |error: &(dyn std::error::Error + 'static)| {
            let io = error.downcast_ref::<std::io::Error>();
            io.is_some_and(|error| error.raw_os_error().is_some())
        };
        Self { text: chain(error), is_io: causes.into_iter().any(is_io) }
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self { text, is_io: false }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is wrong with a tagged image.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The tag begins with `@`.
    InvalidRefName,
    /// The tag leads to no manifest.
    RefResolveFailed(Reason),
    /// The manifest's stream cannot be read.
    ManifestReadFailed(Reason),
    /// The manifest's bytes are not its digest's.
    ManifestDigestMismatch {
        /// The digest it is stored under.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// The manifest is no manifest.
    ManifestParseFailed(String),
    /// The manifest's stream does not name its config's.
    ConfigRefMissing(ConfigDigest),
    /// The config's stream cannot be read.
    ConfigReadFailed(Reason),
    /// The config's bytes are not its digest's.
    ConfigDigestMismatch {
        /// The digest in the manifest.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// The config is no image config.
    ConfigParseFailed(String),
    /// The config's stream does not name a layer's.
    LayerRefMissing(DiffId),
    /// A layer has no entry.
    LayerStreamMissing(DiffId),
    /// A layer's stream cannot be looked at.
    LayerCheckFailed(DiffId, Reason),
    /// The object of a layer's stream is missing.
    LayerObjectMissing(DiffId, ObjectId),
    /// The image of the config's seal is missing.
    SealImageMissing(ConfigDigest, String),
    /// The manifest's stream does not name an artifact's layer.
    ArtifactLayerRefMissing(Digest),
    /// The stream of an artifact's layer is missing.
    ArtifactLayerObjectMissing(Digest, ObjectId),
}

/// A fault, and the tag it was found under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The tag.
    pub tag: String,
    /// What is wrong.
    pub fault: Fault,
}

impl Finding {
    /// Returns the kind, as it stands in front of the details.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match &self.fault {
            Fault::InvalidRefName => "invalid-ref-name",
            Fault::RefResolveFailed(_) => "ref-resolve-failed",
            Fault::ManifestReadFailed(_) => "manifest-read-failed",
            Fault::ManifestDigestMismatch { .. } => "manifest-digest-mismatch",
            Fault::ManifestParseFailed(_) => "manifest-parse-failed",
            Fault::ConfigRefMissing(_) => "config-ref-missing",
            Fault::ConfigReadFailed(_) => "config-read-failed",
            Fault::ConfigDigestMismatch { .. } => "config-digest-mismatch",
            Fault::ConfigParseFailed(_) => "config-parse-failed",
            Fault::LayerRefMissing(_) => "layer-ref-missing",
            Fault::LayerStreamMissing(_) => "layer-stream-missing",
            Fault::LayerCheckFailed(..) => "layer-check-failed",
            Fault::LayerObjectMissing(..) => "layer-object-missing",
            Fault::SealImageMissing(..) => "seal-image-missing",
            Fault::ArtifactLayerRefMissing(_) => "artifact-layer-ref-missing",
            Fault::ArtifactLayerObjectMissing(..) => "artifact-layer-object-missing",
        }
    }

    /// Returns the command that mends it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match &self.fault {
            Fault::RefResolveFailed(reason)
            | Fault::ManifestReadFailed(reason)
            | Fault::ConfigReadFailed(reason)
            | Fault::LayerCheckFailed(_, reason)
                if reason.is_io =>
            {
                Remedy::CheckFileSystem.to_string()
            }
            Fault::InvalidRefName | Fault::RefResolveFailed(_) => format!("cfsctl oci untag '{}'", self.tag),
            _ => format!("cfsctl oci pull REFERENCE '{}'", self.tag),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = &self.tag;
        write!(f, "fsck: {}: ", self.kind())?;
        match &self.fault {
            Fault::InvalidRefName => write!(f, "{tag}: leading '@' is reserved for digest references"),
            Fault::RefResolveFailed(reason)
            | Fault::ManifestReadFailed(reason)
            | Fault::ConfigReadFailed(reason) => write!(f, "{tag}: {reason}"),
            Fault::ManifestParseFailed(detail) | Fault::ConfigParseFailed(detail) => {
                write!(f, "{tag}: {detail}")
            }
            Fault::ManifestDigestMismatch { expected, actual }
            | Fault::ConfigDigestMismatch { expected, actual } => {
                write!(f, "{tag}: expected {expected}, got {actual}")
            }
            Fault::ConfigRefMissing(digest) => write!(f, "{tag}: {digest}"),
            Fault::ArtifactLayerRefMissing(digest) => write!(f, "{tag}: {digest}"),
            Fault::LayerRefMissing(diff_id) | Fault::LayerStreamMissing(diff_id) => {
                write!(f, "{tag}: {diff_id}")
            }
            Fault::LayerCheckFailed(diff_id, detail) => write!(f, "{tag}: {diff_id}: {detail}"),
            Fault::LayerObjectMissing(diff_id, id) => write!(f, "{tag}: {diff_id}: object {id} is missing"),
            Fault::SealImageMissing(digest, detail) => write!(f, "{tag}: {digest}: {detail}"),
            Fault::ArtifactLayerObjectMissing(digest, id) => {
                write!(f, "{tag}: {digest}: object {id} is missing")
            }
        }
    }
}

/// What a check of all images found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Tags looked at.
    pub images_checked: u64,
    /// Of these, tags with at least one finding.
    pub images_corrupted: u64,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Tells whether nothing was found.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Checks the images of all tags, or of one.
///
/// # Errors
/// What listing the tags gives; [`crate::Error::NotFound`] for a tag that is not there. Damage is no error.
pub fn check(repo: &Repository, only: Option<&str>) -> Result<Report, crate::Error> {
    let mut report = Report::default();
    let mut refs = repo.refs(Category::Streams, ident::TAGS)?;
    refs.sort();
    let mut found = false;
    for (name, target) in refs {
        let tag = decode_component(&name);
        if only.is_some_and(|only| only != tag) {
            continue;
        }
        found = true;
        report.images_checked += 1;
        let mut faults = Vec::new();
        check_tag(repo, &tag, &target, &mut faults);
        report.images_corrupted += u64::from(!faults.is_empty());
        report.findings.extend(faults.into_iter().map(|fault| Finding { tag: tag.clone(), fault }));
    }
    match only {
        Some(tag) if !found => Err(crate::Error::NotFound(tag.to_owned())),
        _ => Ok(report),
    }
}

/// A document's bytes, and the names in its stream.
type Document = (Vec<u8>, Vec<(String, ObjectId)>);

fn read(repo: &Repository, stream: &ObjectId, kind: ContentType, max: u64) -> Result<Document, Reason> {
    let reason = |error: composefs::error::Error| Reason::of(&error);
    let parsed = repo.open_stream(stream).map_err(reason)?;
    parsed.expect_type(kind).map_err(|error| Reason::of(&error))?;
    let object = parsed.only_object().map_err(|error| Reason::of(&error))?;
    let refs = parsed.named_refs().map(|(name, id)| (name.to_owned(), id)).collect();
    Ok((repo.read_object(&object, max).map_err(reason)?, refs))
}

fn differs(expected: &Digest, bytes: &[u8]) -> Option<Digest> {
    expected.of_same_algorithm(bytes).filter(|actual| actual != expected)
}

fn check_tag(repo: &Repository, tag: &str, target: &str, faults: &mut Vec<Fault>) {
    if tag.starts_with('@') {
        faults.push(Fault::InvalidRefName);
    }
    let Some(digest) = ident::parse_manifest(target) else {
        faults.push(Fault::RefResolveFailed(format!("it points to `{target}`, which is no manifest").into()));
        return;
    };
    let stream = match ident::manifest(&digest)
        .map_err(composefs::error::Error::from)
        .and_then(|name| repo.stream_entry(&name))
    {
        Ok(Some(stream)) => stream,
        Ok(None) => {
            return faults.push(Fault::RefResolveFailed(format!("there is no entry `{target}`").into()));
        }
        Err(error) => return faults.push(Fault::RefResolveFailed(Reason::of(&error))),
    };
    let (bytes, refs) = match read(repo, &stream, ContentType::OCI_MANIFEST, MANIFEST_MAX) {
        Ok(document) => document,
        Err(detail) => return faults.push(Fault::ManifestReadFailed(detail)),
    };
    if let Some(actual) = differs(digest.digest(), &bytes) {
        faults.push(Fault::ManifestDigestMismatch { expected: digest.digest().clone(), actual });
    }
    match Manifest::parse_as(bytes, digest) {
        Ok(manifest) => check_manifest(repo, &manifest, &refs, faults),
        Err(error) => faults.push(Fault::ManifestParseFailed(error.to_string())),
    }
}

fn check_manifest(
    repo: &Repository,
    manifest: &Manifest,
    refs: &[(String, ObjectId)],
    faults: &mut Vec<Fault>,
) {
    let named =
        |refs: &[(String, ObjectId)], key: &str| refs.iter().find(|(name, _)| name == key).map(|(_, id)| *id);
    let digest = match manifest.config_digest() {
        Ok(digest) => digest,
        Err(error) => return faults.push(Fault::ManifestParseFailed(error.to_string())),
    };
    let Some(stream) = named(refs, &ident::config_key(&digest)) else {
        return faults.push(Fault::ConfigRefMissing(digest));
    };
    let (bytes, config_refs) = match read(repo, &stream, ContentType::OCI_CONFIG, CONFIG_MAX) {
        Ok(document) => document,
        Err(detail) => return faults.push(Fault::ConfigReadFailed(detail)),
    };
    if let Some(actual) = differs(digest.digest(), &bytes) {
        faults.push(Fault::ConfigDigestMismatch { expected: digest.digest().clone(), actual });
    }
    if !manifest.is_container() {
        for layer in manifest.layers() {
            let Ok(layer) = Digest::new(layer.digest().as_ref()) else { continue };
            match named(refs, layer.as_str()) {
                None => faults.push(Fault::ArtifactLayerRefMissing(layer)),
                Some(id) if !repo.has_object(&id).unwrap_or(false) => {
                    faults.push(Fault::ArtifactLayerObjectMissing(layer, id));
                }
                Some(_) => {}
            }
        }
        return;
    }
    let config = match Config::parse_as(bytes, digest.clone()) {
        Ok(config) => config,
        Err(error) => return faults.push(Fault::ConfigParseFailed(error.to_string())),
    };
    for diff_id in config.diff_ids() {
        match named(&config_refs, diff_id.as_str()) {
            None => faults.push(Fault::LayerRefMissing(diff_id.clone())),
            Some(id) => check_layer(repo, diff_id, &id, faults),
        }
    }
    if let Some(label) = config.label(LABEL) {
        let image = ObjectId::from_any_hex(label).map_err(|error| error.to_string());
        let missing = match image {
            Ok(id) => match repo.image_entry(&id) {
                Ok(Some(_)) => None,
                Ok(None) => Some(format!("image {id} is missing")),
                Err(error) => Some(error.to_string()),
            },
            Err(detail) => Some(detail),
        };
        faults.extend(missing.map(|detail| Fault::SealImageMissing(digest, detail)));
    }
}

fn check_layer(repo: &Repository, diff_id: &DiffId, id: &ObjectId, faults: &mut Vec<Fault>) {
    match ident::layer(diff_id)
        .map_err(composefs::error::Error::from)
        .and_then(|name| repo.stream_entry(&name))
    {
        Ok(Some(_)) => {}
        Ok(None) => faults.push(Fault::LayerStreamMissing(diff_id.clone())),
        Err(error) => faults.push(Fault::LayerCheckFailed(diff_id.clone(), Reason::of(&error))),
    }
    match repo.has_object(id) {
        Ok(true) => {}
        Ok(false) => faults.push(Fault::LayerObjectMissing(diff_id.clone(), *id)),
        Err(error) => faults.push(Fault::LayerCheckFailed(diff_id.clone(), Reason::of(&error))),
    }
}
