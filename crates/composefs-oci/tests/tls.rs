//! Handshakes with a registry that has an authority of its own.
#![cfg(feature = "registry")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
};

use composefs_oci::{
    environment::Environment,
    transport::registry::tls::{Certificates, Roots, TlsError, Verify, client_config},
};
use composefs_testkit::registry::{Registry, RegistryOptions, Tls};

/// Asks the registry for `/v2/`; returns the status line, or why there is none.
fn ask(
    registry: &Registry,
    verify: Verify,
    roots: &Roots,
    certificates: &Certificates,
) -> Result<String, String> {
    let config = client_config(verify, roots, certificates).unwrap();
    let connection =
        rustls::ClientConnection::new(Arc::new(config), "127.0.0.1".try_into().unwrap()).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(registry.host()).unwrap());
    let request = "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    let done = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
    match (answer.lines().next(), done) {
        (Some(line), _) => Ok(line.to_owned()),
        (None, Err(error)) => Err(error.to_string()),
        (None, Ok(_)) => Err("nothing".to_owned()),
    }
}

fn hermetic(root: &Path) -> Environment {
    Environment::default().root(root).variable("HOME", root.join("home"))
}

#[test]
fn an_authority_in_certs_d_is_trusted_for_its_host_alone() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start(RegistryOptions::default().tls(Tls::Server));
    let environment = hermetic(dir.path());
    let roots = Roots::load(&environment).unwrap();
    let load = || Certificates::load(&registry.host(), &environment, None).unwrap();
    let refused = ask(&registry, Verify::Full, &roots, &load()).unwrap_err();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    assert_eq!(ask(&registry, Verify::Nothing, &Roots::none(), &load()).unwrap(), "HTTP/1.1 200 OK");

    let system = dir.path().join("etc/docker/certs.d").join(registry.host());
    registry.certificates().unwrap().write(&system, false);
    assert_eq!(ask(&registry, Verify::Full, &roots, &load()).unwrap(), "HTTP/1.1 200 OK");
    let other = Certificates::load("127.0.0.1", &environment, None).unwrap();
    assert!(ask(&registry, Verify::Full, &roots, &other).is_err());
    // The user's directory comes first, even if there is nothing in it.
    let user = dir.path().join("home/.config/containers/certs.d").join(registry.host());
    std::fs::create_dir_all(&user).unwrap();
    assert!(ask(&registry, Verify::Full, &roots, &load()).is_err());
    let given = Certificates::load(&registry.host(), &environment, Some(&system)).unwrap();
    assert_eq!(ask(&registry, Verify::Full, &roots, &given).unwrap(), "HTTP/1.1 200 OK");

    // As roots for everybody.
    let file = environment.clone().variable("SSL_CERT_FILE", system.join("ca.crt"));
    assert_eq!(
        ask(&registry, Verify::Full, &Roots::load(&file).unwrap(), &load()).unwrap(),
        "HTTP/1.1 200 OK"
    );
    let directory =
        environment.clone().variable("SSL_CERT_DIR", format!("/nonexistent-a:{}", system.display()));
    assert!(matches!(Roots::load(&directory), Err(TlsError::Roots(_))));
    let both = directory.variable("SSL_CERT_FILE", system.join("ca.crt"));
    assert_eq!(
        ask(&registry, Verify::Full, &Roots::load(&both).unwrap(), &load()).unwrap(),
        "HTTP/1.1 200 OK"
    );
    let missing = environment.clone().variable("SSL_CERT_FILE", "/nonexistent");
    assert!(matches!(Roots::load(&missing), Err(TlsError::Roots(_))));
    let bundle = dir.path().join("etc/pki/tls/certs");
    std::fs::create_dir_all(&bundle).unwrap();
    std::fs::copy(system.join("ca.crt"), bundle.join("ca-bundle.crt")).unwrap();
    let roots = Roots::load(&hermetic(dir.path())).unwrap();
    assert_eq!(ask(&registry, Verify::Full, &roots, &load()).unwrap(), "HTTP/1.1 200 OK");
}

#[test]
fn a_client_shows_its_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start(RegistryOptions::default().tls(Tls::ClientCertificate));
    let place = dir.path().join("etc/containers/certs.d").join(registry.host());
    let load = || Certificates::load(&registry.host(), &hermetic(dir.path()), None);
    registry.certificates().unwrap().write(&place, false);
    assert!(ask(&registry, Verify::Full, &Roots::none(), &load().unwrap()).is_err());
    registry.certificates().unwrap().write(&place, true);
    assert_eq!(ask(&registry, Verify::Full, &Roots::none(), &load().unwrap()).unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(ask(&registry, Verify::Nothing, &Roots::none(), &load().unwrap()).unwrap(), "HTTP/1.1 200 OK");
    let key = std::fs::read_to_string(place.join("client.key")).unwrap();
    let hidden = key.lines().nth(1).unwrap();
    assert!(!format!("{:?}", load().unwrap()).contains(hidden));
}

#[test]
fn what_is_wrong_with_a_directory_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start(RegistryOptions::default().tls(Tls::Server));
    let fresh = |name: &str| {
        let place = dir.path().join(name);
        registry.certificates().unwrap().write(&place, true);
        place
    };
    let fault = |place: &Path| {
        let error = Certificates::load("h.io", &Environment::default(), Some(place)).unwrap_err();
        error.to_string().replace(dir.path().to_str().unwrap(), "DIR")
    };
    let place = fresh("no-key");
    std::fs::remove_file(place.join("client.key")).unwrap();
    assert_eq!(fault(&place), "DIR/no-key/client.key is not there, which belongs to DIR/no-key/client.cert");
    let place = fresh("no-cert");
    std::fs::remove_file(place.join("client.cert")).unwrap();
    assert_eq!(
        fault(&place),
        "DIR/no-cert/client.cert is not there, which belongs to DIR/no-cert/client.key"
    );
    let place = fresh("swapped");
    std::fs::copy(place.join("ca.crt"), place.join("client.key")).unwrap();
    assert_eq!(fault(&place), "DIR/swapped/client.key holds no private key in PEM");
    let place = fresh("other");
    std::fs::copy(place.join("ca.crt"), place.join("client.cert")).unwrap();
    assert_eq!(fault(&place), "DIR/other/client.cert");
    let place = fresh("empty");
    std::fs::write(place.join("ca.crt"), "").unwrap();
    assert_eq!(fault(&place), "DIR/empty/ca.crt holds no certificate in PEM");
    assert_eq!(fault(&dir.path().join("none")), "no certificates at DIR/none");
    // A host never leads out of certs.d.
    let environment = hermetic(dir.path());
    for host in ["..", "a/../../b"] {
        assert!(Certificates::load(host, &environment, None).is_ok());
    }
}
