//! Manifests, tags and referrers.

use serde_json::{Value, json};

use crate::images::{INDEX, sha256, sha512};

use super::{
    Shared, blobs,
    fault::Fault,
    http::{Reply, Request},
    lock,
};

/// Answers `GET` and `HEAD` of a manifest.
pub(super) fn get(
    shared: &Shared,
    request: &Request,
    faults: &[Fault],
    name: &str,
    reference: &str,
) -> Reply {
    let store = lock(&shared.store);
    if !store.exists(name) {
        return Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    }
    let Some((digest, manifest)) = store.manifest(name, reference) else {
        return Reply::error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    let accepted = request.header_list("accept").unwrap_or_else(|| "*/*".to_owned());
    let mut accepted = accepted.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    if !accepted.any(|kind| kind == manifest.media_type || kind == "*/*") {
        let text = format!("found as {}, which the client does not accept", manifest.media_type);
        return Reply::error(404, "MANIFEST_UNKNOWN", &text);
    }
    let mut reply = Reply::new(200)
        .header("Content-Type", &manifest.media_type)
        .header("Docker-Content-Digest", &digest)
        .body(manifest.bytes.clone());
    reply.set("ETag", blobs::etag(shared, faults, &digest));
    reply
}

/// Takes a manifest.
pub(super) fn put(shared: &Shared, request: &Request, name: &str, reference: &str) -> Reply {
    let invalid = |text: &str| Reply::error(400, "MANIFEST_INVALID", text);
    let Ok(parsed) = serde_json::from_slice::<Value>(&request.body) else { return invalid("not JSON") };
    let Some(media_type) = request.header("content-type") else { return invalid("no Content-Type") };
    if parsed["mediaType"].as_str().is_some_and(|inside| inside != media_type) {
        return invalid("Content-Type is not the mediaType");
    }
    let mut store = lock(&shared.store);
    let digest = if reference.starts_with("sha512:") { sha512(&request.body) } else { sha256(&request.body) };
    if reference.contains(':') && reference != digest {
        return Reply::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    let current = store.manifest(name, reference).map(|(digest, _)| format!("\"{digest}\""));
    if request.header("if-match").is_some_and(|wanted| Some(wanted) != current.as_deref()) {
        return Reply::error(412, "DENIED", "it has changed");
    }
    let digests = |list: &str| -> Vec<String> {
        let entries = parsed[list].as_array().cloned().unwrap_or_default();
        entries.iter().filter_map(|entry| entry["digest"].as_str().map(str::to_owned)).collect()
    };
    let config = parsed["config"]["digest"].as_str().map(str::to_owned);
    for blob in config.into_iter().chain(digests("layers")) {
        if store.blob(name, &blob).is_none() {
            return Reply::error(400, "MANIFEST_BLOB_UNKNOWN", &format!("blob unknown to registry: {blob}"));
        }
    }
    for child in digests("manifests") {
        if store.manifest(name, &child).is_none() {
            return Reply::error(400, "MANIFEST_UNKNOWN", &format!("manifest unknown: {child}"));
        }
    }
    store.put_manifest(name, &digest, media_type, request.body.clone());
    if !reference.contains(':') {
        store.put_tag(name, reference, &digest);
    }
    let mut reply = Reply::new(201)
        .header("Location", format!("/v2/{name}/manifests/{digest}"))
        .header("Docker-Content-Digest", &digest);
    if let Some(subject) = parsed["subject"]["digest"].as_str().filter(|_| shared.options().referrers) {
        reply = reply.header("OCI-Subject", subject);
    }
    reply
}

/// Answers a list of tags, a page at a time.
pub(super) fn tags(shared: &Shared, request: &Request, name: &str) -> Reply {
    let store = lock(&shared.store);
    if !store.exists(name) {
        return Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    }
    let size =
        request.query("n").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX).min(shared.options().page);
    let last = request.query("last").unwrap_or_default();
    let rest: Vec<String> = store.tags(name).into_iter().filter(|tag| *tag > last).collect();
    let page: Vec<&String> = rest.iter().take(size).collect();
    let mut reply = Reply::new(200).json(&json!({"name": name, "tags": page}));
    if let Some(last) = page.last().filter(|_| rest.len() > page.len()) {
        let next = format!("</v2/{name}/tags/list?last={last}&n={size}>; rel=\"next\"");
        reply = reply.header("Link", next);
    }
    reply
}

/// Answers the manifests about a subject, a page at a time.
pub(super) fn referrers(shared: &Shared, request: &Request, name: &str, digest: &str) -> Reply {
    let options = shared.options();
    if !options.referrers {
        return Reply::error(404, "UNSUPPORTED", "no such endpoint");
    }
    let mut found = lock(&shared.store).referrers(name, digest);
    let wanted = request.query("artifactType");
    if let Some(wanted) = &wanted {
        found.retain(|entry| entry["artifactType"] == json!(wanted));
    }
    let from = request.query("from").and_then(|from| from.parse().ok()).unwrap_or(0).min(found.len());
    let to = (from + options.page).min(found.len());
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": found[from..to]});
    let mut reply = Reply::new(200).json(&index);
    reply.set("Content-Type", Some(INDEX.to_owned()));
    if wanted.is_some() {
        reply = reply.header("OCI-Filters-Applied", "artifactType");
    }
    if to < found.len() {
        let wanted = wanted.map(|wanted| format!("&artifactType={wanted}")).unwrap_or_default();
        let next = format!("</v2/{name}/referrers/{digest}?from={to}{wanted}>; rel=\"next\"");
        reply = reply.header("Link", next);
    }
    reply
}
