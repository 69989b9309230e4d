//! TLS, with an authority that exists for one registry.

use std::{net::TcpStream, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

use super::auth::base64;

/// How a registry speaks TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// Not at all.
    #[default]
    Absent,
    /// At all three listeners.
    Server,
    /// At all three listeners, and the registry wants a certificate of its clients.
    ClientCertificate,
    /// At the registry and the token service, while the storage has plain HTTP.
    PlainStorage,
}

/// The certificates of one registry, as PEM files have them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Certificates {
    /// The authority that signed the others.
    pub authority: String,
    /// A server's certificate, for 127.0.0.1 and localhost.
    pub server: String,
    /// Its key.
    pub server_key: String,
    /// A client's certificate.
    pub client: String,
    /// Its key.
    pub client_key: String,
}

impl Certificates {
    /// Makes new ones, for a server of another program.
    ///
    /// # Panics
    /// When no keys can be made.
    #[must_use]
    pub fn generate() -> Self {
        Identity::generate().certificates
    }

    /// Writes them as they stand in `certs.d/HOST:PORT`: `ca.crt`, and `client.cert` with `client.key` if wanted.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn write(&self, dir: &Path, with_client: bool) {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("ca.crt"), &self.authority).unwrap();
        if with_client {
            std::fs::write(dir.join("client.cert"), &self.client).unwrap();
            std::fs::write(dir.join("client.key"), &self.client_key).unwrap();
        }
    }
}

#[derive(Debug)]
pub(super) struct Identity {
    pub(super) certificates: Certificates,
    /// Without and with the wish for a client's certificate.
    open: Arc<ServerConfig>,
    strict: Arc<ServerConfig>,
}

impl Identity {
    pub(super) fn generate() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "testkit authority");
        let authority = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        let issue = |names: &[&str], usage: ExtendedKeyUsagePurpose| {
            let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.extended_key_usages = vec![usage];
            params.distinguished_name.push(DnType::CommonName, "testkit");
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap().der().clone();
            (certificate, key.serialize_der())
        };
        let (server, server_key) = issue(&["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth);
        let (client, client_key) = issue(&["client"], ExtendedKeyUsagePurpose::ClientAuth);
        let config = |authority: Option<&CertificateDer<'static>>| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .unwrap();
            let builder = match authority {
                None => builder.with_no_client_auth(),
                Some(authority) => {
                    let mut roots = RootCertStore::empty();
                    roots.add(authority.clone()).unwrap();
                    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                    builder.with_client_cert_verifier(verifier.build().unwrap())
                }
            };
            let key = PrivatePkcs8KeyDer::from(server_key.clone());
            Arc::new(builder.with_single_cert(vec![server.clone()], key.into()).unwrap())
        };
        let (open, strict) = (config(None), config(Some(&authority)));
        let certificates = Certificates {
            authority: pem("CERTIFICATE", &authority),
            server: pem("CERTIFICATE", &server),
            server_key: pem("PRIVATE KEY", &server_key),
            client: pem("CERTIFICATE", &client),
            client_key: pem("PRIVATE KEY", &client_key),
        };
        Self { certificates, open, strict }
    }

    /// Puts TLS over a connection.
    pub(super) fn accept<'a>(
        &self,
        stream: &'a TcpStream,
        strict: bool,
    ) -> StreamOwned<ServerConnection, &'a TcpStream> {
        let config = if strict { &self.strict } else { &self.open };
        StreamOwned::new(ServerConnection::new(Arc::clone(config)).unwrap(), stream)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
