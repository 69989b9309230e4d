//! Who we are to a registry: passwords, tokens, and where neither goes.

use composefs_oci::{
    credentials::{Credentials, KeychainOptions, Secret},
    transport::{
        Source,
        registry::{RegistryOptions as Options, fault::Fault},
    },
};
use composefs_testkit::registry::{
    Auth, Bearer, Fault as Misdeed, Place, Realm, Recorded, Registry, RegistryOptions, Rule, TokenField,
};

use crate::lab::{amd64, chain, connect, fault, image, manifest, options, pull_with, with_login};

const PASSWORD: &str = "geheim:nis";

fn with(auth: Auth) -> Registry {
    let registry = Registry::start(RegistryOptions::default().auth(auth));
    registry.add_image("team/app", "v1", &image());
    registry
}

fn bearer(bearer: Bearer) -> Registry {
    with(Auth::Bearer(bearer))
}

fn tokens(registry: &Registry) -> Vec<Recorded> {
    registry.requests().into_iter().filter(|request| request.path.contains("/token")).collect()
}

fn reference(registry: &Registry) -> String {
    registry.reference("team/app:v1")
}

/// Pulls, and returns how many requests were refused.
fn refused_in_pull(registry: &Registry, options: &Options) -> usize {
    pull_with(&reference(registry), options).unwrap();
    registry.requests().iter().filter(|request| request.status == 401).count()
}

#[test]
fn basic_on_every_request_once_asked() {
    let registry = with(Auth::Basic("ann".to_owned(), PASSWORD.to_owned()));
    assert_eq!(refused_in_pull(&registry, &with_login("ann", PASSWORD)), 1);
    for (login, given) in [(options(), false), (with_login("ann", "wrong"), true)] {
        registry.forget_requests();
        let error = manifest(&reference(&registry), &login).unwrap_err();
        let text = format!("{} {:?} {}", chain(&error), error, error.hint().unwrap());
        assert!(!text.contains("wrong"), "{text}");
        // What was given by hand is not mended by logging in.
        let login = text.contains(&format!("oci login {}", registry.host()));
        assert!(if given { !login && text.contains("check the credentials") } else { login }, "{text}");
        match fault(error) {
            Fault::Unauthorized { given: was, .. } => assert_eq!(was, given),
            other => panic!("{other:?}"),
        }
        // Not asked again with what was refused.
        assert_eq!(registry.requests().len(), if given { 2 } else { 1 });
    }
}

#[test]
fn tokens_with_and_without_a_name() {
    for field in [TokenField::Token, TokenField::AccessToken, TokenField::Both] {
        let registry = bearer(Bearer::default().field(field));
        assert_eq!(refused_in_pull(&registry, &options()), 1);
        assert_eq!(tokens(&registry).len(), 1);
        assert_eq!(tokens(&registry)[0].header("authorization"), None);
        let path = &tokens(&registry)[0].path;
        assert!(path.contains("service=") && path.contains("scope=repository%3Ateam%2Fapp%3Apull"), "{path}");
    }
    let registry = bearer(Bearer::default().user("ann", PASSWORD).realm(Realm::Other));
    assert_eq!(refused_in_pull(&registry, &with_login("ann", PASSWORD)), 1);
    let asked = tokens(&registry);
    assert_eq!((asked.len(), asked[0].place), (1, Place::Tokens));
    assert!(asked[0].header("authorization").unwrap().starts_with("Basic "));
    // What is stored may be too old.
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("auth.json");
    let host = registry.host();
    std::fs::write(&path, format!(r#"{{"auths":{{"{host}":{{"auth":"YW5uOndyb25n"}}}}}}"#)).unwrap();
    let stored = options().keychain(KeychainOptions::default().authfile(Some(path)));
    let error = manifest(&reference(&registry), &stored).unwrap_err();
    assert!(error.hint().unwrap().contains(&format!("log in again with `cfsctl oci login {host}`")));
    // The password goes to the place for tokens alone.
    for request in registry.requests().iter().filter(|request| request.place == Place::Registry) {
        assert!(!request.header("authorization").is_some_and(|header| header.starts_with("Basic ")));
    }
    let error = manifest(&reference(&registry), &with_login("ann", "wrong")).unwrap_err();
    assert_eq!(error.to_string(), format!("token for {}/team/app", registry.host()));
    assert!(matches!(fault(error), Fault::Unauthorized { given: true, .. }));
}

#[test]
fn a_refresh_token_is_exchanged() {
    let registry =
        bearer(Bearer::default().user("ann", PASSWORD).identity("refresh me+now").realm(Realm::Other));
    let token = Credentials::IdentityToken(Secret::new("refresh me+now"));
    let login = options().keychain(KeychainOptions::default().credentials(Some(token)));
    assert_eq!(refused_in_pull(&registry, &login), 1);
    let asked = tokens(&registry);
    assert_eq!((asked.len(), asked[0].method.as_str()), (1, "POST"));
    let body = String::from_utf8(asked[0].body.clone()).unwrap();
    assert!(body.starts_with("grant_type=refresh_token&service="), "{body}");
    assert!(body.ends_with("&refresh_token=refresh+me%2Bnow"), "{body}");
    assert!(!asked[0].path.contains("refresh"));
    // Nor does it follow a redirect elsewhere.
    registry.forget_requests();
    registry.inject(Rule::new("/token", Misdeed::Redirect(registry.url(Place::Storage, "/steal"))));
    let error = manifest(&reference(&registry), &login).unwrap_err();
    assert!(matches!(fault(error), Fault::Redirect { .. }));
    assert!(registry.requests().iter().all(|request| request.place != Place::Storage));
}

#[test]
fn tokens_that_age() {
    // A token works for some requests, then a new one is fetched, once each.
    let registry = bearer(Bearer::default().uses(Some(2)));
    pull_with(&reference(&registry), &options()).unwrap();
    let count = tokens(&registry).len();
    assert!((2..=5).contains(&count), "{count}");
    // One that is withdrawn.
    let registry = bearer(Bearer::default());
    let source = connect(&reference(&registry), &options());
    let chosen = source.manifest(&amd64()).unwrap();
    registry.revoke_tokens();
    let parsed: serde_json::Value = serde_json::from_slice(&chosen.bytes).unwrap();
    let layer = serde_json::from_value(parsed["layers"][0].clone()).unwrap();
    std::io::copy(&mut source.blob(&layer).unwrap(), &mut std::io::sink()).unwrap();
    assert_eq!(tokens(&registry).len(), 2);
    // One that never works.
    let registry = bearer(Bearer::default().uses(Some(0)));
    let error = manifest(&reference(&registry), &options()).unwrap_err();
    assert!(matches!(fault(error), Fault::Unauthorized { given: false, .. }));
    assert_eq!(tokens(&registry).len(), 1);
}

#[test]
fn the_best_of_several_challenges() {
    let basic = || vec!["Basic realm=\"x, Bearer y\"".to_owned()];
    for offered in [Bearer::default().before(basic()), Bearer::default().beside(basic())] {
        let registry = bearer(offered);
        assert_eq!(refused_in_pull(&registry, &options()), 1);
        assert_eq!(tokens(&registry).len(), 1);
    }
}

#[test]
fn places_for_tokens_that_are_none() {
    for realm in ["ftp://127.0.0.1/token", "nowhere", "http://127.0.0.1:1/token", ""] {
        let registry = bearer(Bearer::default().realm(Realm::At(realm.to_owned())));
        let error = manifest(&reference(&registry), &options()).unwrap_err();
        let expected = realm.starts_with("http:");
        assert_eq!(matches!(fault(error), Fault::Refused { .. }), expected, "{realm}");
    }
    let registry = bearer(Bearer::default());
    for (misdeed, text) in [
        (Misdeed::Truncate(3), "without a token"),
        (Misdeed::Endless, "more than a mebibyte"),
        (Misdeed::status(403, "DENIED"), "denies access"),
    ] {
        registry.heal();
        registry.inject(Rule::new("/token", misdeed));
        let error = manifest(&reference(&registry), &options()).unwrap_err();
        assert!(chain(&error).contains(text), "{}", chain(&error));
    }
}

#[test]
fn what_nobody_may_have() {
    let registry = bearer(Bearer::default().denied(vec!["repository:team/app:pull".to_owned()]));
    let error = manifest(&reference(&registry), &options()).unwrap_err();
    assert!(error.hint().unwrap().contains("oci login"), "{}", chain(&error));
    assert!(matches!(fault(error), Fault::Unauthorized { .. } | Fault::Denied { .. }));
}
