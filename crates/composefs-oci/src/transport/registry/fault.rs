//! What went wrong with a registry: for whom, in which words, and whether trying again may help.
//!
//! Nothing here holds more of an address than host and port: what stands behind may be a secret.
//!
//! # Format
//! OCI distribution-spec, error codes; `docs/formats/transports.md`, section 2.

mod judge;
mod sent;

use std::{error::Error as StdError, fmt, time::Duration};

pub(super) use judge::{Failure, Subject, read_bounded, read_little};
pub(super) use sent::Sent;

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
    /// The credentials were given by hand, not stored.
    pub by_hand: bool,
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
    /// The proxy on the way there does not answer, or does not let us through.
    #[error("no way to {host} through the proxy {proxy}")]
    Proxy {
        /// Host and port of the registry, or where it sent us.
        host: String,
        /// The proxy's address, without user and password.
        proxy: String,
        /// Why.
        source: Cause,
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
    #[error("{host} has no such {what}{}{}", or_repository(.what), in_brackets(.said))]
    NotFound {
        /// The registry.
        host: String,
        /// `tag`, `manifest`, `blob`, `upload` or `thing`.
        what: &'static str,
        /// What it said.
        said: Option<String>,
    },
    /// It takes nothing there.
    #[error("{host} has no such repository, or takes no images{}", in_brackets(.said))]
    TakesNone {
        /// The registry.
        host: String,
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

/// What to do about an upload that broke.
const UPLOAD_AGAIN: &str = "try again: blobs that have arrived are not sent again";

/// A cause of some type; its text has no address with secrets in it.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Some registries don't tell a tag that is not there from a repository that is not.
fn or_repository(what: &str) -> &'static str {
    if what == "tag" { ", or no such repository" } else { "" }
}

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
            Fault::Proxy { .. } => "check the proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names; what NO_PROXY \
                                    lists is reached without"
                .to_owned(),
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
            Fault::Unauthorized { given: true, .. } if self.by_hand => {
                "check the credentials that were given; some registries want an access token in place of the password"
                    .to_owned()
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
            Fault::NotFound { what: "tag", .. } => {
                "check the tag, for without one `latest` is meant, and the image's name".to_owned()
            }
            Fault::NotFound { what: "manifest", .. } => {
                "check the digest and the image's name; the registry may have deleted it".to_owned()
            }
            Fault::NotFound { what: "blob", .. } => {
                "the repository lacks a part of the image: whoever pushed it can push it again".to_owned()
            }
            Fault::NotFound { what: "upload", .. } => UPLOAD_AGAIN.to_owned(),
            Fault::TakesNone { .. } => "check the name; some registries want the repository to be created first, \
                                        and mirrors take nothing"
                .to_owned(),
            Fault::RateLimited { after, .. } => match after {
                Some(after) => format!("try again in {} s; logged in, more is allowed", after.as_secs()),
                None => "try again later; logged in, more is allowed".to_owned(),
            },
            Fault::TimedOut { .. } | Fault::Broken { .. } => match self.asked {
                Asked::Upload | Asked::Publish(_) => UPLOAD_AGAIN.to_owned(),
                Asked::Manifest(_) | Asked::Blob(_) => "try again: what was fetched whole is kept".to_owned(),
                _ => "try again".to_owned(),
            },
            _ => return None,
        })
    }

    /// Tells whether trying again may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match &self.fault {
            Fault::UnknownHost { .. }
            | Fault::Refused { .. }
            | Fault::Proxy { .. }
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
