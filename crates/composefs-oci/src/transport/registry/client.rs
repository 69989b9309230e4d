//! One repository of one registry: the one way a request goes, whatever it is for.
//!
//! Address, what proves who we are, redirects, a challenge answered once, and a failure judged: in [`Client::send`].
//!
//! # Format
//! `docs/formats/transports.md`, section 2.

use std::{
    collections::HashMap,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::{
    Method, Response, StatusCode, Url,
    header::{
        CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, RANGE,
        WWW_AUTHENTICATE,
    },
};

use crate::{digest::Digest, error::Error};

use super::{
    challenge,
    fault::{Asked, Failure, Fault, Sent, Subject},
    header::content_range,
    hosts::Endpoint,
    redirect::{Call, Payload, Reply, Web, address, drain, host_and_port, stays_below},
    retry::{Budget, RetryOptions},
    token::{Auth, Purpose},
};

/// The most challenges that one request answers.
const CHALLENGES_MAX: usize = 4;

/// How many places of blobs are remembered.
const LOCATIONS_MAX: usize = 64;

/// One repository of one registry.
#[derive(Debug)]
pub(super) struct Client {
    /// Registry and repository.
    name: String,
    /// Where the repository is with TLS.
    with_tls: Url,
    /// Where it is without, which only an insecure registry may be.
    without_tls: Option<Url>,
    /// Which of both answers.
    settled: OnceLock<Url>,
    web: Web,
    auth: Auth,
    /// It has answered once, so that it is there.
    answered: AtomicBool,
    /// Where the registry keeps blobs: saves a request for each further range.
    locations: Mutex<HashMap<Digest, Url>>,
}

/// What is asked of a registry.
pub(super) struct Request {
    pub(super) asked: Asked,
    pub(super) method: Method,
    /// Below the repository's address, such as `manifests/v1`; with a query, if there is one.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) purpose: Purpose,
    pub(super) payload: Option<Payload>,
}

impl Request {
    pub(super) fn get(asked: Asked, path: impl Into<String>) -> Self {
        Self {
            asked,
            method: Method::GET,
            path: path.into(),
            headers: HeaderMap::new(),
            purpose: Purpose::Pull,
            payload: None,
        }
    }

    pub(super) fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Asks for a range, if there is one, of the version that `if_range` names.
    fn range(self, range: Option<ByteRange>, if_range: Option<&str>) -> Self {
        let Some((first, last)) = range else { return self };
        let last = last.map_or_else(String::new, |last| last.to_string());
        let range = HeaderValue::from_str(&format!("bytes={first}-{last}")).map(|value| (RANGE, value));
        let if_range =
            if_range.and_then(|etag| HeaderValue::from_str(etag).ok()).map(|value| (IF_RANGE, value));
        range.into_iter().chain(if_range).fold(self, |request, (name, value)| request.header(name, value))
    }
}

/// Bytes of a blob: the first, and the last if it is not the end.
pub(super) type ByteRange = (u64, Option<u64>);

/// What came of asking for a blob or a part of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// All of it, from the first byte, also where a part was asked for.
    Whole {
        response: Response,
        /// Its size in bytes.
        total: Option<u64>,
        /// What names this version of it, if that is strong.
        etag: Option<String>,
        host: String,
    },
    /// A part, from the first byte asked for.
    Part {
        response: Response,
        /// Its last byte.
        end: u64,
        /// The size of all of it, in bytes.
        total: Option<u64>,
        etag: Option<String>,
        host: String,
    },
    /// The first byte asked for is behind the end.
    Unsatisfiable {
        /// The size of all of it, in bytes.
        total: Option<u64>,
    },
}

impl Client {
    /// Prepares to ask; nothing is sent.
    ///
    /// # Errors
    /// [`Error::Connections`] if the name makes no address.
    pub(super) fn new(endpoint: &Endpoint, web: Web, auth: Auth) -> Result<Self, Error> {
        let name = endpoint.reference.name();
        let (host, repository) = (endpoint.api_host(), endpoint.reference.path());
        let address = |scheme: &str| {
            let text = format!("{scheme}://{host}/v2/{repository}/");
            text.parse::<Url>().map_err(|error| Error::Connections(format!("{host}: {error}")))
        };
        let without_tls = if web.insecure { Some(address("http")?) } else { None };
        Ok(Self {
            name,
            with_tls: address("https")?,
            without_tls,
            settled: OnceLock::new(),
            web,
            auth,
            answered: AtomicBool::new(false),
            locations: Mutex::new(HashMap::new()),
        })
    }

    /// Sets what it goes by in messages.
    pub(super) fn called(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Returns registry and repository.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the subject of an answer from `host`.
    pub(super) fn subject<'a>(&'a self, asked: &'a Asked, host: &'a str) -> Subject<'a> {
        Subject { asked, name: &self.name, host, sent: self.auth.sent() }
    }

    /// Makes an error of an answer that makes no sense.
    pub(super) fn senseless(&self, asked: &Asked, reason: &str) -> Failure {
        let host = self.settled.get().unwrap_or(&self.with_tls);
        self.subject(asked, &host_and_port(host)).senseless(reason)
    }

    /// Makes an error of a body that ended before it should.
    pub(super) fn early(&self, asked: &Asked) -> Failure {
        let host = self.settled.get().unwrap_or(&self.with_tls);
        self.subject(asked, &host_and_port(host)).early()
    }

    /// Returns what to ask for to get to an address that the registry named, by its path and query: behind a proxy
    /// a registry may not know its own scheme and host. `None` if it is no part of the repository.
    pub(super) fn path_of(&self, url: &Url) -> Option<String> {
        let path = url.path().strip_prefix(self.with_tls.path()).filter(|path| stays_below(path))?;
        Some(url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}")))
    }

    /// Sends a request; the answer is a success.
    pub(super) async fn send(&self, request: &Request) -> Result<Reply, Failure> {
        let result = match (self.settled.get(), &self.without_tls) {
            (Some(base), _) => self.authorized(request, base).await,
            (None, None) => self.authorized(request, &self.with_tls).await,
            (None, Some(without_tls)) => match self.authorized(request, &self.with_tls).await {
                Err(first) if first.unconnected => match self.authorized(request, without_tls).await {
                    // Both failed: where nobody answered TLS, the second tells more.
                    Err(second) if second.unconnected => {
                        let no_tls = matches!(first.error.fault, Fault::NoTls { .. } | Fault::Tls { .. });
                        Err(if no_tls { second } else { first })
                    }
                    result => {
                        let _ = self.settled.set(without_tls.clone());
                        result
                    }
                },
                result => {
                    let _ = self.settled.set(self.with_tls.clone());
                    result
                }
            },
        };
        match result {
            Ok(reply) => {
                self.answered.store(true, Ordering::Relaxed);
                Ok(reply)
            }
            Err(mut failure) => {
                let wrong = matches!(
                    failure.error.fault,
                    Fault::Refused { .. }
                        | Fault::UnknownHost { .. }
                        | Fault::Proxy { .. }
                        | Fault::Tls { .. }
                );
                if wrong && !self.answered.load(Ordering::Relaxed) {
                    // More likely a name that is wrong than one that will be right in a minute.
                    failure.transient = false;
                }
                Err(failure)
            }
        }
    }

    /// Sends a request again until it succeeds or trying again won't help.
    pub(super) async fn patiently(
        &self,
        request: &Request,
        retries: &RetryOptions,
    ) -> Result<Reply, Failure> {
        let mut budget = Budget::new(retries);
        loop {
            match self.send(request).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => budget.wait(failure).await?,
            }
        }
    }

    /// Sends a request with what proves who we are, and answers a challenge: once, and again only while others used
    /// the same token and may have used it up.
    async fn authorized(&self, request: &Request, base: &Url) -> Result<Reply, Failure> {
        let host = host_and_port(base);
        let url = address(base, &request.path).ok_or_else(|| {
            self.subject(&request.asked, &host).senseless("what was asked makes no address there")
        })?;
        let purpose = &request.purpose;
        let mut header = self.auth.header(&self.web, base, purpose).await.map_err(Failure::later)?;
        let mut reply = self.call(request, url.clone(), header.clone()).await?;
        for round in 0..CHALLENGES_MAX {
            let refused = reply.response.status() == StatusCode::UNAUTHORIZED && reply.home;
            if !refused || (round > 0 && !self.auth.is_shared(purpose, header.as_ref()).await) {
                break;
            }
            let values = reply.response.headers().get_all(WWW_AUTHENTICATE);
            let challenge = challenge::best(values.iter().map(HeaderValue::as_bytes));
            let answer = self.auth.answer(&self.web, base, purpose, challenge, header.as_ref()).await;
            let Some(answer) = answer.map_err(Failure::later)? else { break };
            drain(reply.response).await;
            header = Some(answer);
            reply = self.call(request, url.clone(), header.clone()).await?;
        }
        self.judged(request, reply, header.as_ref()).await
    }

    async fn call(
        &self,
        request: &Request,
        url: Url,
        authorization: Option<HeaderValue>,
    ) -> Result<Reply, Failure> {
        let call = Call {
            asked: &request.asked,
            name: &self.name,
            method: request.method.clone(),
            url,
            headers: request.headers.clone(),
            authorization,
            payload: request.payload.as_ref(),
            sent: self.auth.sent(),
        };
        self.web.call(&call).await
    }

    /// Tells answers that can be used from failures.
    async fn judged(
        &self,
        request: &Request,
        reply: Reply,
        header: Option<&HeaderValue>,
    ) -> Result<Reply, Failure> {
        let status = reply.response.status();
        let ranged = request.headers.contains_key(RANGE);
        if status.is_success() || (ranged && status == StatusCode::RANGE_NOT_SATISFIABLE) {
            return Ok(reply);
        }
        let subject = self.subject(&request.asked, &reply.host);
        let sent = Sent { header, ..subject.sent };
        Err(Subject { sent, ..subject }.judge(reply.response).await)
    }

    /// Asks for a blob, or from the first to the last byte of a range, both included.
    ///
    /// `if_range` is the etag of what the other parts came from: if the blob is another one now, all of it comes.
    pub(super) async fn blob(
        &self,
        digest: &Digest,
        range: Option<ByteRange>,
        if_range: Option<&str>,
    ) -> Result<Answer, Failure> {
        let asked = Asked::Blob(digest.to_string());
        let request = Request::get(asked, format!("blobs/{digest}")).range(range, if_range);
        let reply = match self.known_place(digest, &request).await {
            Some(reply) => reply,
            None => self.send(&request).await?,
        };
        if range.is_some() {
            self.remember(digest, reply.redirected.as_ref().filter(|_| !reply.home));
        }
        self.understood(&request.asked, range, reply)
    }

    /// Asks where the last range of the blob came from, without the way over the registry. The address may have aged,
    /// which is no failure.
    async fn known_place(&self, digest: &Digest, request: &Request) -> Option<Reply> {
        if !request.headers.contains_key(RANGE) {
            return None;
        }
        let url = self.locations.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()?;
        let reply = self.call_elsewhere(request, &url, self.web.insecure).await;
        match reply {
            Ok(reply) if matches!(reply.response.status().as_u16(), 200 | 206 | 416) => {
                let redirected = Some(url);
                Some(Reply { redirected, home: false, ..reply })
            }
            _ => {
                self.remember(digest, None);
                None
            }
        }
    }

    /// Asks for a blob at an address outside of the registry, which its descriptor names; nobody's credentials go
    /// there.
    pub(super) async fn foreign_blob(
        &self,
        digest: &Digest,
        url: &Url,
        range: Option<ByteRange>,
        if_range: Option<&str>,
    ) -> Result<Answer, Failure> {
        let request = Request::get(Asked::Blob(digest.to_string()), "").range(range, if_range);
        let reply = self.call_elsewhere(&request, url, false).await?;
        let reply = self.judged(&request, reply, None).await?;
        self.understood(&request.asked, range, reply)
    }

    /// Sends a request to an address outside of the registry.
    async fn call_elsewhere(&self, request: &Request, url: &Url, insecure: bool) -> Result<Reply, Failure> {
        let web = Web { insecure, ..self.web.nobodys() };
        let call = Call {
            asked: &request.asked,
            name: &self.name,
            method: request.method.clone(),
            url: url.clone(),
            headers: request.headers.clone(),
            authorization: None,
            payload: None,
            sent: Sent::default(),
        };
        web.call(&call).await
    }

    fn remember(&self, digest: &Digest, place: Option<&Url>) {
        let mut locations = self.locations.lock().unwrap_or_else(PoisonError::into_inner);
        match place {
            Some(url) => {
                if locations.len() >= LOCATIONS_MAX && !locations.contains_key(digest) {
                    locations.clear();
                }
                locations.insert(digest.clone(), url.clone());
            }
            None => {
                locations.remove(digest);
            }
        }
    }

    fn understood(&self, asked: &Asked, range: Option<ByteRange>, reply: Reply) -> Result<Answer, Failure> {
        let Reply { response, host, .. } = reply;
        let subject = self.subject(asked, &host);
        let headers = response.headers();
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        if text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            return Err(subject.senseless("it encodes a blob, which nobody asked for"));
        }
        let etag = text(ETAG).filter(|etag| etag.starts_with('"')).map(str::to_owned);
        let part = text(CONTENT_RANGE).and_then(content_range).map(|part| (part.range, part.total));
        match (response.status(), range, part) {
            (StatusCode::PARTIAL_CONTENT, Some((first, last)), Some((Some((start, end)), total))) => {
                if start != first || last.is_some_and(|last| end > last) {
                    return Err(subject.senseless("it gives another part of the blob than was asked for"));
                }
                Ok(Answer::Part { response, end, total, etag, host })
            }
            (StatusCode::PARTIAL_CONTENT, ..) => {
                Err(subject.senseless("it gives a part of the blob and does not say which"))
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, _, part) => {
                Ok(Answer::Unsatisfiable { total: part.and_then(|(_, total)| total) })
            }
            _ => {
                let total = response.content_length();
                Ok(Answer::Whole { response, total, etag, host })
            }
        }
    }

    /// Asks whether the repository has a blob; returns its size in bytes.
    pub(super) async fn has_blob(
        &self,
        digest: &Digest,
        purpose: Purpose,
        retries: &RetryOptions,
    ) -> Result<Option<u64>, Failure> {
        let mut request = Request::get(Asked::Blob(digest.to_string()), format!("blobs/{digest}"));
        request = request.method(Method::HEAD);
        request.purpose = purpose;
        match self.patiently(&request, retries).await {
            Ok(reply) => {
                let length = reply.response.headers().get(reqwest::header::CONTENT_LENGTH);
                Ok(Some(length.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default()))
            }
            Err(failure) if failure.error.is_absent() => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}
