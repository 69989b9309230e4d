use super::*;
use crate::images::{Compression, Layer, MANIFEST};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::json;
use std::io::{Read as _, Write as _};

/// Sends bytes, reads until the other side closes.
fn raw(address: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// One request, the connection closed after it: head and body.
fn ask(address: &str, method: &str, path: &str, headers: &str, body: &str) -> (String, String) {
    let length = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    let answer = raw(address, &text);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

fn get(registry: &Registry, path: &str, headers: &str) -> (String, String) {
    ask(&registry.host(), "GET", path, headers, "")
}

fn status((head, _): &(String, String)) -> u16 {
    head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn header<'a>((head, _): &'a (String, String), name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(there, _)| *there == name))
        .map(|(_, value)| value)
}

fn with_blob(options: RegistryOptions) -> (Registry, String) {
    let registry = Registry::start(options);
    let digest = registry.blob("app", "text/plain", b"0123456789").digest;
    (registry, format!("/v2/app/blobs/{digest}"))
}

#[test]
fn blobs_come_whole_and_in_parts() {
    let (registry, path) = with_blob(RegistryOptions::default());
    let whole = get(&registry, &path, "");
    assert_eq!((status(&whole), whole.1.as_str()), (200, "0123456789"));
    let etag = header(&whole, "ETag").unwrap().to_owned();
    for (range, body, said) in [
        ("2-5", "2345", "2-5/10"),
        ("7-", "789", "7-9/10"),
        ("-1", "9", "9-9/10"),
        ("4-99", "456789", "4-9/10"),
    ] {
        let part = get(&registry, &path, &format!("Range: bytes={range}\r\nIf-Range: {etag}\r\n"));
        assert_eq!((status(&part), part.1.as_str()), (206, body), "{range}");
        assert_eq!(header(&part, "Content-Range"), Some(format!("bytes {said}").as_str()));
    }
    let beyond = get(&registry, &path, "Range: bytes=10-\r\n");
    assert_eq!((status(&beyond), header(&beyond, "Content-Range")), (416, Some("bytes */10")));
    assert_eq!(status(&get(&registry, &path, "Range: bytes=2-\r\nIf-Range: \"other\"\r\n")), 200);
    let head = ask(&registry.host(), "HEAD", &path, "", "");
    assert_eq!((header(&head, "Content-Length"), head.1.as_str()), (Some("10"), ""));
    assert_eq!(status(&get(&registry, "/v2/app/blobs/sha256:00", "")), 404);
    assert_eq!(registry.requests()[0].sent, 10);
}

#[test]
fn a_connection_takes_many_requests() {
    let (registry, path) = with_blob(RegistryOptions::default().chunked(true));
    let one = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let last = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = raw(&registry.host(), &format!("{one}{one}{last}"));
    assert_eq!(answer.matches("a\r\n0123456789\r\n0\r\n\r\n").count(), 3, "{answer}");
    let requests = registry.requests();
    assert!(
        requests.len() == 3 && requests.iter().all(|request| request.connection == requests[0].connection)
    );
}

#[test]
fn an_image_has_everything_it_names() {
    let registry = Registry::start(RegistryOptions::default());
    let layer = Layer::new(vec![0; 1024], Compression::Gzip);
    let written = registry.add_image("a/b", "latest", &Image::new([layer.clone()]));
    let accept = format!("Accept: {INDEX}, {MANIFEST}\r\n", INDEX = crate::images::INDEX);
    let manifest = get(&registry, "/v2/a/b/manifests/latest", &accept);
    assert_eq!(sha256(manifest.1.as_bytes()), written.manifest.digest);
    assert_eq!(header(&manifest, "Content-Type"), Some(MANIFEST));
    assert_eq!(status(&get(&registry, &format!("/v2/a/b/blobs/{}", layer.digest), "")), 200);
    assert_eq!(status(&get(&registry, "/v2/a/b/manifests/latest", "Accept: text/plain\r\n")), 404);
    assert!(get(&registry, "/v2/a/b/manifests/nope", &accept).1.contains("MANIFEST_UNKNOWN"));
    assert!(get(&registry, "/v2/c/manifests/latest", &accept).1.contains("NAME_UNKNOWN"));
}

#[test]
fn lists_have_pages() {
    let registry = Registry::start(RegistryOptions::default().page(2));
    let manifest = registry.manifest("app", MANIFEST, b"{}");
    for tag in ["a", "b", "c"] {
        registry.tag("app", tag, &manifest.digest);
        let about = json!({"artifactType": tag, "subject": {"digest": manifest.digest}});
        registry.manifest("app", MANIFEST, about.to_string().as_bytes());
    }
    let first = get(&registry, "/v2/app/tags/list", "");
    assert_eq!(first.1, r#"{"name":"app","tags":["a","b"]}"#);
    assert_eq!(header(&first, "Link"), Some("</v2/app/tags/list?last=b&n=2>; rel=\"next\""));
    let second = get(&registry, "/v2/app/tags/list?last=b&n=2", "");
    assert_eq!((second.1.as_str(), header(&second, "Link")), (r#"{"name":"app","tags":["c"]}"#, None));
    let path = format!("/v2/app/referrers/{}", manifest.digest);
    let first = get(&registry, &path, "");
    assert_eq!(first.1.matches("artifactType").count(), 2);
    assert!(header(&first, "Link").unwrap().contains("from=2"));
    let filtered = get(&registry, &format!("{path}?artifactType=b"), "");
    assert_eq!(
        (filtered.1.matches("artifactType").count(), header(&filtered, "OCI-Filters-Applied")),
        (1, Some("artifactType"))
    );
    registry.change(|options| options.referrers = false);
    assert_eq!(status(&get(&registry, &path, "")), 404);
}

#[test]
fn uploads_in_every_way() {
    let registry = Registry::start(RegistryOptions::default());
    let host = registry.host();
    let digest = sha256(b"hello");
    let begin =
        |query: &str, body: &str| ask(&host, "POST", &format!("/v2/app/blobs/uploads/{query}"), "", body);
    assert_eq!(status(&begin(&format!("?digest={digest}"), "hello")), 201);
    assert_eq!(registry.find_blob("app", &digest).unwrap(), b"hello");
    registry.remove_blob("app", &digest);

    let begun = begin("", "");
    let first = header(&begun, "Location").unwrap();
    let patched = ask(&host, "PATCH", first, "Content-Range: 0-2\r\n", "hel");
    assert_eq!((status(&patched), header(&patched, "Range")), (202, Some("0-2")));
    let next = header(&patched, "Location").unwrap();
    assert_eq!(status(&ask(&host, "PATCH", next, "Content-Range: 2-3\r\n", "lo")), 416);
    let put = ask(&host, "PUT", &format!("{next}&digest={digest}"), "", "lo");
    assert_eq!((status(&put), header(&put, "Docker-Content-Digest")), (201, Some(digest.as_str())));
    let mounted = ask(&host, "POST", &format!("/v2/b/blobs/uploads/?mount={digest}&from=app"), "", "");
    assert_eq!(status(&mounted), 201);
    assert!(registry.find_blob("b", &digest).is_some());

    let layer = json!({"mediaType": MANIFEST, "config": {"digest": digest}, "layers": [], "subject": {"digest": digest}});
    let kind = format!("Content-Type: {MANIFEST}\r\n");
    let put = ask(&host, "PUT", "/v2/app/manifests/v1", &kind, &layer.to_string());
    assert_eq!((status(&put), header(&put, "OCI-Subject")), (201, Some(digest.as_str())));
    assert!(ask(&host, "PUT", "/v2/c/manifests/v1", &kind, &layer.to_string()).1.contains("BLOB_UNKNOWN"));
    assert_eq!(registry.tags("app"), ["v1"]);
}

#[test]
fn tokens_have_scopes_and_uses() {
    let bearer = Bearer::default().user("me", "secret").identity("id").uses(Some(1)).realm(Realm::Other);
    let (registry, path) = with_blob(RegistryOptions::default().auth(Auth::Bearer(bearer)));
    let refused = get(&registry, &path, "");
    let challenge = header(&refused, "WWW-Authenticate").unwrap();
    let realm = registry.url(Place::Tokens, "/token");
    assert_eq!(
        challenge,
        format!("Bearer realm=\"{realm}\",service=\"testkit\",scope=\"repository:app:pull\"")
    );
    let tokens = registry.url(Place::Tokens, "");
    let tokens = tokens.strip_prefix("http://").unwrap();
    assert_eq!(status(&ask(tokens, "GET", "/token?scope=repository%3Aapp%3Apull", "", "")), 401);
    let basic = "Authorization: Basic bWU6c2VjcmV0\r\n";
    let answer = ask(tokens, "GET", "/token?scope=repository%3Aapp%3Apull", basic, "");
    assert!(answer.1.contains(r#""token":"token-1""#), "{answer:?}");
    assert_eq!(status(&get(&registry, &path, "Authorization: Bearer token-1\r\n")), 200);
    assert_eq!(status(&get(&registry, &path, "Authorization: Bearer token-1\r\n")), 401);
    let form =
        "grant_type=refresh_token&service=testkit&client_id=x&scope=repository:b:pull&refresh_token=id";
    assert_eq!(status(&ask(tokens, "POST", "/token", "", form)), 200);
    let scoped = get(&registry, &path, "Authorization: Bearer token-2\r\n");
    assert!(header(&scoped, "WWW-Authenticate").unwrap().contains("insufficient_scope"));
}

#[test]
fn basic_is_asked_for() {
    let (registry, path) = with_blob(RegistryOptions::default().auth(Auth::Basic("u".into(), "p".into())));
    assert_eq!(header(&get(&registry, &path, ""), "WWW-Authenticate"), Some("Basic realm=\"testkit\""));
    assert_eq!(status(&get(&registry, &path, "Authorization: Basic dTpw\r\n")), 200);
}

#[test]
fn the_storage_expires_and_records() {
    let (registry, path) = with_blob(RegistryOptions::default().blobs(Blobs::StorageOnce));
    let redirect = get(&registry, &path, "");
    assert_eq!(status(&redirect), 307);
    let location = header(&redirect, "Location").unwrap();
    let (host, path) = location.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let path = format!("/{path}");
    assert_eq!(ask(host, "GET", &path, "X-Test: 1\r\nRange: bytes=8-\r\n", "").1, "89");
    assert_eq!(status(&ask(host, "GET", &path, "", "")), 403);
    let there = &registry.requests()[1];
    assert_eq!((there.place, there.header("x-test"), there.status), (Place::Storage, Some("1"), 206));
}

#[test]
fn faults_hit_what_they_are_told() {
    let (registry, path) = with_blob(RegistryOptions::default());
    let check = |fault: Fault, headers: &str, expected: (u16, &str)| {
        registry.inject(Rule::new("/blobs/", fault.clone()).times(1));
        let answer = get(&registry, &path, headers);
        assert_eq!((status(&answer), answer.1.as_str()), expected, "{fault:?}");
        answer
    };
    let cut = check(Fault::CutAfter(4), "", (200, "0123"));
    assert_eq!(header(&cut, "Content-Length"), Some("10"));
    let short = check(Fault::Truncate(4), "", (200, "0123"));
    assert_eq!(header(&short, "Content-Length"), Some("4"));
    check(Fault::IgnoreRange, "Range: bytes=5-\r\n", (200, "0123456789"));
    check(Fault::FlipByte(7), "Range: bytes=5-\r\n", (206, "56689"));
    let shifted = check(Fault::ShiftContentRange(1), "Range: bytes=5-\r\n", (206, "56789"));
    assert_eq!(header(&shifted, "Content-Range"), Some("bytes 6-10/10"));
    let later = check(Fault::StartLater(2), "Range: bytes=5-\r\n", (206, "789"));
    assert_eq!(header(&later, "Content-Range"), Some("bytes 7-9/10"));
    let total = check(Fault::ShiftTotal(3), "Range: bytes=5-\r\n", (206, "56789"));
    assert_eq!(header(&total, "Content-Range"), Some("bytes 5-9/13"));
    check(Fault::ShortRange(2), "Range: bytes=5-\r\n", (206, "56"));
    assert_eq!(
        header(&check(Fault::NoContentRange, "Range: bytes=9-\r\n", (206, "9")), "Content-Range"),
        None
    );
    check(Fault::Close, "", (0, ""));
    check(Fault::Raw(b"HTTP/1.1 200 OK\r\n\r\nx".to_vec()), "", (200, "x"));
    let busy = Rule::new("/blobs/", Fault::busy(429, "3")).after(1).times(2).method("GET");
    registry.inject(busy);
    let statuses: Vec<u16> = (0..4).map(|_| status(&get(&registry, &path, ""))).collect();
    assert_eq!(statuses, [200, 429, 429, 200]);
    registry.inject(Rule::new("", Fault::LongLength(1)));
    assert_eq!(header(&get(&registry, &path, ""), "Content-Length"), Some("11"));
    registry.heal();
    assert_eq!(status(&get(&registry, &path, "")), 200);
}

#[test]
fn a_stall_ends_when_it_is_released() {
    let (registry, path) = with_blob(RegistryOptions::default());
    registry.inject(Rule::new("/blobs/", Fault::Stall(3, None)));
    std::thread::scope(|scope| {
        let mut stream = TcpStream::connect(registry.host()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"012") {
            stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        let reader = scope.spawn(move || {
            let mut rest = String::new();
            stream.read_to_string(&mut rest).unwrap();
            rest
        });
        // Released again until it took: the answer may not be waiting yet.
        while !reader.is_finished() {
            registry.release();
            std::thread::yield_now();
        }
        assert_eq!(reader.join().unwrap(), "3456789");
    });
}

#[test]
fn dropping_ends_a_stall_and_an_endless_answer() {
    let (registry, path) = with_blob(RegistryOptions::default());
    registry.inject(Rule::new("/blobs/", Fault::Stall(3, None)).times(1));
    registry.inject(Rule::new("/blobs/", Fault::Endless).after(1));
    let mut streams = [0, 1].map(|_| TcpStream::connect(registry.host()).unwrap());
    for stream in &mut streams {
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 10]).unwrap();
    }
    drop(registry);
    for mut stream in streams {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 300 << 20);
    }
}

#[test]
fn tls_asks_for_a_certificate_where_told() {
    let registry = Registry::start(RegistryOptions::default().tls(Tls::ClientCertificate));
    let certificates = registry.certificates().unwrap();
    assert!(registry.url(Place::Registry, "/v2/").starts_with("https://"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificates.authority.as_bytes()).unwrap()).unwrap();
    let client = || {
        rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
    };
    let chain = vec![CertificateDer::from_pem_slice(certificates.client.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(certificates.client_key.as_bytes()).unwrap();
    let ask = |config: rustls::ClientConfig| {
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(registry.host()).unwrap());
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    assert!(ask(client().with_no_client_auth()).is_err());
    assert!(ask(client().with_client_auth_cert(chain, key).unwrap()).unwrap().starts_with("HTTP/1.1 200"));
}
