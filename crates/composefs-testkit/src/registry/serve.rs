//! Listeners and connections: a request in, the faults over it, an answer out.

use std::{
    io::{self, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    Place, Shared, Tls, auth, blobs,
    fault::Fault,
    http::{Length, Reply, Request},
    lock, manifests,
    pace::Pace,
    record::Entry,
    uploads,
};

/// Bytes written at once.
const PIECE: usize = 256 * 1024;
/// Where answers end that would not.
const ENDLESS_MAX: u64 = 256 * 1024 * 1024;

static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(1);

/// Takes connections until the registry stops; then ends them all.
pub(super) fn listen(shared: &Arc<Shared>, place: Place, listener: &TcpListener) {
    let mut threads = Vec::new();
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream else { continue };
        let id = NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed);
        let Ok(handle) = stream.try_clone() else { continue };
        lock(&shared.connections).push((id, handle));
        let shared = Arc::clone(shared);
        threads.push(std::thread::spawn(move || {
            // What a client does to the connection is its own affair.
            let _ = connection(&shared, place, id, &stream);
            let _ = stream.shutdown(Shutdown::Both);
            lock(&shared.connections).retain(|(there, _)| *there != id);
        }));
    }
    for (_, stream) in lock(&shared.connections).iter() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn connection(shared: &Shared, place: Place, id: u64, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(identity) = shared.identity_at(place) else { return requests(shared, place, id, stream) };
    let strict = shared.tls == Tls::ClientCertificate && place == Place::Registry;
    let mut stream = identity.accept(stream, strict);
    requests(shared, place, id, &mut stream)?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// Answers one request after the other, as long as both sides want to.
fn requests<S: Read + Write>(shared: &Shared, place: Place, id: u64, stream: S) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = Request::read(&mut stream, shared.options().intake, &shared.stopping)? {
        let entry = shared.log.add(place, id, &request);
        let faults: Vec<Fault> =
            lock(&shared.rules).iter_mut().filter_map(|rule| rule.take(&request)).collect();
        let reply = answer(shared, place, &request, &faults);
        entry.status.store(reply.status, Ordering::SeqCst);
        let keep = request.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
        let whole = send(shared, stream.get_mut(), &request, &reply, &faults, &entry)?;
        if !whole {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if !keep {
            break;
        }
    }
    Ok(())
}

/// Makes the answer to a request; the faults that are about its contents are in it.
fn answer(shared: &Shared, place: Place, request: &Request, faults: &[Fault]) -> Reply {
    for fault in faults {
        match fault {
            Fault::Status(status, code, headers) => {
                let reply = Reply::error(*status, code, "made up for a test");
                return headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value));
            }
            Fault::Redirect(to) => {
                return Reply::new(shared.options().redirect_status).header("Location", to);
            }
            _ => {}
        }
    }
    let mut reply = match place {
        Place::Storage => blobs::from_storage(shared, request, faults),
        Place::Tokens => auth::token(shared, request),
        Place::Registry => route(shared, request, faults),
    };
    for fault in faults {
        match fault {
            Fault::FlipByte(at) if reply.part.contains(&(*at as usize)) => {
                let mut data = reply.data.to_vec();
                data[*at as usize] ^= 1;
                reply.data = Arc::new(data);
            }
            Fault::Truncate(length) => {
                reply.part.end = reply.part.end.min(reply.part.start + *length as usize);
            }
            Fault::Header(name, value) => reply.set(name, Some(value.clone())),
            _ => {}
        }
    }
    reply
}

/// What a path of the registry asks for.
fn route(shared: &Shared, request: &Request, faults: &[Fault]) -> Reply {
    let method = request.method.as_str();
    if request.path() == "/token" {
        return auth::token(shared, request);
    }
    let unknown = || Reply::error(404, "UNSUPPORTED", "no such endpoint");
    let Some(path) = request.path().strip_prefix("/v2/") else { return unknown() };
    let mutates = !matches!(method, "GET" | "HEAD") || path.contains("/blobs/uploads/");
    let split = |middle: &str| path.rsplit_once(middle);
    let parts = ["/blobs/uploads/", "/manifests/", "/blobs/", "/tags/", "/referrers/"]
        .into_iter()
        .find_map(|kind| split(kind).map(|(name, rest)| (name, kind, rest)));
    let scope = match &parts {
        Some((name, ..)) if method == "DELETE" && !path.contains("/uploads/") => {
            format!("repository:{name}:delete")
        }
        Some((name, ..)) => format!("repository:{name}:{}", if mutates { "pull,push" } else { "pull" }),
        None => String::new(),
    };
    if let Some(refusal) = auth::refusal(shared, request, &scope) {
        return refusal;
    }
    match (method, parts) {
        ("GET" | "HEAD", None) if path.is_empty() => Reply::new(200)
            .header("Docker-Distribution-API-Version", "registry/2.0")
            .json(&serde_json::json!({})),
        ("GET" | "HEAD", Some((name, "/manifests/", reference))) => {
            manifests::get(shared, request, faults, name, reference)
        }
        ("PUT", Some((name, "/manifests/", reference))) => manifests::put(shared, request, name, reference),
        ("GET" | "HEAD", Some((name, "/blobs/", digest))) => {
            blobs::get(shared, request, faults, name, digest)
        }
        ("GET", Some((name, "/tags/", "list"))) => manifests::tags(shared, request, name),
        ("GET", Some((name, "/referrers/", digest))) => manifests::referrers(shared, request, name, digest),
        ("POST", Some((name, "/blobs/uploads/", ""))) => uploads::post(shared, request, name),
        (_, Some((name, "/blobs/uploads/", id))) => uploads::go_on(shared, request, name, id),
        ("DELETE", Some((name, kind @ ("/manifests/" | "/blobs/"), which))) if shared.options().deletes => {
            let mut store = lock(&shared.store);
            let gone = match kind {
                "/blobs/" => store.remove_blob(name, which),
                _ => store.remove_manifest(name, which),
            };
            if gone { Reply::new(202) } else { Reply::error(404, "MANIFEST_UNKNOWN", "not here") }
        }
        ("GET" | "HEAD", _) => unknown(),
        _ => Reply::error(405, "UNSUPPORTED", "the operation is unsupported"),
    }
}

/// Sends an answer with the faults that are about sending. True if another can follow on the connection.
fn send(
    shared: &Shared,
    out: &mut impl Write,
    request: &Request,
    reply: &Reply,
    faults: &[Fault],
    entry: &Entry,
) -> io::Result<bool> {
    let options = shared.options();
    let body = reply.data.get(reply.part.clone()).unwrap_or_default();
    let (mut cut, mut stall, mut longer, mut endless) = (None, None, 0, false);
    for fault in faults {
        match fault {
            Fault::Close => return Ok(false),
            Fault::Silence => {
                shared.stall(None);
                return Ok(false);
            }
            Fault::Raw(bytes) => {
                out.write_all(bytes)?;
                return Ok(false);
            }
            Fault::CutAfter(length) => cut = Some(*length),
            Fault::Stall(after, time) => stall = Some((*after, *time)),
            Fault::LongLength(by) => longer = *by,
            Fault::Endless => endless = true,
            _ => {}
        }
    }
    let length = match reply.status {
        204 | 304 => Length::Nobody,
        _ if endless || (options.chunked && longer == 0 && request.method != "HEAD") => Length::Chunked,
        _ => Length::Known(body.len() as u64 + longer),
    };
    reply.write_head(out, length)?;
    if request.method == "HEAD" || length == Length::Nobody {
        return Ok(true);
    }
    let mut sender = Sender {
        out,
        chunked: length == Length::Chunked,
        entry,
        pace: options.rate.map(Pace::new),
        passed: 0,
    };
    let limit = cut.map_or(body.len(), |cut| body.len().min(usize::try_from(cut).unwrap_or(usize::MAX)));
    let mut sent = 0;
    if let Some((after, time)) = stall {
        sent = limit.min(usize::try_from(after).unwrap_or(usize::MAX));
        sender.bytes(body.get(..sent).unwrap_or_default())?;
        shared.stall(time);
    }
    sender.bytes(body.get(sent..limit).unwrap_or_default())?;
    if endless {
        let blanks = vec![b' '; PIECE];
        let mut sent = 0;
        while sent < ENDLESS_MAX && !shared.stopping.load(Ordering::SeqCst) {
            sender.bytes(&blanks)?;
            sent += blanks.len() as u64;
        }
        return Ok(false);
    }
    if limit < body.len() || cut.is_some_and(|cut| cut <= body.len() as u64) || longer > 0 {
        return Ok(false);
    }
    if sender.chunked {
        sender.out.write_all(b"0\r\n\r\n")?;
    }
    sender.out.flush()?;
    Ok(true)
}

struct Sender<'a, W> {
    out: &'a mut W,
    chunked: bool,
    entry: &'a Entry,
    pace: Option<Pace>,
    passed: u64,
}

impl<W: Write> Sender<'_, W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let piece = self.pace.as_ref().map_or(PIECE, |pace| pace.piece());
        for piece in bytes.chunks(piece) {
            // Before it goes out: whoever has received everything may look at once.
            self.entry.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
            if self.chunked {
                write!(self.out, "{:x}\r\n", piece.len())?;
            }
            self.out.write_all(piece)?;
            if self.chunked {
                self.out.write_all(b"\r\n")?;
            }
            if let Some(pace) = &self.pace {
                self.passed += piece.len() as u64;
                pace.keep(self.passed);
            }
        }
        self.out.flush()
    }
}
