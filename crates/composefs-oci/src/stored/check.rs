//! Findings about the images of a repository: tags, manifests, configs, and what they name.
//!
//! What the repository itself knows to check is `composefs::repo`'s; here are the documents and their names.
//!
//! # Format
//! `docs/formats/repository.md`, section 8; the texts are in `docs/formats/cli.md`, section 4.

mod finding;

pub use finding::{Fault, Finding, Level, Reason, Remedy, Subject};

use composefs::{
    digest::ObjectId, error::Category, name::decode_component, repo::Repository, splitstream::ContentType,
};

use crate::{
    digest::{DiffId, Digest},
    ident,
    model::{CONFIG_MAX, Config, MANIFEST_MAX, Manifest},
    seal::LABEL,
};

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
    /// Tells whether nothing is wrong; warnings do not count.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.errors().next().is_none()
    }

    /// Walks the findings that are errors.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.level == Level::Error)
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
        let manifest = ident::parse_manifest(&target);
        report.findings.extend(
            faults.into_iter().map(|fault| Finding::new(Subject::Tag(tag.clone()), manifest.clone(), fault)),
        );
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
        Err(reason) => return faults.push(Fault::ManifestReadFailed { stream, reason }),
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
        Err(reason) => return faults.push(Fault::ConfigReadFailed { config: digest, stream, reason }),
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
        Err(error) => {
            return faults.push(Fault::ConfigParseFailed { config: digest, detail: error.to_string() });
        }
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
