//! Findings about the images of a repository: tags, manifests, configs, and what they name.
//!
//! What the repository itself knows to check is `composefs::repo`'s; here are the documents and their names.
//!
//! # Format
//! `docs/formats/repository.md`, section 8; the texts are in `docs/formats/cli.md`, section 4.

mod finding;
pub(crate) mod beside;

pub use finding::{Fault, Finding, Level, Reason, Remedy, Subject};

use composefs::{
    digest::ObjectId, error::Category, name::decode_component, repo::Repository, splitstream::ContentType,
};

use crate::{
    digest::{DiffId, Digest, ManifestDigest},
    ident,
    model::{CONFIG_MAX, Config, MANIFEST_MAX, Manifest},
    seal::{LABEL, claim::Claims},
};

/// What a check of all images found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Tags looked at.
    pub images_checked: u64,
    /// Of these, tags with at least one finding that is an error.
    pub images_corrupted: u64,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Whether it was stopped before all was checked; the counts are of what was.
    pub stopped: bool,
}

impl Report {
    /// Tells whether all was checked and nothing is wrong; warnings do not count.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        !self.stopped && self.errors().next().is_none()
    }

    /// Walks the findings that are errors.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.level == Level::Error)
    }
}

/// Checks the images of all tags, or of one: that documents are what their digests say, and that all they name is here.
///
/// # Errors
/// What listing the tags gives; [`crate::Error::NotFound`] for a tag that is not there. Damage is no error.
pub fn check(repo: &Repository, only: Option<&str>) -> Result<Report, crate::Error> {
    let mut report = Report::default();
    for (tag, target) in tags(repo, only)? {
        let checked = check_tag(repo, &tag, &target);
        report.add(&Subject::Tag(tag), &target, checked.faults);
    }
    Ok(report)
}

impl Report {
    /// Adds what was found about an image.
    pub(crate) fn add(&mut self, subject: &Subject, target: &str, faults: Vec<Fault>) {
        let manifest = ident::parse_manifest(target);
        let findings: Vec<Finding> =
            faults.into_iter().map(|fault| Finding::new(subject.clone(), manifest.clone(), fault)).collect();
        let corrupted = findings.iter().any(|finding| finding.level == Level::Error);
        self.images_checked = self.images_checked.saturating_add(1);
        self.images_corrupted = self.images_corrupted.saturating_add(u64::from(corrupted));
        self.findings.extend(findings);
    }
}

/// Lists the tags with what they point to, or the one that is asked for.
pub(crate) fn tags(repo: &Repository, only: Option<&str>) -> Result<Vec<(String, String)>, crate::Error> {
    let mut refs = repo.refs(Category::Streams, ident::TAGS)?;
    refs.sort();
    let tags = refs.into_iter().map(|(name, target)| (decode_component(&name), target));
    let tags: Vec<_> = tags.filter(|(tag, _)| only.is_none_or(|only| only == tag)).collect();
    match only {
        Some(tag) if tags.is_empty() => Err(crate::Error::NotFound(tag.to_owned())),
        _ => Ok(tags),
    }
}

/// What was found about a tag, and its image as far as it could be read.
#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) faults: Vec<Fault>,
    pub(crate) image: Option<Readable>,
}

/// A container image whose documents could be read.
pub(crate) struct Readable {
    pub(crate) manifest: ManifestDigest,
    /// What its manifest says of the image's digests, or why that cannot be used.
    pub(crate) inline: Result<Claims, String>,
    pub(crate) config: Config,
    pub(crate) config_stream: ObjectId,
    pub(crate) config_refs: Vec<(String, ObjectId)>,
    pub(crate) manifest_refs: Vec<(String, ObjectId)>,
}

/// Returns what a stream names under a key.
pub(crate) fn named(refs: &[(String, ObjectId)], key: &str) -> Option<ObjectId> {
    refs.iter().find(|(name, _)| name == key).map(|(_, id)| *id)
}

/// A document's bytes, and the names in its stream.
pub(super) type Document = (Vec<u8>, Vec<(String, ObjectId)>);

pub(super) fn read(
    repo: &Repository,
    stream: &ObjectId,
    kind: ContentType,
    max: u64,
) -> Result<Document, Reason> {
    let reason = |error: composefs::error::Error| Reason::of(&error);
    let parsed = repo.open_stream(stream).map_err(reason)?;
    parsed.expect_type(kind).map_err(|error| Reason::of(&error))?;
    let object = parsed.only_object().map_err(|error| Reason::of(&error))?;
    let refs = parsed.named_refs().map(|(name, id)| (name.to_owned(), id)).collect();
    Ok((repo.read_object(&object, max).map_err(reason)?, refs))
}

pub(super) fn differs(expected: &Digest, bytes: &[u8]) -> Option<Digest> {
    expected.of_same_algorithm(bytes).filter(|actual| actual != expected)
}

pub(crate) fn check_tag(repo: &Repository, tag: &str, target: &str) -> Checked {
    let mut checked = Checked::default();
    checked.image = check_documents(repo, tag, target, &mut checked.faults);
    checked
}

/// Ends the check of an image with a fault.
fn failed(faults: &mut Vec<Fault>, fault: Fault) -> Option<Readable> {
    faults.push(fault);
    None
}

fn check_documents(repo: &Repository, tag: &str, target: &str, faults: &mut Vec<Fault>) -> Option<Readable> {
    if tag.starts_with('@') {
        faults.push(Fault::InvalidRefName);
    }
    let Some(digest) = ident::parse_manifest(target) else {
        return failed(
            faults,
            Fault::RefResolveFailed(format!("it points to `{target}`, which is no manifest").into()),
        );
    };
    let stream = match ident::manifest(&digest)
        .map_err(composefs::error::Error::from)
        .and_then(|name| repo.stream_entry(&name))
    {
        Ok(Some(stream)) => stream,
        Ok(None) => {
            return failed(faults, Fault::RefResolveFailed(format!("there is no entry `{target}`").into()));
        }
        Err(error) => return failed(faults, Fault::RefResolveFailed(Reason::of(&error))),
    };
    let (bytes, refs) = match read(repo, &stream, ContentType::OCI_MANIFEST, MANIFEST_MAX) {
        Ok(document) => document,
        Err(reason) => return failed(faults, Fault::ManifestReadFailed { stream, reason }),
    };
    if let Some(actual) = differs(digest.digest(), &bytes) {
        faults.push(Fault::ManifestDigestMismatch { expected: digest.digest().clone(), actual });
    }
    match Manifest::parse_as(bytes, digest) {
        Ok(manifest) => check_manifest(repo, &manifest, refs, faults),
        Err(error) => failed(faults, Fault::ManifestParseFailed(error.to_string())),
    }
}

fn check_manifest(
    repo: &Repository,
    manifest: &Manifest,
    refs: Vec<(String, ObjectId)>,
    faults: &mut Vec<Fault>,
) -> Option<Readable> {
    let digest = match manifest.config_digest() {
        Ok(digest) => digest,
        Err(error) => return failed(faults, Fault::ManifestParseFailed(error.to_string())),
    };
    let Some(stream) = named(&refs, &ident::config_key(&digest)) else {
        return failed(faults, Fault::ConfigRefMissing(digest));
    };
    let (bytes, config_refs) = match read(repo, &stream, ContentType::OCI_CONFIG, CONFIG_MAX) {
        Ok(document) => document,
        Err(reason) => return failed(faults, Fault::ConfigReadFailed { config: digest, stream, reason }),
    };
    if let Some(actual) = differs(digest.digest(), &bytes) {
        faults.push(Fault::ConfigDigestMismatch { expected: digest.digest().clone(), actual });
    }
    if !manifest.is_container() {
        check_artifact(repo, manifest, &refs, faults);
        return None;
    }
    let config = match Config::parse_as(bytes, digest.clone()) {
        Ok(config) => config,
        Err(error) => {
            faults.push(Fault::ConfigParseFailed { config: digest, detail: error.to_string() });
            return None;
        }
    };
    for diff_id in config.diff_ids() {
        match named(&config_refs, diff_id.as_str()) {
            None => faults.push(Fault::LayerRefMissing(diff_id.clone())),
            Some(id) => check_layer(repo, diff_id, &id, faults),
        }
    }
    check_seal(repo, &config, faults);
    let inline = Claims::inline(manifest).map_err(|error| error.to_string());
    let manifest = manifest.digest().clone();
    Some(Readable { manifest, inline, config, config_stream: stream, config_refs, manifest_refs: refs })
}

fn check_artifact(
    repo: &Repository,
    manifest: &Manifest,
    refs: &[(String, ObjectId)],
    faults: &mut Vec<Fault>,
) {
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
}

fn check_seal(repo: &Repository, config: &Config, faults: &mut Vec<Fault>) {
    let Some(label) = config.label(LABEL) else { return };
    let image = ObjectId::from_any_hex(label).map_err(|error| error.to_string());
    let missing = match image {
        Ok(id) => match repo.image_entry(&id) {
            Ok(Some(_)) => None,
            Ok(None) => Some(format!("image {id} is missing")),
            Err(error) => Some(error.to_string()),
        },
        Err(detail) => Some(detail),
    };
    faults.extend(missing.map(|detail| Fault::SealImageMissing(config.digest().clone(), detail)));
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
