//! One blob into a registry: in one request, after a failure from where it stands, in pieces if it must be.
//!
//! The thread that reads the blob hands pieces to the request over a bounded queue.

use std::{
    io::Read,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use oci_spec::image::Descriptor;
use reqwest::{
    Body, Method, Response, Url,
    header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE},
};
use tokio::{
    runtime::Handle,
    sync::mpsc::{Receiver, Sender, channel},
};

use crate::{
    digest::Digest,
    error::Error,
    transport::{
        digest_of,
        sink::{OpenBlob, verified},
    },
};

use super::super::{
    client::{Client, Request},
    fault::{Asked, Failure, Fault},
    header::uploaded,
    redirect::{Payload, Reply, same_origin},
    retry::{Budget, RetryOptions},
    token::Purpose,
};

/// Blobs up to this size, in bytes, are held whole, and not sent before they are checked.
const WHOLE_MAX: u64 = 1 << 20;
/// Bytes of a piece in the queue.
const PIECE: usize = 256 << 10;
/// Pieces that wait to be sent.
const QUEUE: usize = 4;
/// Bytes of a request where a registry does not take a blob in one.
const CHUNK: u64 = 16 << 20;
/// The largest chunk that a registry can ask for, in bytes.
const CHUNK_MAX: u64 = 1 << 30;
/// What counts as progress, in bytes.
const PROGRESS: u64 = 1 << 20;

const MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// An upload that the registry knows of.
#[derive(Clone, Debug)]
struct Session {
    /// Where to go on, as a path for the client.
    path: String,
    /// Bytes it has.
    offset: u64,
    /// The least bytes of a request that is not the last.
    chunk_min: u64,
}

/// How much goes into a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Portion {
    /// All there is.
    All,
    /// Chunks, which also the registry's least size bounds.
    Chunks,
}

/// Sends a blob.
pub(super) fn upload(
    runtime: &Handle,
    client: &Arc<Client>,
    blob: &Descriptor,
    open: &OpenBlob<'_>,
    retries: &RetryOptions,
) -> Result<(), Error> {
    let digest = digest_of(blob)?;
    if blob.size() <= WHOLE_MAX {
        return small(runtime, client, blob, &digest, open, retries);
    }
    let mut budget = Budget::new(retries);
    let mut portion = Portion::All;
    let mut session: Option<Session> = None;
    loop {
        let known = session.take();
        let before = known.as_ref().map_or(0, |session| session.offset);
        let begun = match &known {
            Some(session) => runtime.block_on(resume(client, session)),
            None => runtime.block_on(begin(client)).map(Some),
        };
        let begun = match begun {
            Ok(Some(begun)) if begun.offset <= blob.size() => begun,
            // It has forgotten about it.
            Ok(_) => match runtime.block_on(begin(client)) {
                Ok(begun) => begun,
                Err(failure) => {
                    runtime.block_on(budget.wait(failure))?;
                    continue;
                }
            },
            Err(failure) => {
                session = known;
                runtime.block_on(budget.wait(failure))?;
                continue;
            }
        };
        if begun.offset >= before.saturating_add(PROGRESS) {
            budget.renew();
        }
        let mut from = verified(blob, &digest, open)?;
        skip(&mut from, begun.offset, &digest)?;
        let (to_request, pieces) = channel(QUEUE);
        let sending = Sending {
            client: Arc::clone(client),
            digest: digest.clone(),
            size: blob.size(),
            pieces: Arc::new(Mutex::new(Pieces { queue: pieces, rest: Bytes::new() })),
            portion,
        };
        let task = runtime.spawn(sending.run(begun));
        let pumped = pump(&mut from, &to_request, &digest);
        drop(to_request);
        let sent = runtime.block_on(task);
        // What is wrong with the blob says more than what its upload came to.
        if let Err(error) = pumped {
            if let Ok(Err((_, Some(session)))) = sent {
                runtime.block_on(cancel(client, &session));
            }
            return Err(error);
        }
        match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err((failure, left))) => {
                let too_large = matches!(failure.error.fault, Fault::Status { status: 411 | 413 | 501, .. });
                if portion == Portion::All && too_large {
                    tracing::debug!(error = %failure.error, "once more, in chunks");
                    portion = Portion::Chunks;
                    continue;
                }
                runtime.block_on(budget.wait(failure))?;
                session = left;
            }
            Err(_) => return Err(client.senseless(&Asked::Upload, "the upload was given up").into()),
        }
    }
}

/// Sends a small blob: nothing of it before all of it is right.
fn small(
    runtime: &Handle,
    client: &Client,
    blob: &Descriptor,
    digest: &Digest,
    open: &OpenBlob<'_>,
    retries: &RetryOptions,
) -> Result<(), Error> {
    let mut bytes = Vec::new();
    verified(blob, digest, open)?.read_to_end(&mut bytes).map_err(|error| Error::blob_io(digest, error))?;
    let bytes = Bytes::from(bytes);
    let mut budget = Budget::new(retries);
    loop {
        let sent = runtime.block_on(async {
            let session = begin(client).await?;
            let mut request = request(Method::PUT, ending(&session.path, digest));
            request.payload = Some(super::whole(bytes.clone()));
            let reply = client.send(&request).await?;
            finished(client, digest, &reply.response)
        });
        match sent {
            Ok(()) => return Ok(()),
            Err(failure) => runtime.block_on(budget.wait(failure))?,
        }
    }
}

fn request(method: Method, path: String) -> Request {
    let mut request = Request::get(Asked::Upload, path).method(method);
    request.purpose = Purpose::Push;
    request.header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
}

/// Begins an upload.
async fn begin(client: &Client) -> Result<Session, Failure> {
    let reply = client.send(&request(Method::POST, "blobs/uploads/".to_owned())).await?;
    session(client, &reply, 0)
}

/// Asks how far an upload is; `None` if the registry knows nothing of it any more.
async fn resume(client: &Client, known: &Session) -> Result<Option<Session>, Failure> {
    match client.send(&request(Method::GET, known.path.clone())).await {
        Ok(reply) => {
            let offset = have(&reply.response).unwrap_or(0);
            let mut begun = session(client, &reply, offset)?;
            begun.chunk_min = begun.chunk_min.max(known.chunk_min);
            Ok(Some(begun))
        }
        Err(failure) if failure.transient => Err(failure),
        Err(_) => Ok(None),
    }
}

/// Gives an upload up; the registry may do so by itself some day.
async fn cancel(client: &Client, session: &Session) {
    let _ = client.send(&request(Method::DELETE, session.path.clone())).await;
}

/// Reads where an upload goes on.
fn session(client: &Client, reply: &Reply, offset: u64) -> Result<Session, Failure> {
    let senseless = |reason| client.senseless(&Asked::Upload, reason);
    // Who stands elsewhere does not say where we go with what proves who we are.
    if !reply.home {
        return Err(senseless("the upload goes on somewhere else"));
    }
    let text = |name: &HeaderName| reply.response.headers().get(name).and_then(|value| value.to_str().ok());
    let location = text(&LOCATION).ok_or_else(|| senseless("it does not say where the upload goes on"))?;
    let at = reply.response.url();
    let to = at.join(location).map_err(|_| senseless("the upload goes on at what is no address"))?;
    let path = path_of(client, at, &to).ok_or_else(|| senseless("the upload goes on somewhere else"))?;
    let chunk_min = text(&MIN_LENGTH).and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Session { path, offset, chunk_min })
}

/// Returns what to ask the registry for to get to `to`. Behind a proxy it may not know its own scheme and port; what
/// is no part of the repository must be on the very host that has named it.
fn path_of(client: &Client, at: &Url, to: &Url) -> Option<String> {
    if let Some(path) = client.path_of(to) {
        return Some(path);
    }
    let path = to.path();
    let path = to.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    // `//x` would be another host.
    (same_origin(at, to) && !path.starts_with("//")).then_some(path)
}

/// Returns how many bytes of an upload the registry has.
fn have(response: &Response) -> Option<u64> {
    uploaded(response.headers().get(RANGE)?.to_str().ok()?)
}

/// Returns the path that ends an upload.
fn ending(path: &str, digest: &Digest) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}digest={digest}")
}

/// Checks what the registry says about a blob that it took.
fn finished(client: &Client, digest: &Digest, response: &Response) -> Result<(), Failure> {
    if super::stored_otherwise(response, digest) {
        return Err(client.senseless(&Asked::Upload, "it has stored the blob under another digest"));
    }
    Ok(())
}

/// Reads over what the registry has; it counts for the digest.
fn skip(from: &mut impl Read, offset: u64, digest: &Digest) -> Result<(), Error> {
    let skipped = std::io::copy(&mut from.take(offset), &mut std::io::sink());
    skipped.map(drop).map_err(|error| Error::blob_io(digest, error))
}

/// Hands a blob over piece by piece, until its end or until nobody takes it.
fn pump(from: &mut impl Read, to: &Sender<Bytes>, digest: &Digest) -> Result<(), Error> {
    loop {
        let mut piece = vec![0; PIECE];
        let mut filled = 0;
        while let Some(room) = piece.get_mut(filled..).filter(|room| !room.is_empty()) {
            match from.read(room).map_err(|error| Error::blob_io(digest, error))? {
                0 => break,
                got => filled += got,
            }
        }
        if filled == 0 {
            return Ok(());
        }
        piece.truncate(filled);
        if to.blocking_send(piece.into()).is_err() {
            return Ok(());
        }
    }
}

/// What sends a blob, apart from the thread that reads it.
struct Sending {
    client: Arc<Client>,
    digest: Digest,
    size: u64,
    pieces: Arc<Mutex<Pieces>>,
    portion: Portion,
}

impl Sending {
    /// Sends the rest of a blob, and lets whoever reads it know when nothing of it is needed any more.
    async fn run(self, session: Session) -> Result<(), (Failure, Option<Session>)> {
        let result = self.rest(session).await;
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).queue.close();
        result
    }

    /// Sends the rest of a blob. A failure comes with the session to go on with.
    async fn rest(&self, mut session: Session) -> Result<(), (Failure, Option<Session>)> {
        if session.offset == 0 && self.portion == Portion::All {
            let put = self.request(Method::PUT, ending(&session.path, &self.digest), self.size);
            return match self.client.send(&put).await {
                Ok(reply) => {
                    finished(&self.client, &self.digest, &reply.response).map_err(|failure| (failure, None))
                }
                Err(failure) => Err((failure, Some(session))),
            };
        }
        while session.offset < self.size {
            let left = self.size.saturating_sub(session.offset);
            let length = match self.portion {
                Portion::All => left,
                Portion::Chunks => left.min(CHUNK.max(session.chunk_min.min(CHUNK_MAX))),
            };
            let end = session.offset.saturating_add(length);
            let mut patch = self.request(Method::PATCH, session.path.clone(), length);
            let range = format!("{}-{}", session.offset, end.saturating_sub(1));
            if let Ok(range) = HeaderValue::from_str(&range) {
                patch = patch.header(CONTENT_RANGE, range);
            }
            let reply = match self.client.send(&patch).await {
                Ok(reply) => reply,
                Err(failure) => return Err((again(failure), Some(session))),
            };
            let chunk_min = session.chunk_min;
            session = match self::session(&self.client, &reply, end) {
                Ok(next) => Session { chunk_min: next.chunk_min.max(chunk_min), ..next },
                Err(failure) => return Err((failure, None)),
            };
        }
        let put = request(Method::PUT, ending(&session.path, &self.digest));
        match self.client.send(&put).await {
            Ok(reply) => {
                finished(&self.client, &self.digest, &reply.response).map_err(|failure| (failure, None))
            }
            Err(failure) => Err((failure, Some(session))),
        }
    }

    /// Makes a request that takes the next `length` bytes. They can be sent once: whoever needs them again gets a
    /// body that fails, and begins anew.
    fn request(&self, method: Method, path: String, length: u64) -> Request {
        let next = Mutex::new(Some(Portioned { pieces: Arc::clone(&self.pieces), left: length }));
        let make =
            move || {
                let taken = next.lock().unwrap_or_else(PoisonError::into_inner).take();
                Body::wrap(taken.unwrap_or_else(|| Portioned {
                    pieces: Arc::new(Mutex::new(Pieces::none())),
                    left: length,
                }))
            };
        let mut request = request(method, path);
        request.payload = Some(Payload { make: Arc::new(make), secret: false });
        request
    }
}

/// Where the registry has another idea of how far it is, that can be asked.
fn again(failure: Failure) -> Failure {
    match failure.error.fault {
        Fault::Status { status: 416, .. } => Failure { transient: true, ..failure },
        _ => failure,
    }
}

/// The pieces of a blob as they come.
#[derive(Debug)]
struct Pieces {
    queue: Receiver<Bytes>,
    /// What did not fit into the request before.
    rest: Bytes,
}

impl Pieces {
    fn none() -> Self {
        Self { queue: channel(1).1, rest: Bytes::new() }
    }
}

/// So many of the bytes of a blob that come next.
#[derive(Debug)]
struct Portioned {
    pieces: Arc<Mutex<Pieces>>,
    left: u64,
}

impl http_body::Body for Portioned {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let shared = Arc::clone(&self.pieces);
        let mut pieces = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.rest.is_empty() {
            match ready!(pieces.queue.poll_recv(context)) {
                Some(piece) => pieces.rest = piece,
                None => return Poll::Ready(Some(Err(std::io::ErrorKind::UnexpectedEof.into()))),
            }
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(pieces.rest.len());
        let piece = pieces.rest.split_to(most);
        self.left = self.left.saturating_sub(most as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings() {
        let digest = Digest::sha256(b"");
        assert_eq!(ending("a/b", &digest), format!("a/b?digest={digest}"));
        assert_eq!(ending("a/b?_state=x%3D", &digest), format!("a/b?_state=x%3D&digest={digest}"));
    }
}
