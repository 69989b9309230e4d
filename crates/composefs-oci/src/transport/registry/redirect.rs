//! One HTTP request and the redirects it leads to, by our rules and not by the library's.
//!
//! What proves who we are goes to the origin alone: scheme, host and port of the first address. Once an answer has
//! led elsewhere, nothing leads it back.
//!
//! # Format
//! `docs/formats/transports.md`, section 2, redirects.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Body, Method, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION},
};

use super::{
    fault::{Asked, Failure, Fault, Sent, Subject, read_little},
    proxies::Proxies,
    sending::Progress,
};

/// The most redirects that are followed.
const REDIRECTS_MAX: usize = 10;
/// How much of an answer nobody needs is read, so that its connection can be used again, in bytes.
const DRAIN_MAX: usize = 16 * 1024;

/// A request's body.
#[derive(Clone)]
pub(super) struct Payload {
    /// Makes it, again for each try.
    pub(super) make: Arc<dyn Fn() -> Body + Send + Sync>,
    /// It is itself what proves who we are, and goes nowhere but to the origin.
    pub(super) secret: bool,
}

/// The connections to some place.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    /// For requests that are small. It minds itself how long nothing comes.
    pub(super) asking: reqwest::Client,
    /// For requests that carry something. It waits for ever.
    pub(super) sending: reqwest::Client,
    /// How long nothing may go forward.
    pub(super) patience: Duration,
}

impl Connections {
    /// Sends a request whose answer comes once the registry has dealt with all of its body; `None` when nothing has
    /// gone forward for too long.
    async fn send(&self, request: RequestBuilder, body: Option<Body>) -> Option<reqwest::Result<Response>> {
        let (progress, body) = Progress::of(body);
        let request = body.into_iter().fold(request, RequestBuilder::body);
        progress.wait(self.patience, request.send()).await
    }
}

/// The connections of one registry.
#[derive(Debug)]
pub(super) struct Web {
    /// For the registry itself; may show a client certificate.
    pub(super) own: Connections,
    /// For wherever it sends us; never shows one.
    pub(super) elsewhere: Connections,
    /// Neither TLS nor certificates are insisted on.
    pub(super) insecure: bool,
    /// Which proxy both go through.
    pub(super) proxies: Proxies,
}

/// A request, as far as it is the same wherever redirects lead.
pub(super) struct Call<'a> {
    pub(super) asked: &'a Asked,
    /// Registry and repository.
    pub(super) name: &'a str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// For the origin only.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) payload: Option<&'a Payload>,
    /// The credentials that are known, whether used or not.
    pub(super) sent: Sent<'a>,
}

/// An answer that is no redirect.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) response: Response,
    /// Who answered: host and port.
    pub(super) host: String,
    /// Where redirects led.
    pub(super) redirected: Option<Url>,
    /// The answer is the origin's own.
    pub(super) home: bool,
}

impl Call<'_> {
    pub(super) fn subject<'a>(&'a self, host: &'a str) -> Subject<'a> {
        let sent = Sent { header: self.authorization.as_ref(), ..self.sent };
        Subject { asked: self.asked, name: self.name, host, sent }
    }
}

impl Web {
    /// Returns the same without a client certificate.
    pub(super) fn nobodys(&self) -> Self {
        let client = &self.elsewhere;
        let proxies = self.proxies.clone();
        Self { own: client.clone(), elsewhere: client.clone(), insecure: self.insecure, proxies }
    }

    /// Sends a request and follows where it leads; any status that is no redirect is an answer.
    pub(super) async fn call(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        let (mut url, mut method, mut home, mut with_payload) =
            (call.url.clone(), call.method.clone(), true, true);
        let mut redirected = None;
        for _ in 0..=REDIRECTS_MAX {
            let host = host_and_port(&url);
            let subject = call.subject(&host);
            let connections = if home { &self.own } else { &self.elsewhere };
            let carries = matches!(method, Method::PUT | Method::PATCH);
            let client = if carries { &connections.sending } else { &connections.asking };
            let mut request = client
                .request(method.clone(), url.clone())
                .headers(call.headers.clone())
                .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            if let Some(authorization) = call.authorization.as_ref().filter(|_| home) {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            let body = call.payload.filter(|_| with_payload).map(|payload| (payload.make)());
            let answer = match body {
                // Also one without a body may end what others began.
                body if carries => connections.send(request, body).await,
                Some(body) => Some(request.body(body).send().await),
                None => Some(request.send().await),
            };
            let response = answer
                .ok_or_else(|| subject.timed_out())?
                .map_err(|error| subject.broken_by(error, self.proxies.proxy_for(&url)))?;
            let status = response.status();
            tracing::trace!(%method, host, status = status.as_u16(), asked = ?call.asked, "answer");
            if !is_redirect(status) {
                return Ok(Reply { response, host, redirected, home });
            }
            let next = self.target(&url, &response, &subject)?;
            if status == StatusCode::SEE_OTHER && method != Method::HEAD {
                (method, with_payload) = (Method::GET, false);
            }
            home = home && same_origin(&next, &call.url);
            if !home && with_payload && call.payload.is_some_and(|payload| payload.secret) {
                return Err(refused(&subject, "a secret to another place"));
            }
            drain(response).await;
            url = next;
            redirected = Some(url.clone());
        }
        let host = host_and_port(&url);
        Err(refused(&call.subject(&host), "without end"))
    }

    fn target(&self, from: &Url, response: &Response, subject: &Subject<'_>) -> Result<Url, Failure> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| refused(subject, "without saying where"))?;
        let mut url = from.join(location).map_err(|_| refused(subject, "to what is no address"))?;
        // Of user and password in an address none can be ours.
        let cleaned = url.set_username("").and_then(|()| url.set_password(None));
        match (from.scheme(), url.scheme()) {
            (_, "https") | ("http", "http") => {}
            ("https", "http") if self.insecure => {}
            ("https", "http") => return Err(refused(subject, "from TLS to none")),
            _ => return Err(refused(subject, "to what is neither http nor https")),
        }
        cleaned.map_err(|()| refused(subject, "to what is no address"))?;
        url.set_fragment(None);
        Ok(url)
    }
}

fn refused(subject: &Subject<'_>, reason: &str) -> Failure {
    let fault = Fault::Redirect { host: subject.host.to_owned(), reason: reason.to_owned() };
    Failure::fatal(subject.error(fault))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Reads on a little where nobody needs the answer, so that its connection can be used again.
pub(super) async fn drain(response: Response) {
    if response.content_length().is_some_and(|length| length <= DRAIN_MAX as u64) {
        let _ = read_little(response, DRAIN_MAX).await;
    }
}

/// Tells whether two addresses have the same scheme, host and port.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Returns the address of a path, below the repository's or from the root on, which must be of the same origin: what
/// proves who we are is sent there.
pub(super) fn address(base: &Url, path: &str) -> Option<Url> {
    base.join(path).ok().filter(|url| same_origin(url, base))
}

/// Tells whether a path that a registry has named is one of a repository, and not another host (`//x`), another scheme
/// (`http:`) or a way out.
pub(super) fn stays_below(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    !path.starts_with(['/', '\\']) && !first.contains(':') && path.split('/').all(|part| part != "..")
}

/// Returns an address' host and, unless it is the scheme's own, port.
pub(super) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_with_the_registry() {
        let base: Url = "https://h.io/v2/a/".parse().unwrap();
        let at = |path: &str| address(&base, path).map(|url| url.to_string());
        assert_eq!(at("blobs/uploads/x?y=z").unwrap(), "https://h.io/v2/a/blobs/uploads/x?y=z");
        assert_eq!(at("manifests/sha256:0").unwrap(), "https://h.io/v2/a/manifests/sha256:0");
        assert_eq!(at("/v2/").unwrap(), "https://h.io/v2/");
        for path in
            ["//evil/up", "\\\\evil/up", "http://evil/up", "http://h.io/up", "https://h.io:1/up", "x:y"]
        {
            assert_eq!(at(path), None, "{path}");
        }
        assert!(stays_below("blobs/uploads/x:y") && stays_below(""));
        for path in ["/evil/up", "//evil", "\\evil", "http://evil/up", "x:y", "a/../../b", ".."] {
            assert!(!stays_below(path), "{path}");
        }
    }

    #[test]
    fn origins() {
        let same = |one: &str, other: &str| same_origin(&one.parse().unwrap(), &other.parse().unwrap());
        assert!(same("https://x.y/a", "https://x.y:443/b?c"));
        assert!(!same("https://x.y/a", "http://x.y/a"));
        assert!(!same("https://x.y/a", "https://x.y:444/a"));
        assert!(!same("https://x.y/a", "https://z.x.y/a"));
        assert!(!same("http://127.0.0.1:1/a", "http://127.0.0.1:2/a"));
        assert_eq!(host_and_port(&"https://x.y:443/a".parse().unwrap()), "x.y");
        assert_eq!(host_and_port(&"http://[::1]:5000/a".parse().unwrap()), "[::1]:5000");
    }
}
