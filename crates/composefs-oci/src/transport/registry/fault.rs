//! What went wrong with a registry: for whom, in which words, and whether trying again may help.
//!
//! Nothing here holds more of an address than host and port: what stands behind may be a secret.
//!
//! # Format
//! OCI distribution-spec, error codes; `docs/formats/transports.md`, section 2.

use std::{
    error::Error as StdError,
    fmt, io,
    time::{Duration, SystemTime},
};

use reqwest::{
    Response, StatusCode,
    header::{self, HeaderMap},
};

use super::retry::retry_after;

/// The largest error body that is read, in bytes.
const BODY_MAX: usize = 64 * 1024;
/// The longest text of a registry that is passed on, in characters.
const SAID_MAX: usize = 300;

/// What was asked of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Asked {
    /// A manifest or index by tag or digest.
    Manifest(String),
    /// A blob by digest.
    Blob(String),
    /// The list of tags.
    Tags,
    /// What refers to a manifest, by its digest.
    Referrers(String),
    /// A token from the place the registry named.
    Token,
    /// Whether it takes a user and a password.
    Login,
    /// That it takes a blob.
    Upload,
    /// That it takes a manifest under a tag or digest.
    Publish(String),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(wanted) => write!(f, "manifest {wanted} of"),
            Self::Blob(digest) => write!(f, "blob {digest} of"),
            Self::Tags => f.write_str("tags of"),
            Self::Referrers(digest) => write!(f, "referrers to {digest} in"),
            Self::Token => f.write_str("token for"),
            Self::Login => f.write_str("log in to"),
            Self::Upload => f.write_str("upload of a blob to"),
            Self::Publish(wanted) => write!(f, "upload of manifest {wanted} to"),
        }
    }
}

/// Why a registry did not give, or take, what was asked of it.
#[derive(Debug, thiserror::Error)]
#[error("{asked} {name}")]
#[non_exhaustive]
pub struct RegistryError {
    /// What was asked.
    pub asked: Asked,
    /// Registry and repository; a mirror's, if it was one.
    pub name: String,
    /// What went wrong.
    #[source]
    pub fault: Fault,
}

/// What went wrong with a registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Its name has no address.
    #[error("the name {host} cannot be resolved")]
    UnknownHost {
        /// Which.
        host: String,
        /// What the resolver said.
        source: Cause,
    },
    /// Nothing listens there.
    #[error("{host} refuses the connection")]
    Refused {
        /// Host and port.
        host: String,
    },
    /// No connection, or it broke.
    #[error("the connection to {host} broke")]
    Broken {
        /// Host and port.
        host: String,
        /// Why.
        source: Cause,
    },
    /// Nothing came for too long.
    #[error("{host} does not answer in time")]
    TimedOut {
        /// Host and port.
        host: String,
    },
    /// Its certificate is not one to trust.
    #[error("the certificate of {host} is not trusted")]
    Untrusted {
        /// Host and port.
        host: String,
        /// Why not.
        source: Cause,
    },
    /// It wants a client certificate, or another one.
    #[error("{host} does not take us without a client certificate that it knows")]
    WantsCertificate {
        /// Host and port.
        host: String,
        /// What it said.
        source: Cause,
    },
    /// It answers without TLS.
    #[error("{host} does not speak TLS")]
    NoTls {
        /// Host and port.
        host: String,
    },
    /// TLS with it does not come about.
    #[error("no TLS with {host}")]
    Tls {
        /// Host and port.
        host: String,
        /// Why.
        source: Cause,
    },
    /// It wants credentials, or refuses those it got.
    #[error("{host} {}{}", if *.given { "refuses the credentials" } else { "wants credentials" }, in_brackets(.said))]
    Unauthorized {
        /// The registry.
        host: String,
        /// Whether it was given some.
        given: bool,
        /// What it said.
        said: Option<String>,
    },
    /// This is not for us, or not for anybody.
    #[error("{host} denies access{}", in_brackets(.said))]
    Denied {
        /// The registry, or where it sent us.
        host: String,
        /// Whether it was given credentials.
        given: bool,
        /// What it said.
        said: Option<String>,
    },
    /// It has no such repository.
    #[error("{host} has no such repository{}", in_brackets(.said))]
    NoRepository {
        /// The registry.
        host: String,
        /// What it said.
        said: Option<String>,
    },
    /// It has no such tag, manifest or blob.
    #[error("{host} has no such {what}{}", in_brackets(.said))]
    NotFound {
        /// The registry.
        host: String,
        /// `tag`, `manifest`, `blob` or `thing`.
        what: &'static str,
        /// What it said.
        said: Option<String>,
    },
    /// Too many requests, for now.
    #[error("{host} takes no more requests for now{}", in_brackets(.said))]
    RateLimited {
        /// The registry.
        host: String,
        /// When it will take some again.
        after: Option<Duration>,
        /// What it said.
        said: Option<String>,
    },
    /// Another status.
    #[error("{host} answers {status}{}", in_brackets(.said))]
    Status {
        /// The registry, or where it sent us.
        host: String,
        /// The status' number.
        status: u16,
        /// What it said.
        said: Option<String>,
    },
    /// It sent us somewhere we don't go.
    #[error("{host} redirects {reason}")]
    Redirect {
        /// The registry, or where it sent us.
        host: String,
        /// Where to, in words.
        reason: String,
    },
    /// An answer that makes no sense.
    #[error("{host}: {reason}")]
    Answer {
        /// Which host.
        host: String,
        /// How so.
        reason: String,
    },
    /// The credentials could not be looked up.
    #[error("credentials for {host}")]
    Credentials {
        /// The registry.
        host: String,
        /// Why.
        source: Cause,
    },
}

/// A cause of some type; its text has no address with secrets in it.
pub type Cause = Box<dyn StdError + Send + Sync>;

fn in_brackets(text: &Option<String>) -> String {
    text.as_ref().map_or_else(String::new, |text| format!(" ({text})"))
}

impl RegistryError {
    /// Returns what to do about it, in a sentence, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let registry = self.name.split('/').next().unwrap_or_default();
        Some(match &self.fault {
            Fault::UnknownHost { .. } => {
                "check the spelling of the registry's name, the network, and the proxy settings".to_owned()
            }
            Fault::Refused { host } => {
                format!("check that the registry runs, and that {host} is its address and port")
            }
            Fault::Untrusted { .. } => format!(
                "put the certificate of its authority into /etc/containers/certs.d/{registry}/ca.crt, \
                 or use --tls-verify=false where nobody else can listen"
            ),
            Fault::WantsCertificate { .. } => format!(
                "put the client's pair into /etc/containers/certs.d/{registry}/ as client.cert and client.key"
            ),
            Fault::NoTls { .. } | Fault::Tls { .. } => {
                "for a registry without TLS use --tls-verify=false, or `insecure = true` in \
                                    registries.conf"
                    .to_owned()
            }
            Fault::Unauthorized { .. } | Fault::Denied { .. } if matches!(self.asked, Asked::Login) => {
                "check the user and the password; some registries want an access token in its place"
                    .to_owned()
            }
            Fault::Unauthorized { given: false, .. } | Fault::Denied { given: false, .. } => {
                format!("log in with `cfsctl oci login {registry}`, and check the image's name")
            }
            Fault::Unauthorized { given: true, .. } => {
                format!("log in again with `cfsctl oci login {registry}`")
            }
            Fault::Denied { given: true, .. } => {
                "check that this account may do it, and the image's name".to_owned()
            }
            Fault::NoRepository { .. } => {
                format!(
                    "check the image's name; of private ones some registries say this until one logs in to {registry}"
                )
            }
            Fault::NotFound { what: "tag", .. } => "check the tag; without one, `latest` is meant".to_owned(),
            Fault::RateLimited { after, .. } => match after {
                Some(after) => format!("try again in {} s; logged in, more is allowed", after.as_secs()),
                None => "try again later; logged in, more is allowed".to_owned(),
            },
            Fault::TimedOut { .. } | Fault::Broken { .. } => {
                "try again: what was fetched whole is kept".to_owned()
            }
            _ => return None,
        })
    }

    /// Tells whether trying again may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match &self.fault {
            Fault::UnknownHost { .. }
            | Fault::Refused { .. }
            | Fault::Broken { .. }
            | Fault::TimedOut { .. }
            | Fault::RateLimited { .. } => true,
            Fault::Status { status, .. } => matches!(*status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Tells whether the registry has said that this is not there.
    pub(super) const fn is_absent(&self) -> bool {
        matches!(self.fault, Fault::NotFound { .. } | Fault::NoRepository { .. })
    }
}

/// A request that failed, and what may be done next.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: RegistryError,
    /// Trying again may help.
    pub(super) transient: bool,
    /// It will not help before this much time.
    pub(super) retry_after: Option<Duration>,
    /// No connection came about, so nothing was sent.
    pub(super) unconnected: bool,
}

impl Failure {
    pub(super) const fn fatal(error: RegistryError) -> Self {
        Self { error, transient: false, retry_after: None, unconnected: false }
    }

    /// Tells whether it is an answer that makes no sense.
    pub(super) const fn is_senseless(&self) -> bool {
        matches!(self.error.fault, Fault::Answer { .. })
    }

    /// Makes it one that came after the registry had answered.
    pub(super) fn later(self) -> Self {
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
pub(super) struct Subject<'a> {
    pub(super) asked: &'a Asked,
    /// Registry and repository.
    pub(super) name: &'a str,
    /// Whom the answer is from: host and port.
    pub(super) host: &'a str,
    /// Credentials were given.
    pub(super) given: bool,
}

impl Subject<'_> {
    pub(super) fn error(&self, fault: Fault) -> RegistryError {
        RegistryError { asked: self.asked.clone(), name: self.name.to_owned(), fault }
    }

    /// Makes a failure of an answer that makes no sense.
    pub(super) fn senseless(&self, reason: impl Into<String>) -> Failure {
        Failure::fatal(self.error(Fault::Answer { host: self.host.to_owned(), reason: reason.into() }))
    }

    /// Makes the failure of a body that ended before it should.
    pub(super) fn early(&self) -> Failure {
        let cause = io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ended early");
        let fault = Fault::Broken { host: self.host.to_owned(), source: Box::new(cause) };
        Failure { transient: true, ..Failure::fatal(self.error(fault)) }
    }

    /// Judges an answer whose status is no success.
    pub(super) async fn judge(&self, response: Response) -> Failure {
        let status = response.status();
        let after = after(response.headers());
        let body = match read_bounded(response, BODY_MAX).await {
            Ok(Some(body)) => body,
            _ => Vec::new(),
        };
        self.judge_body(status, after, &body)
    }

    fn judge_body(&self, status: StatusCode, after: Option<Duration>, body: &[u8]) -> Failure {
        let errors = parse(body);
        let has = |code: &str| errors.iter().any(|error| error.code.eq_ignore_ascii_case(code));
        let said = errors.first().map(Said::text).filter(|text| !text.is_empty());
        let host = self.host.to_owned();
        let given = self.given;
        let what = match self.asked {
            Asked::Manifest(wanted) | Asked::Publish(wanted) if wanted.contains(':') => "manifest",
            Asked::Manifest(_) | Asked::Publish(_) => "tag",
            Asked::Blob(_) => "blob",
            _ => "thing",
        };
        let fault = match status.as_u16() {
            429 => Fault::RateLimited { host, after, said },
            _ if has("TOOMANYREQUESTS") => Fault::RateLimited { host, after, said },
            401 => Fault::Unauthorized { host, given, said },
            _ if has("UNAUTHORIZED") && status.is_client_error() => Fault::Unauthorized { host, given, said },
            403 => Fault::Denied { host, given, said },
            _ if has("DENIED") => Fault::Denied { host, given, said },
            404 if has("NAME_UNKNOWN") || matches!(self.asked, Asked::Tags) => {
                Fault::NoRepository { host, said }
            }
            404 => Fault::NotFound { host, what, said },
            status => Fault::Status { host, status, said },
        };
        let error = self.error(fault);
        Failure { transient: error.is_transient(), retry_after: after, ..Failure::fatal(error) }
    }

    /// Judges a request without an answer, or an answer that broke off.
    pub(super) fn broken(&self, error: reqwest::Error) -> Failure {
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
    Ok(value.as_str().map(clean).unwrap_or_default())
}

impl Said {
    fn text(&self) -> String {
        match (self.code.as_str(), self.message.as_str()) {
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        }
    }
}

/// Makes one short line of text from outside, without control characters.
fn clean(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .take(SAID_MAX + 1)
        .collect();
    if line.chars().count() > SAID_MAX {
        line.pop();
        line.push('…');
    }
    line.trim().to_owned()
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
pub(super) async fn read_bounded(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(asked: &Asked, status: u16, body: &str) -> Failure {
        let subject = Subject { asked, name: "quay.io/a/b", host: "quay.io", given: false };
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
        let long = format!(r#"{{"errors":[{{"code":"X","message":"{}"}}]}}"#, "ä\\u001b[2J".repeat(1000));
        let text = judge(&tag, 400, &long).error.fault.to_string();
        assert!(text.chars().count() < 400 && !text.contains('\u{1b}'), "{text}");
    }
}
