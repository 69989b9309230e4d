//! Podman's and Docker's files of credentials: what one of them says for a name, and how an entry is changed.
//!
//! What comes in is a file's bytes; what goes out are credentials or the name of a helper to ask. Nothing of a file's
//! contents is ever part of an error but the key of an entry.
//!
//! # Format
//! `docs/formats/transports.md`, section 3.

use std::collections::BTreeMap;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Credentials, Secret};

/// The registry that is known by several names.
pub(crate) const HUB: &str = "docker.io";
/// What Docker calls it in its files and to its helpers.
pub(crate) const HUB_V1: &str = "https://index.docker.io/v1/";

/// Padding or not: Docker writes it, people forget it.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Which program a file is for, which decides what its fields mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Podman's `auth.json`: keys may be namespaced, `credsStore` means nothing.
    Containers,
    /// Docker's `config.json`.
    Docker,
    /// Docker's `.dockercfg`, which has the entries at its top level.
    DockerOld,
}

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthFileError {
    /// It is not JSON, or its fields have other types.
    #[error("not the JSON of credentials, at line {line} column {column}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
    },
    /// An entry that is none.
    #[error("entry `{key}`: {reason}")]
    Entry {
        /// Its key.
        key: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A field that should be an object.
    #[error("`{0}` is no object")]
    NotAnObject(&'static str),
}

/// What a file says for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// These.
    Credentials(Credentials),
    /// That none shall be used.
    Anonymous,
    /// That this helper is asked, which must be there.
    Helper(String),
    /// That this helper is asked, which may be missing: it is set for all registries.
    Store(String),
}

/// The parts of a file that matter for looking up.
#[derive(Debug, Default)]
pub struct AuthFile {
    auths: BTreeMap<String, Option<Entry>>,
    helpers: BTreeMap<String, String>,
    store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    auth: Option<Secret>,
    identitytoken: Option<Secret>,
}

#[derive(Debug, Deserialize)]
struct Whole {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

impl AuthFile {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`AuthFileError::Syntax`].
    pub fn parse(bytes: &[u8], form: Form) -> Result<Self, AuthFileError> {
        if form == Form::DockerOld {
            return Ok(Self { auths: json(bytes)?, ..Self::default() });
        }
        let whole: Whole = json(bytes)?;
        Ok(Self {
            auths: whole.auths.unwrap_or_default(),
            helpers: whole.helpers.unwrap_or_default(),
            store: whole.store.filter(|store| form == Form::Docker && !store.is_empty()),
        })
    }

    /// Looks up a name, `host[:port][/path]`: the helper for its host, else the entry of the longest key that leads
    /// to it, else the helper for everything.
    ///
    /// # Errors
    /// [`AuthFileError::Entry`] if there is one that cannot be understood.
    pub fn find(&self, name: &str) -> Result<Option<Found>, AuthFileError> {
        let host = host(name);
        if let Some(helper) = self.helper(host) {
            return Ok(Some(Found::Helper(helper.to_owned())));
        }
        let store = || Ok(self.store.clone().map(Found::Store));
        let Some((key, entry)) = self.entry(name) else { return store() };
        match entry.map_or(Ok(None), |entry| entry.credentials(key))? {
            Some(credentials) => Ok(Some(Found::Credentials(credentials))),
            None if self.store.is_some() => store(),
            None => Ok(Some(Found::Anonymous)),
        }
    }

    /// Returns the helper set for a host.
    pub(crate) fn helper(&self, host: &str) -> Option<&str> {
        let exact = self.helpers.get(host);
        let helper = exact.or_else(|| {
            self.helpers.iter().find(|(key, _)| key_host(key) == Some(canonical(host))).map(|(_, name)| name)
        });
        helper.map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Returns the hosts that have a helper, and which.
    pub(crate) fn helpers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.helpers.iter().map(|(host, name)| (host.as_str(), name.as_str()))
    }

    fn entry(&self, name: &str) -> Option<(&str, Option<&Entry>)> {
        let exact = candidates(name).find_map(|candidate| self.auths.get_key_value(candidate));
        let found = exact.or_else(|| {
            let host = canonical(host(name));
            self.auths.iter().find(|(key, _)| key_host(key) == Some(host))
        });
        found.map(|(key, entry)| (key.as_str(), entry.as_ref()))
    }
}

impl Entry {
    fn credentials(&self, key: &str) -> Result<Option<Credentials>, AuthFileError> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.is_empty()) {
            return Ok(Some(Credentials::IdentityToken(token.clone())));
        }
        let Some(auth) = self.auth.as_ref().filter(|auth| !auth.is_empty()) else { return Ok(None) };
        let wrong = |reason| AuthFileError::Entry { key: key.to_owned(), reason };
        let text: Zeroizing<String> =
            Zeroizing::new(auth.expose().chars().filter(|c| !c.is_ascii_whitespace()).collect());
        let bytes = LENIENT.decode(text.as_bytes()).map_err(|_| wrong("`auth` is not base64"))?;
        let bytes = Zeroizing::new(bytes);
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("`auth` is not text"))?;
        let (user, password) =
            text.split_once(':').ok_or_else(|| wrong("`auth` is not a user and a password"))?;
        Ok(Some(Credentials::basic(user, password.trim_end_matches('\0'))))
    }
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AuthFileError> {
    // The library's own message quotes what it found, which may be a password.
    serde_json::from_slice(bytes)
        .map_err(|error| AuthFileError::Syntax { line: error.line(), column: error.column() })
}

/// Returns the host and port of a name.
pub(crate) fn host(name: &str) -> &str {
    name.split_once('/').map_or(name, |(host, _)| host)
}

/// Gives the hub's other names the one it has here.
pub(crate) fn canonical(host: &str) -> &str {
    match host {
        "index.docker.io" | "registry-1.docker.io" => HUB,
        other => other,
    }
}

/// Returns the keys that may lead to a name, the longest first.
fn candidates(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.rsplit_once('/').map(|(shorter, _)| shorter))
}

/// Returns the host that a key is for, if it is for a whole host: Docker writes `https://H/v1/` for `H`.
fn key_host(key: &str) -> Option<&str> {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    match bare {
        Some(rest) => Some(canonical(host(rest))),
        // Without a scheme only the old file had a path behind the host, and a namespace looks the same.
        None if key.ends_with("/v1/") || key.ends_with("/v1") => Some(canonical(host(key))),
        None if key.contains('/') => None,
        None => Some(canonical(key)),
    }
}

/// A file of podman's as it is changed: what is not ours in it stays.
#[derive(Debug, Default)]
pub(crate) struct Edit {
    whole: Map<String, Value>,
}

impl Edit {
    /// Reads a file's bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, AuthFileError> {
        Ok(Self { whole: json(bytes)? })
    }

    fn auths(&mut self) -> Result<&mut Map<String, Value>, AuthFileError> {
        let auths = self.whole.entry("auths").or_insert(Value::Null);
        if auths.is_null() {
            *auths = Value::Object(Map::new());
        }
        auths.as_object_mut().ok_or(AuthFileError::NotAnObject("auths"))
    }

    /// Sets the entry of a key; other fields of it stay.
    pub(crate) fn set(&mut self, key: &str, user: &str, password: &Secret) -> Result<(), AuthFileError> {
        let pair = Zeroizing::new(format!("{user}:{}", password.expose()));
        let entry = self.auths()?.entry(key).or_insert(Value::Null);
        if !entry.is_object() {
            *entry = Value::Object(Map::new());
        }
        let entry = entry.as_object_mut().ok_or(AuthFileError::NotAnObject("auths"))?;
        entry.shift_remove("identitytoken");
        entry.insert("auth".to_owned(), Value::String(STANDARD.encode(pair.as_bytes())));
        Ok(())
    }

    /// Removes the entries that a lookup of exactly this key would find; tells whether there were any.
    pub(crate) fn remove(&mut self, key: &str) -> Result<bool, AuthFileError> {
        let auths = self.auths()?;
        let before = auths.len();
        let whole_host = !key.contains('/');
        auths.retain(|have, _| have != key && !(whole_host && key_host(have) == Some(canonical(key))));
        Ok(auths.len() < before)
    }

    /// Removes all entries; tells whether there were any.
    pub(crate) fn clear(&mut self) -> Result<bool, AuthFileError> {
        let auths = self.auths()?;
        let any = !auths.is_empty();
        auths.clear();
        Ok(any)
    }

    /// Returns the file's new bytes, indented as podman does.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::new());
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut *bytes, formatter);
        // Writing a map with text keys to memory cannot fail.
        let _ = serde::Serialize::serialize(&self.whole, &mut serializer);
        bytes
    }
}
