//! Whom a registry's certificate must come from, and what we show of ours: `certs.d` and the system's roots.
//!
//! # Format
//! `docs/formats/transports.md`, section 5.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use composefs::disk::outside;
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme,
    client::{ResolvesClientCert, danger},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    sign::CertifiedKey,
};

use crate::environment::Environment;

/// The largest certificate or key file that is read, in bytes.
const FILE_MAX: u64 = 4 << 20;
/// Where distributions keep all roots in one file: Debian, Fedora, openSUSE, Alpine.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("certificates")]
    Io(#[source] Box<composefs::Error>),
    /// The directory the user gave is not there.
    #[error("no certificates at {}", .0.display())]
    NoSuchDirectory(PathBuf),
    /// A client's certificate without its key, or the other way round.
    #[error("{} is not there, which belongs to {}", missing.display(), path.display())]
    Partner {
        /// What is there.
        path: PathBuf,
        /// What belongs to it.
        missing: PathBuf,
    },
    /// A file that does not hold what its name says.
    #[error("{} holds no {what}", path.display())]
    Holds {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate or key that the TLS library does not take.
    #[error("{}", path.display())]
    Unusable {
        /// Where it is from.
        path: PathBuf,
        /// Why it is not taken.
        source: rustls::Error,
    },
    /// The roots that the environment names cannot be read.
    #[error("trusted certificates")]
    Roots(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The TLS library refuses its settings.
    #[error("TLS")]
    Settings(#[source] rustls::Error),
}

impl From<composefs::Error> for TlsError {
    fn from(error: composefs::Error) -> Self {
        Self::Io(Box::new(error))
    }
}

/// How much of a registry's certificate is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// That it is for the host, in time and from somebody trusted.
    #[default]
    Full,
    /// Nothing; for registries that the user calls insecure.
    Nothing,
}

/// Certificates for one registry.
#[derive(Debug, Default)]
pub struct Certificates {
    authorities: Vec<(PathBuf, CertificateDer<'static>)>,
    identities: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads those for `host`, `host[:port]`: out of `directory` if one is given, else out of the first directory of
    /// its name below a `certs.d`, the user's before the system's.
    ///
    /// # Errors
    /// [`TlsError`]; that there is no such directory is none, unless it was given.
    pub fn load(host: &str, environment: &Environment, directory: Option<&Path>) -> Result<Self, TlsError> {
        if let Some(directory) = directory {
            let names = outside::list(directory)?;
            let names = names.ok_or_else(|| TlsError::NoSuchDirectory(directory.to_owned()))?;
            return Self::read(directory, &names);
        }
        let places = [
            environment.in_config("containers/certs.d"),
            Some(environment.system("/etc/containers/certs.d")),
            Some(environment.system("/etc/docker/certs.d")),
        ];
        // A host is one component of a path; `..` is none.
        let places = places.into_iter().flatten().filter(|_| !host.contains('/') && host != "..");
        for directory in places.map(|place| place.join(host)) {
            match outside::list(&directory) {
                Ok(Some(names)) => return Self::read(&directory, &names),
                Ok(None) => {}
                // Certificates of others: podman passes them by, too.
                Err(error) if is_denied(&error) => {
                    tracing::debug!(path = %directory.display(), "certificates may not be read");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self::default())
    }

    /// Returns the same authorities, and nothing to show of ours.
    #[must_use]
    pub fn without_identities(&self) -> Self {
        Self { authorities: self.authorities.clone(), identities: Vec::new() }
    }

    fn read(directory: &Path, names: &[PathBuf]) -> Result<Self, TlsError> {
        tracing::debug!(path = %directory.display(), "certificates");
        let mut certificates = Self::default();
        for name in names {
            let path = directory.join(name);
            match name.extension().and_then(OsStr::to_str) {
                Some("crt") => {
                    let found = chain(&path)?;
                    certificates.authorities.extend(found.into_iter().map(|found| (path.clone(), found)));
                }
                Some("cert") => {
                    let key = path.with_extension("key");
                    let Some(bytes) = outside::read(&key, FILE_MAX)?.map(zeroize::Zeroizing::new) else {
                        return Err(TlsError::Partner { path, missing: key });
                    };
                    certificates.identities.push(identity(&path, &key, &bytes)?);
                }
                Some("key") => {
                    let missing = path.with_extension("cert");
                    if outside::read(&missing, FILE_MAX)?.is_none() {
                        return Err(TlsError::Partner { path, missing });
                    }
                }
                _ => {}
            }
        }
        Ok(certificates)
    }
}

fn is_denied(error: &composefs::Error) -> bool {
    matches!(error, composefs::Error::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let holds = || TlsError::Holds { path: path.to_owned(), what: "certificate in PEM" };
    let bytes = outside::read(path, FILE_MAX)?.ok_or_else(holds)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(holds)
}

fn identity(path: &Path, key_path: &Path, key: &[u8]) -> Result<Arc<CertifiedKey>, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| TlsError::Holds { path: key_path.to_owned(), what: "private key in PEM" })?;
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Unusable { path, source }
    };
    let chain = chain(path)?;
    let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
    certified.map(Arc::new).map_err(unusable(path))
}

/// The roots that every registry's certificate may come from.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Reads those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, else the system's.
    ///
    /// # Errors
    /// [`TlsError::Roots`] if the environment names nothing that can be read; a system without roots has none.
    pub fn load(environment: &Environment) -> Result<Self, TlsError> {
        let file = environment.path("SSL_CERT_FILE");
        let directories = environment.get("SSL_CERT_DIR").map(std::env::split_paths);
        let mut store = RootCertStore::empty();
        if file.is_some() || directories.is_some() {
            let mut places = vec![(file, None)];
            places.extend(directories.into_iter().flatten().map(|directory| (None, Some(directory))));
            let mut failed = None;
            for (file, directory) in places {
                let mut found =
                    rustls_native_certs::load_certs_from_paths(file.as_deref(), directory.as_deref());
                store.add_parsable_certificates(found.certs);
                failed = failed.or(found.errors.pop());
            }
            // One directory of several may be missing, as for Go.
            if let Some(error) = failed.filter(|_| store.is_empty()) {
                return Err(TlsError::Roots(Box::new(error)));
            }
        } else {
            for bundle in BUNDLES.iter().map(|path| environment.system(path)) {
                let found = rustls_native_certs::load_certs_from_paths(Some(&bundle), None);
                if !found.certs.is_empty() {
                    store.add_parsable_certificates(found.certs);
                    break;
                }
            }
        }
        tracing::debug!(roots = store.len(), "trusted certificates");
        Ok(Self(Arc::new(store)))
    }

    /// Returns none at all, for connections that verify nothing.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new(RootCertStore::empty()))
    }
}

/// Makes the settings of TLS connections to a registry.
///
/// # Errors
/// [`TlsError::Unusable`] if one of the certificates is none.
pub fn client_config(
    verify: Verify,
    roots: &Roots,
    certificates: &Certificates,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Settings)?;
    let builder = match verify {
        Verify::Full if certificates.authorities.is_empty() => {
            builder.with_root_certificates(roots.0.clone())
        }
        Verify::Full => {
            let mut store = RootCertStore::clone(&roots.0);
            for (path, authority) in &certificates.authorities {
                let unusable = |source| TlsError::Unusable { path: path.clone(), source };
                store.add(authority.clone()).map_err(unusable)?;
            }
            builder.with_root_certificates(store)
        }
        Verify::Nothing => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
    };
    Ok(if certificates.identities.is_empty() {
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_resolver(Arc::new(Identities(certificates.identities.clone())))
    })
}

/// Our certificates; the first whose key can do what the registry wants is shown.
#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identities {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.iter().find(|identity| identity.key.choose_scheme(schemes).is_some()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Believes everybody.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<danger::ServerCertVerified, rustls::Error> {
        Ok(danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<danger::HandshakeSignatureValid, rustls::Error> {
        Ok(danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<danger::HandshakeSignatureValid, rustls::Error> {
        Ok(danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
