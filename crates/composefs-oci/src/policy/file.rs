//! A file's bytes to its requirements. Whatever is unknown, doubled or senseless is an error, wherever it stands.

use std::{collections::BTreeMap, fmt, marker::PhantomData, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};

use super::{
    Rules, Scopes,
    requirement::{Fulcio, KeyType, Keys, Pki, Rekor, Requirement, SignedIdentity, SigstoreSigner},
    scope,
};
use crate::reference::{NameError, RegistryReference};

/// Why a file is no policy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFileError {
    /// It is not JSON, or has other fields than it may.
    #[error("{0}")]
    Syntax(serde_json::Error),
    /// A scope that no image of the transport can be in.
    #[error("{transport}: has no scope `{scope}`")]
    Scope {
        /// The transport.
        transport: String,
        /// The scope.
        scope: String,
    },
    /// A list of requirements that is empty.
    #[error("no requirement for {0}")]
    Empty(String),
    /// A requirement that is none.
    #[error("{place}: {kind}: {reason}")]
    Requirement {
        /// Where it stands.
        place: String,
        /// Its type.
        kind: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// An object none of whose keys comes twice.
struct Once<V>(BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Once<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = Once<V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((key, value)) = entries.next_entry::<String, V>()? {
                    if all.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
                    }
                    all.insert(key, value);
                }
                Ok(Once(all))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    default: Vec<RawRequirement>,
    #[serde(default, deserialize_with = "some")]
    transports: Option<Once<Once<Vec<RawRequirement>>>>,
}

/// The fields of all types of requirements.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawRequirement {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "some")]
    key_type: Option<KeyType>,
    #[serde(default, deserialize_with = "some")]
    key_path: Option<PathBuf>,
    #[serde(default, deserialize_with = "some")]
    key_paths: Option<Vec<PathBuf>>,
    #[serde(default, deserialize_with = "some")]
    key_data: Option<Bytes>,
    #[serde(default, deserialize_with = "some")]
    key_datas: Option<Vec<Bytes>>,
    #[serde(default, deserialize_with = "some")]
    cert_path: Option<PathBuf>,
    #[serde(default, deserialize_with = "some")]
    cert_paths: Option<Vec<PathBuf>>,
    #[serde(default, deserialize_with = "some")]
    cert_data: Option<Bytes>,
    #[serde(default, deserialize_with = "some")]
    fulcio: Option<RawFulcio>,
    #[serde(default, deserialize_with = "some")]
    pki: Option<RawPki>,
    #[serde(default, deserialize_with = "some")]
    rekor_public_key_path: Option<PathBuf>,
    #[serde(default, deserialize_with = "some")]
    rekor_public_key_paths: Option<Vec<PathBuf>>,
    #[serde(default, deserialize_with = "some")]
    rekor_public_key_data: Option<Bytes>,
    #[serde(default, deserialize_with = "some")]
    rekor_public_key_datas: Option<Vec<Bytes>>,
    #[serde(default, deserialize_with = "some")]
    signed_identity: Option<RawIdentity>,
    #[serde(default, deserialize_with = "some")]
    base_layer_identity: Option<RawIdentity>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFulcio {
    #[serde(rename = "caPath", default, deserialize_with = "some")]
    path: Option<PathBuf>,
    #[serde(rename = "caData", default, deserialize_with = "some")]
    data: Option<Bytes>,
    #[serde(rename = "oidcIssuer")]
    oidc_issuer: String,
    #[serde(rename = "subjectEmail")]
    subject_email: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPki {
    #[serde(rename = "caRootsPath", default, deserialize_with = "some")]
    roots_path: Option<PathBuf>,
    #[serde(rename = "caRootsData", default, deserialize_with = "some")]
    roots_data: Option<Bytes>,
    #[serde(rename = "caIntermediatesPath", default, deserialize_with = "some")]
    intermediates_path: Option<PathBuf>,
    #[serde(rename = "caIntermediatesData", default, deserialize_with = "some")]
    intermediates_data: Option<Bytes>,
    #[serde(rename = "subjectEmail", default, deserialize_with = "some")]
    subject_email: Option<String>,
    #[serde(rename = "subjectHostname", default, deserialize_with = "some")]
    subject_hostname: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum RawIdentity {
    #[serde(rename = "matchExact")]
    Exact {},
    #[serde(rename = "matchRepoDigestOrExact")]
    RepoDigestOrExact {},
    #[serde(rename = "matchRepository")]
    Repository {},
    #[serde(rename = "exactReference")]
    ExactReference {
        #[serde(rename = "dockerReference")]
        reference: String,
    },
    #[serde(rename = "exactRepository")]
    ExactRepository {
        #[serde(rename = "dockerRepository")]
        repository: String,
    },
    #[serde(rename = "remapIdentity")]
    Remap {
        prefix: String,
        #[serde(rename = "signedPrefix")]
        signed_prefix: String,
    },
}

/// Bytes in base64.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(|_| D::Error::custom("data that is not base64"))
    }
}

/// Reads a field that may be left out but not be `null`.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Reads a file whole.
pub(super) fn parse(bytes: &[u8]) -> Result<Rules, PolicyFileError> {
    let raw: RawPolicy = serde_json::from_slice(bytes).map_err(PolicyFileError::Syntax)?;
    let default = requirements(raw.default, "the default")?;
    let mut transports = BTreeMap::new();
    for (transport, raw) in raw.transports.map(|all| all.0).unwrap_or_default() {
        let mut scopes = Scopes::new();
        for (scope, raw) in raw.0 {
            if !scope::may_be(&transport, &scope) {
                return Err(PolicyFileError::Scope { transport, scope });
            }
            let requirements = requirements(raw, &format!("{transport}: `{scope}`"))?;
            scopes.insert(scope, requirements);
        }
        transports.insert(transport, scopes);
    }
    Ok(Rules { default, transports })
}

fn requirements(raw: Vec<RawRequirement>, place: &str) -> Result<Vec<Requirement>, PolicyFileError> {
    if raw.is_empty() {
        return Err(PolicyFileError::Empty(place.to_owned()));
    }
    let read = |raw: RawRequirement| {
        let kind = raw.kind.clone();
        raw.read().map_err(|reason| PolicyFileError::Requirement { place: place.to_owned(), kind, reason })
    };
    raw.into_iter().map(read).collect()
}

/// Groups of fields, of which a type of requirement takes some.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fields {
    KeyType,
    Keys,
    KeyDatas,
    Certificates,
    Sigstore,
    Identity,
    BaseIdentity,
}

impl RawRequirement {
    fn read(self) -> Result<Requirement, String> {
        match self.kind.as_str() {
            "insecureAcceptAnything" => self.only(&[]).map(|_| Requirement::AcceptAnything),
            "reject" => self.only(&[]).map(|_| Requirement::Reject),
            "signedBy" => self.only(&[Fields::KeyType, Fields::Keys, Fields::Identity])?.signed_by(),
            "signedBaseLayer" => {
                let identity = self.only(&[Fields::BaseIdentity])?.base_layer_identity;
                let identity = identity.ok_or("baseLayerIdentity is missing")?.read()?;
                Ok(Requirement::SignedBaseLayer { identity })
            }
            "sigstoreSigned" => {
                self.only(&[Fields::Keys, Fields::KeyDatas, Fields::Sigstore, Fields::Identity])?.sigstore()
            }
            "composefs" => {
                let raw = self.only(&[Fields::Certificates])?;
                let names = "certPath, certPaths and certData";
                let certificates = keys(raw.cert_path, raw.cert_paths, raw.cert_data, None, names)?;
                Ok(Requirement::Composefs {
                    certificates: certificates.ok_or(format!("one of {names} is needed"))?,
                })
            }
            _ => Err("unknown type".to_owned()),
        }
    }

    /// Refuses fields that its type does not have.
    fn only(self, taken: &[Fields]) -> Result<Self, String> {
        let given = [
            (Fields::KeyType, self.key_type.is_some()),
            (Fields::Keys, self.key_path.is_some() || self.key_paths.is_some() || self.key_data.is_some()),
            (Fields::KeyDatas, self.key_datas.is_some()),
            (
                Fields::Certificates,
                self.cert_path.is_some() || self.cert_paths.is_some() || self.cert_data.is_some(),
            ),
            (
                Fields::Sigstore,
                self.fulcio.is_some()
                    || self.pki.is_some()
                    || self.rekor_public_key_path.is_some()
                    || self.rekor_public_key_paths.is_some()
                    || self.rekor_public_key_data.is_some()
                    || self.rekor_public_key_datas.is_some(),
            ),
            (Fields::Identity, self.signed_identity.is_some()),
            (Fields::BaseIdentity, self.base_layer_identity.is_some()),
        ];
        match given.into_iter().find(|(fields, given)| *given && !taken.contains(fields)) {
            Some((fields, _)) => Err(format!("{} is no field of it", fields.name())),
            None => Ok(self),
        }
    }

    fn signed_by(self) -> Result<Requirement, String> {
        let names = "keyPath, keyPaths and keyData";
        let keys = keys(self.key_path, self.key_paths, self.key_data, None, names)?;
        Ok(Requirement::SignedBy {
            key_type: self.key_type.ok_or("keyType is missing")?,
            keys: keys.ok_or_else(|| format!("one of {names} is needed"))?,
            identity: self.signed_identity.map_or(Ok(SignedIdentity::default()), RawIdentity::read)?,
        })
    }

    fn sigstore(self) -> Result<Requirement, String> {
        let names = "keyPath, keyPaths, keyData and keyDatas";
        let keys_ = keys(self.key_path, self.key_paths, self.key_data, self.key_datas, names)?;
        let names = "rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData and rekorPublicKeyDatas";
        let rekor = keys(
            self.rekor_public_key_path,
            self.rekor_public_key_paths,
            self.rekor_public_key_data,
            self.rekor_public_key_datas,
            names,
        )?;
        let rekor = rekor.map(|keys| Rekor { keys });
        let by = match (keys_, self.fulcio, self.pki) {
            (Some(keys), None, None) => SigstoreSigner::Keys(keys),
            (None, Some(fulcio), None) if rekor.is_some() => SigstoreSigner::Fulcio(fulcio.read()?),
            (None, Some(_), None) => return Err("fulcio needs the public key of Rekor".to_owned()),
            (None, None, Some(pki)) if rekor.is_none() => SigstoreSigner::Pki(pki.read()?),
            (None, None, Some(_)) => return Err("pki goes without Rekor".to_owned()),
            (None, None, None) => return Err("a key, fulcio or pki is needed".to_owned()),
            _ => return Err("only one of a key, fulcio and pki may be given".to_owned()),
        };
        let identity = self.signed_identity.map_or(Ok(SignedIdentity::default()), RawIdentity::read)?;
        Ok(Requirement::SigstoreSigned { by, rekor, identity })
    }
}

impl Fields {
    const fn name(self) -> &'static str {
        match self {
            Self::KeyType => "keyType",
            Self::Keys => "keyPath, keyPaths or keyData",
            Self::KeyDatas => "keyDatas",
            Self::Certificates => "certPath, certPaths or certData",
            Self::Sigstore => "fulcio, pki or rekorPublicKey…",
            Self::Identity => "signedIdentity",
            Self::BaseIdentity => "baseLayerIdentity",
        }
    }
}

impl RawFulcio {
    fn read(self) -> Result<Fulcio, String> {
        let authority = keys(self.path, None, self.data, None, "caPath and caData")?;
        Ok(Fulcio {
            authority: authority.ok_or("fulcio needs one of caPath and caData")?,
            oidc_issuer: self.oidc_issuer,
            subject_email: self.subject_email,
        })
    }
}

impl RawPki {
    fn read(self) -> Result<Pki, String> {
        let roots = keys(self.roots_path, None, self.roots_data, None, "caRootsPath and caRootsData")?;
        let names = "caIntermediatesPath and caIntermediatesData";
        if self.subject_email.is_none() && self.subject_hostname.is_none() {
            return Err("pki needs one of subjectEmail and subjectHostname".to_owned());
        }
        Ok(Pki {
            roots: roots.ok_or("pki needs one of caRootsPath and caRootsData")?,
            intermediates: keys(self.intermediates_path, None, self.intermediates_data, None, names)?,
            subject_email: self.subject_email,
            subject_hostname: self.subject_hostname,
        })
    }
}

impl RawIdentity {
    fn read(self) -> Result<SignedIdentity, String> {
        let name =
            |text: &str| text.parse::<RegistryReference>().map_err(|error: NameError| error.to_string());
        Ok(match self {
            Self::Exact {} => SignedIdentity::Exact,
            Self::RepoDigestOrExact {} => SignedIdentity::RepoDigestOrExact,
            Self::Repository {} => SignedIdentity::Repository,
            Self::ExactReference { reference } => {
                let parsed = name(&reference)?;
                if parsed.tag().is_none() && parsed.digest().is_none() {
                    return Err(format!("dockerReference `{reference}` has no tag and no digest"));
                }
                SignedIdentity::ExactReference(parsed)
            }
            Self::ExactRepository { repository } => SignedIdentity::ExactRepository(name(&repository)?),
            Self::Remap { prefix, signed_prefix } => {
                for prefix in [&prefix, &signed_prefix] {
                    if !is_prefix(prefix) {
                        return Err(format!("`{prefix}` is neither a registry nor a repository"));
                    }
                }
                SignedIdentity::Remap { prefix, signed_prefix }
            }
        })
    }
}

/// Tells whether a text is a host, a namespace or a repository: with a name below it, it is an image's.
fn is_prefix(text: &str) -> bool {
    let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
    let below = RegistryReference::in_domain(host, &path.map_or("x".to_owned(), |path| format!("{path}/x")));
    below.is_ok()
}

/// Makes one list of the ways to give keys; more than one of these ways, or an empty one, is an error.
fn keys(
    path: Option<PathBuf>,
    paths: Option<Vec<PathBuf>>,
    data: Option<Bytes>,
    datas: Option<Vec<Bytes>>,
    names: &str,
) -> Result<Option<Keys>, String> {
    let given = [
        path.map(|path| Keys::Paths(vec![path])),
        paths.map(Keys::Paths),
        data.map(|data| Keys::Data(vec![data.0])),
        datas.map(|all| Keys::Data(all.into_iter().map(|data| data.0).collect())),
    ];
    let mut given = given.into_iter().flatten();
    let first = given.next();
    if given.next().is_some() {
        return Err(format!("only one of {names} may be given"));
    }
    let empty = match &first {
        Some(Keys::Paths(paths)) => paths.is_empty() || paths.iter().any(|path| path.as_os_str().is_empty()),
        Some(Keys::Data(all)) => all.is_empty() || all.iter().any(Vec::is_empty),
        None => false,
    };
    if empty { Err(format!("one of {names} is empty")) } else { Ok(first) }
}
