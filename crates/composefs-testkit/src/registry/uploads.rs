//! Uploads: mounted, in one request, or in chunks.

use std::sync::Arc;

use crate::images::{sha256, sha512};

use super::{
    Shared, auth,
    http::{Reply, Request},
    lock,
    store::Store,
};

/// Begins an upload, or ends it at once: by a mount, or with everything in this request.
pub(super) fn post(shared: &Shared, request: &Request, name: &str) -> Reply {
    if let (Some(digest), Some(from)) = (request.query("mount"), request.query("from")) {
        let blob = lock(&shared.store).blob(&from, &digest);
        if let Some(blob) = blob.filter(|_| auth::may_pull(shared, request, &from)) {
            lock(&shared.store).put_blob(name, &digest, blob);
            return created(name, &digest);
        }
    } else if let Some(digest) = request.query("digest").filter(|_| shared.options().single_post) {
        return finish(&mut lock(&shared.store), name, &digest, request.body.clone());
    }
    let id = lock(&shared.store).begin_upload(name);
    let reply = progress(202, name, &id, 0);
    match shared.options().chunk_min {
        Some(size) => reply.header("OCI-Chunk-Min-Length", size.to_string()),
        None => reply,
    }
}

/// Goes on with an upload.
pub(super) fn go_on(shared: &Shared, request: &Request, name: &str, id: &str) -> Reply {
    let mut store = lock(&shared.store);
    let Some(upload) = store.uploads.get_mut(id).filter(|upload| upload.repository == name) else {
        return Reply::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    };
    let have = upload.bytes.len();
    match request.method.as_str() {
        "GET" => return progress(204, name, id, have),
        "DELETE" => {
            store.uploads.remove(id);
            return Reply::new(204);
        }
        _ => {}
    }
    // What a Location says in its query must come back.
    if request.query("state").is_none() {
        return Reply::error(400, "BLOB_UPLOAD_INVALID", "the state is missing");
    }
    if let Some(range) = request.header("content-range") {
        let bounds = range.split_once('-').map(|(first, last)| (first.parse(), last.parse()));
        let Some((Ok(first), Ok(last))) = bounds else {
            return Reply::error(400, "BLOB_UPLOAD_INVALID", "Content-Range");
        };
        let (first, last): (usize, usize) = (first, last);
        if first != have || last + 1 - first != request.body.len() {
            return progress(416, name, id, have);
        }
    }
    upload.bytes.extend_from_slice(&request.body);
    if request.method == "PATCH" {
        return progress(202, name, id, upload.bytes.len());
    }
    let Some(digest) = request.query("digest") else {
        return Reply::error(400, "DIGEST_INVALID", "no digest");
    };
    let bytes = std::mem::take(&mut upload.bytes);
    store.uploads.remove(id);
    finish(&mut store, name, &digest, bytes)
}

fn finish(store: &mut Store, name: &str, digest: &str, bytes: Vec<u8>) -> Reply {
    let found = if digest.starts_with("sha512:") { sha512(&bytes) } else { sha256(&bytes) };
    if found != digest {
        return Reply::error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    store.put_blob(name, digest, Arc::new(bytes));
    created(name, digest)
}

fn created(name: &str, digest: &str) -> Reply {
    Reply::new(201)
        .header("Location", format!("/v2/{name}/blobs/{digest}"))
        .header("Docker-Content-Digest", digest)
}

fn progress(status: u16, name: &str, id: &str, have: usize) -> Reply {
    Reply::new(status)
        .header("Location", format!("/v2/{name}/blobs/uploads/{id}?state={have}"))
        .header("Docker-Upload-UUID", id)
        .header("Range", format!("0-{}", have.saturating_sub(1)))
}
