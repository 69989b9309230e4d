//! Blobs: here or from the storage, whole or in parts.

use std::sync::Arc;

use super::{
    Blobs, Etags, Place, Shared,
    fault::Fault,
    http::{Reply, Request},
    lock,
};

/// Answers `GET` and `HEAD` of a blob at the registry.
pub(super) fn get(shared: &Shared, request: &Request, faults: &[Fault], name: &str, digest: &str) -> Reply {
    let options = shared.options();
    let Some(bytes) = lock(&shared.store).blob(name, digest) else {
        return Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    if options.blobs != Blobs::Here && request.method == "GET" {
        let key = lock(&shared.store).grant(bytes, options.blobs == Blobs::StorageOnce);
        let location = shared.url(Place::Storage, &format!("/storage/{digest}?key={key}"));
        return Reply::new(options.redirect_status).header("Location", location);
    }
    contents(shared, request, faults, digest, &bytes).header("Docker-Content-Digest", digest)
}

/// Answers at the storage.
pub(super) fn from_storage(shared: &Shared, request: &Request, faults: &[Fault]) -> Reply {
    let Some(digest) = request.path().strip_prefix("/storage/") else {
        return Reply::error(404, "UNSUPPORTED", "nothing here");
    };
    // As the real ones: two ways to say who one is are one too many.
    if request.header("authorization").is_some() {
        return Reply::error(400, "INVALID", "only one auth mechanism allowed");
    }
    let found = request.query("key").and_then(|key| lock(&shared.store).redeem(&key));
    match found {
        Some(bytes) => contents(shared, request, faults, digest, &bytes),
        None => Reply::error(403, "DENIED", "request has expired"),
    }
}

/// Returns the validator for a digest.
pub(super) fn etag(shared: &Shared, faults: &[Fault], digest: &str) -> Option<String> {
    let given = faults.iter().find_map(|fault| match fault {
        Fault::Etag(text) => Some(text.clone()),
        _ => None,
    });
    given.or_else(|| match shared.options().etags {
        Etags::Strong => Some(format!("\"{digest}\"")),
        Etags::Weak => Some(format!("W/\"{digest}\"")),
        Etags::Absent => None,
    })
}

fn contents(
    shared: &Shared,
    request: &Request,
    faults: &[Fault],
    digest: &str,
    bytes: &Arc<Vec<u8>>,
) -> Reply {
    let etag = etag(shared, faults, digest);
    let mut reply = Reply::new(200)
        .header("Content-Type", "application/octet-stream")
        .header("Accept-Ranges", "bytes")
        .body(Arc::clone(bytes));
    reply.set("ETag", etag.clone());
    if faults.contains(&Fault::IgnoreRange) {
        return reply;
    }
    let Some(range) = request.header("range") else { return reply };
    // A weak validator never matches.
    let same = |given: &str| etag.as_deref().is_some_and(|etag| etag == given && !etag.starts_with("W/"));
    if request.header("if-range").is_some_and(|given| !same(given)) {
        return reply;
    }
    let total = bytes.len();
    let Some((start, end)) = parse_range(range, total) else { return reply };
    if start >= total || start >= end {
        return Reply::error(416, "RANGE_INVALID", "range not satisfiable")
            .header("Content-Range", format!("bytes */{total}"));
    }
    let (mut start, mut end, mut claimed_start, mut claimed_total) = (start, end, start, total as u64);
    let mut claim = true;
    for fault in faults {
        match fault {
            Fault::ShiftContentRange(by) => claimed_start += *by as usize,
            Fault::StartLater(by) => {
                start = (start + *by as usize).min(end - 1);
                claimed_start = start;
            }
            Fault::ShiftTotal(by) => claimed_total += by,
            Fault::NoContentRange => claim = false,
            Fault::ShortRange(most) => end = end.min(start + *most as usize),
            _ => {}
        }
    }
    reply.status = 206;
    reply.part = start..end;
    if claim {
        let last = claimed_start + (end - start) - 1;
        reply = reply.header("Content-Range", format!("bytes {claimed_start}-{last}/{claimed_total}"));
    }
    reply
}

/// Reads `bytes=A-`, `bytes=A-B` and `bytes=-N` as start and end; anything else is as if it weren't there.
fn parse_range(text: &str, total: usize) -> Option<(usize, usize)> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    match (start.parse::<usize>(), last.parse::<usize>()) {
        (Ok(start), Ok(last)) if last >= start => Some((start, total.min(last + 1))),
        (Ok(start), Err(_)) if last.is_empty() => Some((start, total)),
        (Err(_), Ok(length)) if start.is_empty() => Some((total.saturating_sub(length), total)),
        _ => None,
    }
}
