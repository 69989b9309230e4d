//! What is kept beside images: the index that a tag came from, and artifacts about an image.

use std::collections::HashSet;

use composefs::{
    digest::ObjectId,
    error::Category,
    name::{StreamName, decode_component},
    repo::{Repository, referrer::Referrer},
    splitstream::ContentType,
};

use crate::{
    digest::{Digest, ManifestDigest},
    error::Error,
    ident,
    model::{MANIFEST_MAX, parse_index},
};

use super::{Fault, Finding, Reason, Subject, differs, read};

/// Checks the index that is kept with a tag, if there is one. `manifest` is the tag's own.
pub(crate) fn check_index(
    repo: &Repository,
    tag: &str,
    manifest: Option<&ManifestDigest>,
    faults: &mut Vec<Fault>,
) {
    let Ok(name) = ident::index_of_tag(tag) else { return };
    let target = match repo.read_ref(Category::Streams, &name) {
        Ok(Some(target)) => target,
        Ok(None) => return,
        Err(error) => return faults.push(Fault::IndexReadFailed(Reason::of(&error))),
    };
    let Some(digest) = ident::parse_index(&target) else {
        let text = format!("its ref points to `{target}`, which is no index");
        return faults.push(Fault::IndexReadFailed(text.into()));
    };
    let entry = StreamName::new(target)
        .map_err(composefs::error::Error::from)
        .and_then(|name| repo.stream_entry(&name));
    let document = match entry {
        Ok(Some(stream)) => read(repo, &stream, ContentType::OCI_INDEX, MANIFEST_MAX),
        Ok(None) => Err(format!("there is no entry for {digest}").into()),
        Err(error) => Err(Reason::of(&error)),
    };
    let (bytes, refs) = match document {
        Ok(document) => document,
        Err(reason) => return faults.push(Fault::IndexReadFailed(reason)),
    };
    if let Some(actual) = differs(&digest, &bytes) {
        return faults.push(Fault::IndexDigestMismatch { expected: digest, actual });
    }
    let index = match parse_index(&bytes) {
        Ok(index) => index,
        Err(error) => return faults.push(Fault::IndexParseFailed(error.to_string())),
    };
    let listed: Vec<Digest> =
        index.manifests().iter().filter_map(|one| Digest::new(one.digest().as_ref()).ok()).collect();
    for (key, stream) in refs {
        let Some(manifest) = ident::parse_manifest_key(&key) else { continue };
        faults.extend(check_child(repo, &listed, manifest, stream));
    }
    if let Some(manifest) = manifest.filter(|manifest| !listed.contains(manifest.digest())) {
        let text = format!("the index does not list the tag's manifest {manifest}");
        faults.push(Fault::IndexReadFailed(text.into()));
    }
}

fn check_child(
    repo: &Repository,
    listed: &[Digest],
    manifest: ManifestDigest,
    stream: ObjectId,
) -> Option<Fault> {
    let reason = match repo.has_object(&stream) {
        Ok(false) => return Some(Fault::IndexManifestMissing { manifest, stream }),
        Err(error) => Reason::of(&error),
        Ok(true) if !listed.contains(manifest.digest()) => {
            Reason::from("the index does not list it".to_owned())
        }
        Ok(true) => match read(repo, &stream, ContentType::OCI_MANIFEST, MANIFEST_MAX) {
            Ok((bytes, _)) => {
                let actual = differs(manifest.digest(), &bytes)?;
                Reason::from(format!("its contents hash to {actual}"))
            }
            Err(reason) => reason,
        },
    };
    Some(Fault::IndexManifestMismatch { manifest, stream, reason })
}

/// Checks what is kept for tags and images that are gone.
///
/// # Errors
/// What listing the refs gives.
pub(crate) fn check_orphans(repo: &Repository, tags: &[(String, String)]) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for (name, _) in repo.refs(Category::Streams, ident::INDEXES)? {
        let tag = decode_component(&name);
        if !tags.iter().any(|(known, _)| *known == tag) {
            findings.push(Finding::new(Subject::Tag(tag), None, Fault::OrphanIndex));
        }
    }
    // What another ref keeps needs no subject.
    let refs = repo.refs(Category::Streams, "")?;
    let kept: HashSet<&str> = refs
        .iter()
        .filter(|(name, target)| Referrer::parse(name, target).is_none())
        .map(|(_, target)| target.as_str())
        .collect();
    for (name, entry) in repo.refs(Category::Streams, ident::REFERRERS)? {
        let (subject, artifact) = name.split_once('/').unwrap_or(("", &name));
        let (subject, artifact) = (decode_component(subject), decode_component(artifact));
        let path = format!("{}/refs/{}/{name}", Category::Streams.directory(), ident::REFERRERS);
        let manifest = ident::parse_manifest(&entry);
        let of = subject.parse::<ManifestDigest>().ok();
        let fault = if manifest.as_ref().is_none_or(|manifest| manifest.as_str() != artifact) {
            Some(Fault::ReferrerMismatch { entry })
        } else {
            let here = kept.contains(entry.as_str())
                || match &of {
                    Some(of) => {
                        repo.stream_entry(&ident::manifest(of)?)?.is_some()
                            || repo.stream_entry(&ident::index(of.digest())?)?.is_some()
                    }
                    None => false,
                };
            (!here).then_some(Fault::OrphanReferrer)
        };
        let subject = Subject::Referrer { subject, artifact, path };
        findings.extend(fault.map(|fault| Finding::new(subject, manifest, fault)));
    }
    Ok(findings)
}
