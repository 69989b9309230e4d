//! An answer that is no success, or none at all, becomes a failure: what it was, and whether trying again may help.
//!
//! # Format
//! OCI distribution-spec, error codes; `docs/formats/transports.md`, section 2.

use std::{
    error::Error as StdError,
    io,
    time::{Duration, SystemTime},
};

use reqwest::{
    Response, StatusCode,
    header::{self, HeaderMap},
};

use crate::credentials::SafeUrl;

use super::{
    super::header::retry_after,
    Asked, Cause, Fault, RegistryError,
    sent::{Sent, one_line},
};

/// The largest error body that is read, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// How long an answer may take that is not needed.
const LITTLE_TIME: Duration = Duration::from_secs(60);
/// The longest text of a registry that is passed on, in characters.
const SAID_MAX: usize = 300;

/// A request that failed, and what may be done next.
#[derive(Debug)]
pub(in super::super) struct Failure {
    pub(in super::super) error: RegistryError,
    /// Trying again may help.
    pub(in super::super) transient: bool,
    /// It will not help before this much time.
    pub(in super::super) retry_after: Option<Duration>,
    /// No connection came about, so nothing was sent.
    pub(in super::super) unconnected: bool,
}

impl Failure {
    pub(in super::super) const fn fatal(error: RegistryError) -> Self {
        Self { error, transient: false, retry_after: None, unconnected: false }
    }

    /// Tells whether it is an answer that makes no sense.
    pub(in super::super) const fn is_senseless(&self) -> bool {
        matches!(self.error.fault, Fault::Answer { .. })
    }

    /// Makes it one that came after the registry had answered.
    pub(in super::super) fn later(self) -> Self {
        Self { unconnected: false, ..self }
    }
}

impl From<Failure> for crate::Error {
    fn from(failure: Failure) -> Self {
        Self::Registry(Box::new(failure.error))
    }
}

/// For whom an answer is judged.
#[derive(Clone, Debug)]
pub(in super::super) struct Subject<'a> {
    pub(in super::super) asked: &'a Asked,
    /// Registry and repository.
    pub(in super::super) name: &'a str,
    /// Whom the answer is from: host and port.
    pub(in super::super) host: &'a str,
    /// What must not come back in its words.
    pub(in super::super) sent: Sent<'a>,
}

impl Subject<'_> {
    pub(in super::super) fn error(&self, fault: Fault) -> RegistryError {
        let by_hand = self.sent.by_hand;
        RegistryError { asked: self.asked.clone(), name: self.name.to_owned(), by_hand, fault }
    }

    /// Makes a failure of an answer that makes no sense.
    pub(in super::super) fn senseless(&self, reason: impl Into<String>) -> Failure {
        Failure::fatal(self.error(Fault::Answer { host: self.host.to_owned(), reason: reason.into() }))
    }

    /// Makes the failure of a body that ended before it should.
    pub(in super::super) fn early(&self) -> Failure {
        let cause = io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ended early");
        let fault = Fault::Broken { host: self.host.to_owned(), source: Box::new(cause) };
        Failure { transient: true, ..Failure::fatal(self.error(fault)) }
    }

    /// Makes the failure of a request on which nothing has gone forward for too long.
    pub(in super::super) fn timed_out(&self) -> Failure {
        let fault = Fault::TimedOut { host: self.host.to_owned() };
        Failure { transient: true, ..Failure::fatal(self.error(fault)) }
    }

    /// Judges an answer whose status is no success.
    pub(in super::super) async fn judge(&self, response: Response) -> Failure {
        let status = response.status();
        let after = after(response.headers());
        let body = read_little(response, BODY_MAX).await.unwrap_or_default();
        self.judge_body(status, after, &body)
    }

    fn judge_body(&self, status: StatusCode, after: Option<Duration>, body: &[u8]) -> Failure {
        let errors = parse(body);
        let has = |code: &str| errors.iter().any(|error| error.code.eq_ignore_ascii_case(code));
        let said = errors.first().map(|said| said.text(&self.sent)).filter(|text| !text.is_empty());
        let host = self.host.to_owned();
        let given = self.sent.login.is_some();
        let what = match self.asked {
            Asked::Manifest(wanted) | Asked::Publish(wanted) if wanted.contains(':') => "manifest",
            Asked::Manifest(_) | Asked::Publish(_) => "tag",
            Asked::Blob(_) => "blob",
            Asked::Upload => "upload",
            _ => "thing",
        };
        let fault = match status.as_u16() {
            429 => Fault::RateLimited { host, after, said },
            _ if has("TOOMANYREQUESTS") => Fault::RateLimited { host, after, said },
            401 => Fault::Unauthorized { host, given, said },
            _ if has("UNAUTHORIZED") && status.is_client_error() => Fault::Unauthorized { host, given, said },
            403 => Fault::Denied { host, given, said },
            _ if has("DENIED") => Fault::Denied { host, given, said },
            // An upload that has aged is another matter.
            404 if matches!(self.asked, Asked::Upload | Asked::Publish(_)) && !has("BLOB_UPLOAD_UNKNOWN") => {
                Fault::TakesNone { host, said }
            }
            404 if has("NAME_UNKNOWN") || matches!(self.asked, Asked::Tags) => {
                Fault::NoRepository { host, said }
            }
            404 => Fault::NotFound { host, what, said },
            status => Fault::Status { host, status, said },
        };
        let error = self.error(fault);
        Failure { transient: error.is_transient(), retry_after: after, ..Failure::fatal(error) }
    }

    /// As [`Subject::broken`]; where no connection came about, it is the proxy's failure if one is on the way.
    pub(in super::super) fn broken_by(&self, error: reqwest::Error, proxy: Option<SafeUrl>) -> Failure {
        let is_connect = error.is_connect();
        let error = error.without_url();
        let cause = if error.is_timeout() { "it does not answer in time".into() } else { root(&error) };
        let failure = self.broken(error);
        let (host, fault) = (self.host.to_owned(), &failure.error.fault);
        let unspecific = matches!(
            fault,
            Fault::UnknownHost { .. } | Fault::Refused { .. } | Fault::TimedOut { .. } | Fault::Broken { .. }
        );
        match proxy.filter(|_| is_connect && unspecific) {
            Some(proxy) => {
                let fault = Fault::Proxy { host, proxy: proxy.to_string(), source: cause };
                Failure { error: self.error(fault), ..failure }
            }
            None => failure,
        }
    }

    /// Judges a request without an answer, or an answer that broke off.
    pub(in super::super) fn broken(&self, error: reqwest::Error) -> Failure {
        let host = self.host.to_owned();
        let unconnected = error.is_connect();
        let (timed_out, dns) = (error.is_timeout(), error.is_dns());
        let error = error.without_url();
        let io = find::<io::Error>(&error).map(io::Error::kind);
        let fault = if dns {
            Fault::UnknownHost { host, source: root(&error) }
        } else if let Some(tls) = find::<rustls::Error>(&error) {
            tls_fault(host, tls)
        } else if unconnected && io == Some(io::ErrorKind::UnexpectedEof) {
            Fault::Tls { host, source: root(&error) }
        } else if timed_out {
            Fault::TimedOut { host }
        } else if io == Some(io::ErrorKind::ConnectionRefused) {
            Fault::Refused { host }
        } else {
            Fault::Broken { host, source: root(&error) }
        };
        let error = self.error(fault);
        // A handshake that broke off may come about the next time, and one that was refused will not.
        let transient = error.is_transient() || io == Some(io::ErrorKind::UnexpectedEof);
        Failure { transient, unconnected, ..Failure::fatal(error) }
    }
}

fn tls_fault(host: String, error: &rustls::Error) -> Fault {
    use rustls::AlertDescription as Alert;
    let source: Cause = error.clone().into();
    match error {
        rustls::Error::InvalidCertificate(_) => Fault::Untrusted { host, source },
        rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => Fault::NoTls { host },
        rustls::Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked,
        ) => Fault::WantsCertificate { host, source },
        _ => Fault::Tls { host, source },
    }
}

/// Finds the innermost error of a type among the causes, also where an I/O error carries it.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut found = None;
    let mut next = Some(error);
    // Chains are short; the bound is for one that bites its tail.
    for _ in 0..32 {
        let Some(error) = next else { break };
        found = error.downcast_ref::<T>().or(found);
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        };
    }
    found
}

/// Returns the text of the last cause, which is the one that says something.
fn root(error: &(dyn StdError + 'static)) -> Cause {
    let mut last = error;
    for _ in 0..32 {
        match last.source() {
            Some(source) => last = source,
            None => break,
        }
    }
    let text = last.to_string();
    clean(text.strip_prefix("failed to lookup address information: ").unwrap_or(&text)).into()
}

/// One error of a registry's answer.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Said {
    #[serde(deserialize_with = "lenient")]
    code: String,
    #[serde(deserialize_with = "lenient")]
    message: String,
}

/// Takes text, and nothing of what is no text.
fn lenient<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value: serde_json::Value = serde::Deserialize::deserialize(deserializer)?;
    Ok(value.as_str().map(str::to_owned).unwrap_or_default())
}

impl Said {
    /// Returns what may be shown of it. What was sent goes before the cut, which could leave a part of it.
    fn text(&self, sent: &Sent<'_>) -> String {
        let [code, message] = [&self.code, &self.message].map(|text| cut(&sent.hide(text)));
        match (code.as_str(), message.as_str()) {
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        }
    }
}

/// Makes one short line of text from outside, without control characters.
fn clean(text: &str) -> String {
    cut(&one_line(text))
}

fn cut(line: &str) -> String {
    let line = line.trim();
    match line.char_indices().nth(SAID_MAX) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

fn parse(body: &[u8]) -> Vec<Said> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Errors {
        errors: Vec<Said>,
        /// What some token servers say instead.
        #[serde(deserialize_with = "lenient")]
        details: String,
        #[serde(deserialize_with = "lenient")]
        message: String,
    }
    let Ok(mut parsed) = serde_json::from_slice::<Errors>(body) else { return Vec::new() };
    if parsed.errors.is_empty() {
        let message = if parsed.details.is_empty() { parsed.message } else { parsed.details };
        parsed.errors.push(Said { code: String::new(), message });
    }
    parsed.errors
}

fn after(headers: &HeaderMap) -> Option<Duration> {
    retry_after(headers.get(header::RETRY_AFTER)?.to_str().ok()?, SystemTime::now())
}

/// Reads a body whole; `None` if it is larger than `max` bytes.
pub(in super::super) async fn read_bounded(
    mut response: Response,
    max: usize,
) -> Result<Option<Vec<u8>>, reqwest::Error> {
    if response.content_length().is_some_and(|length| length > max as u64) {
        return Ok(None);
    }
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > max {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// Reads an answer that is of use or is not: `None` if it is too large or too slow, or breaks off.
pub(in super::super) async fn read_little(response: Response, max: usize) -> Option<Vec<u8>> {
    tokio::time::timeout(LITTLE_TIME, read_bounded(response, max)).await.ok()?.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(asked: &Asked, status: u16, body: &str) -> Failure {
        let subject = Subject { asked, name: "quay.io/a/b", host: "quay.io", sent: Sent::default() };
        subject.judge_body(StatusCode::from_u16(status).unwrap(), None, body.as_bytes())
    }

    #[test]
    fn codes_count_more_than_the_status() {
        let tag = Asked::Manifest("v1".to_owned());
        let body =
            |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"a\nb","detail":{{}}}}]}}"#);
        let failure = judge(&tag, 404, &body("NAME_UNKNOWN"));
        assert!(matches!(failure.error.fault, Fault::NoRepository { .. }));
        assert_eq!(failure.error.to_string(), "manifest v1 of quay.io/a/b");
        assert_eq!(failure.error.fault.to_string(), "quay.io has no such repository (NAME_UNKNOWN: a b)");
        let failure = judge(&tag, 404, &body("MANIFEST_UNKNOWN"));
        assert!(matches!(failure.error.fault, Fault::NotFound { what: "tag", .. }));
        assert!(failure.error.fault.to_string().contains("no such tag, or no such repository ("));
        for asked in [Asked::Upload, Asked::Publish("v1".to_owned())] {
            let failure = judge(&asked, 404, &body("MANIFEST_UNKNOWN"));
            assert!(matches!(failure.error.fault, Fault::TakesNone { .. }), "{failure:?}");
            assert!(!failure.error.hint().unwrap().contains("latest"));
            let fault = Fault::TimedOut { host: "x".to_owned() };
            let hint = RegistryError { fault, ..failure.error }.hint();
            assert!(hint.unwrap().contains("not sent again"));
        }
        let failure = judge(&Asked::Upload, 404, &body("BLOB_UPLOAD_UNKNOWN"));
        assert!(matches!(failure.error.fault, Fault::NotFound { what: "upload", .. }));
        for what in ["sha256:0", "v1"] {
            let failure = judge(&Asked::Manifest(what.to_owned()), 404, "");
            assert!(failure.error.hint().unwrap().contains("the image's name"));
        }
        assert!(matches!(judge(&tag, 400, &body("DENIED")).error.fault, Fault::Denied { .. }));
        let failure = judge(&tag, 403, &body("TOOMANYREQUESTS"));
        assert!(failure.transient && matches!(failure.error.fault, Fault::RateLimited { .. }));
        assert!(judge(&tag, 401, "").error.hint().unwrap().contains("login quay.io"));
    }

    #[test]
    fn what_is_tried_again() {
        let blob = Asked::Blob("sha256:0".to_owned());
        for (status, transient) in [
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (405, false),
            (408, true),
            (413, false),
            (429, true),
            (500, true),
            (501, false),
            (502, true),
            (503, true),
            (504, true),
        ] {
            assert_eq!(judge(&blob, status, "<html>").transient, transient, "{status}");
        }
    }

    #[test]
    fn bodies_of_any_shape() {
        let tag = Asked::Manifest("v1".to_owned());
        for body in ["", "null", "[]", "{", r#"{"errors":null}"#, r#"{"errors":[{"code":4,"message":[]}]}"#] {
            let failure = judge(&tag, 418, body);
            assert_eq!(failure.error.fault.to_string(), "quay.io answers 418", "{body}");
        }
        let failure = judge(&tag, 401, r#"{"details":"incorrect username or password"}"#);
        assert_eq!(
            failure.error.fault.to_string(),
            "quay.io wants credentials (incorrect username or password)"
        );
        let login = crate::credentials::Credentials::basic("ann", "geheimnis");
        let sent = Sent { login: Some(&login), ..Sent::default() };
        let subject = Subject { asked: &tag, name: "quay.io/a/b", host: "quay.io", sent };
        let body =
            format!(r#"{{"errors":[{{"code":"geheimnis","message":"{}geheimnis"}}]}}"#, "x".repeat(295));
        let failure = subject.judge_body(StatusCode::UNAUTHORIZED, None, body.as_bytes());
        assert!(!format!("{:?}", failure.error).contains("gehe"), "{:?}", failure.error);
        let long = format!(r#"{{"errors":[{{"code":"X","message":"{}"}}]}}"#, "ä\\u001b[2J".repeat(1000));
        let text = judge(&tag, 400, &long).error.fault.to_string();
        assert!(text.chars().count() < 400 && !text.contains('\u{1b}'), "{text}");
    }
}
