//! Whether a registry takes a user and a password.

use std::error::Error as _;

use composefs_oci::{
    Error,
    credentials::{Credentials, KeychainOptions},
    environment::Environment,
    transport::registry::{RegistryOptions, check_login, fault::Fault},
};
use composefs_testkit::registry::{Auth, Bearer, Realm, Registry, Tls};

use crate::lab;

const PASSWORD: &str = "gehe:im";

fn options(auth: Auth) -> composefs_testkit::registry::RegistryOptions {
    composefs_testkit::registry::RegistryOptions::default().auth(auth)
}

/// Logs in with a good and with a bad password; returns what is said about the bad one.
fn good_and_bad(registry: &Registry, options: &RegistryOptions) -> Error {
    check_login(&registry.host(), Credentials::basic("someone", PASSWORD), options).unwrap();
    let error = check_login(&registry.host(), Credentials::basic("someone", "geheim"), options).unwrap_err();
    let text = format!("{error} {error:?} {} {:?}", error.source().unwrap(), error.hint());
    assert!(!text.contains("gehe"), "{text}");
    error
}

#[test]
fn basic_and_tokens() {
    let basic = Registry::start(options(Auth::Basic("someone".to_owned(), PASSWORD.to_owned())));
    let error = good_and_bad(&basic, &lab::options());
    assert_eq!(error.to_string(), format!("log in to {}", basic.host()));
    assert!(error.hint().unwrap().starts_with("check the user and the password"));
    for realm in [Realm::Same, Realm::Other] {
        let bearer = Bearer::default().user("someone", PASSWORD).realm(realm);
        let registry = Registry::start(options(Auth::Bearer(bearer)));
        let error = good_and_bad(&registry, &lab::options());
        assert_eq!(error.to_string(), format!("log in to {}", registry.host()));
        assert!(matches!(lab::fault(error), Fault::Unauthorized { given: true, .. }));
    }
    // Nobody is asked who they are here.
    let open = Registry::start(options(Auth::None));
    check_login(&open.host(), Credentials::basic("someone", "x"), &lab::options()).unwrap();
}

#[test]
fn over_tls_and_never_without() {
    let tls = options(Auth::Basic("someone".to_owned(), PASSWORD.to_owned())).tls(Tls::Server);
    let registry = Registry::start(tls);
    let dir = tempfile::tempdir().unwrap();
    registry.certificates().unwrap().write(dir.path(), false);
    let given = lab::options().tls_verify(None).cert_dir(Some(dir.path().to_owned()));
    let _ = good_and_bad(&registry, &given);
    let untrusted = lab::options().tls_verify(None);
    let error =
        check_login(&registry.host(), Credentials::basic("someone", PASSWORD), &untrusted).unwrap_err();
    assert!(matches!(lab::fault(error), Fault::Untrusted { .. }));

    let plain = Registry::start(options(Auth::Basic("someone".to_owned(), PASSWORD.to_owned())));
    let error = check_login(&plain.host(), Credentials::basic("someone", PASSWORD), &untrusted).unwrap_err();
    assert!(matches!(error, Error::Registry(_)), "{error:?}");
    assert!(plain.requests().iter().all(|request| request.header("authorization").is_none()));
    // registries.conf may say that this one is insecure.
    let conf = dir.path().join("registries.conf");
    std::fs::write(&conf, format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", plain.host()))
        .unwrap();
    check_login(
        &plain.host(),
        Credentials::basic("someone", PASSWORD),
        &untrusted.clone().registries_conf(Some(conf.clone())),
    )
    .unwrap();
    std::fs::write(&conf, format!("[[registry]]\nlocation = \"{}\"\nblocked = true\n", plain.host()))
        .unwrap();
    let blocked =
        check_login(&plain.host(), Credentials::basic("u", "p"), &untrusted.registries_conf(Some(conf)));
    assert!(matches!(blocked, Err(Error::Hosts(_))));
    for name in ["", "u:geheim@h.io", "a b"] {
        let error = check_login(name, Credentials::basic("u", "p"), &lab::options()).unwrap_err();
        assert!(!matches!(error, Error::Registry(_)), "{name}");
    }
}

#[test]
fn what_is_given_by_hand_is_not_for_mirrors() {
    let mirror = Registry::start(options(Auth::Basic("other".to_owned(), "x".to_owned())));
    let own = Registry::start(options(Auth::Basic("someone".to_owned(), PASSWORD.to_owned())));
    own.add_image("team/app", "v1", &lab::image());
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("registries.conf");
    let text = format!(
        "[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        own.host(),
        mirror.host()
    );
    std::fs::write(&conf, text).unwrap();
    let given = KeychainOptions::default().credentials(Some(Credentials::basic("someone", PASSWORD)));
    let options = lab::options()
        .registries_conf(Some(conf))
        .environment(Environment::default().root(dir.path()))
        .keychain(given);
    let _ = lab::manifest(&own.reference("team/app:v1"), &options).unwrap();
    assert!(!mirror.requests().is_empty());
    assert!(mirror.requests().iter().all(|request| request.header("authorization").is_none()));
}
