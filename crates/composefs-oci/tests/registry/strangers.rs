//! Hosts that a registry names, which must not learn who we are, and what it says of us, which nobody must read.

use std::sync::Arc;

use composefs_oci::{
    Error,
    copy::{CopyOptions, copy},
    credentials::{Credentials, KeychainOptions},
    environment::Environment,
    transport::{
        self, SinkOptions,
        registry::{
            Registry as Client, RegistryOptions as Options, fault::Fault, hosts::HostsError,
            retry::RetryOptions,
        },
    },
};
use composefs_testkit::{
    images::Layout,
    registry::{Auth, Bearer, Fault as Misdeed, Place, Realm, Registry, RegistryOptions, Rule, Tls},
};
use tempfile::TempDir;

use crate::lab::{Heard, chain, connect, fault, image, manifest, options, trusting, with_login};

const PASSWORD: &str = "geheim:nis";

fn with_basic() -> Registry {
    let auth = Auth::Basic("ann".to_owned(), PASSWORD.to_owned());
    Registry::start(RegistryOptions::default().auth(auth))
}

/// A registry with something in it, which takes whatever it is given.
fn stranger() -> Registry {
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image("app", "v1", &image());
    registry
}

fn push(to: &str, options: &Options) -> Result<(), Error> {
    let dir = TempDir::new().unwrap();
    let mut layout = Layout::create(dir.path().join("from"));
    layout.image("x", &image());
    let source = transport::open(&layout.reference("x").parse()?, &transport::SourceOptions::default())?;
    let sink = transport::create(&to.parse()?, &SinkOptions::default().registry(options.clone()))?;
    let which = CopyOptions::default();
    copy(source.as_ref(), sink.as_ref(), &which, &composefs::progress::Silent).map(drop)
}

#[test]
fn uploads_do_not_go_on_elsewhere() {
    let (registry, evil) = (with_basic(), stranger());
    for place in [
        format!("/v2/app///{}/v2/app/blobs/uploads/1?state=x", evil.host()),
        format!("/v2/app/http://{}/v2/app/blobs/uploads/1?state=x", evil.host()),
        format!("http://{}//{0}/v2/app/blobs/uploads/1?state=x", evil.host()),
        evil.url(Place::Registry, "/elsewhere"),
    ] {
        registry.heal();
        registry.inject(
            Rule::new("/blobs/uploads/", Misdeed::Header("location".to_owned(), place.clone()))
                .method("POST"),
        );
        // As a path of the registry itself it is one that the registry doesn't know.
        let error = push(&registry.reference("app:v1"), &with_login("ann", PASSWORD)).unwrap_err();
        assert!(matches!(error, Error::Registry(_)), "{place}: {error:?}");
        assert!(evil.requests().is_empty(), "{place}: {:?}", evil.requests());
    }
}

#[test]
fn whom_we_were_sent_to_does_not_send_us_back() {
    let (registry, evil) = (with_basic(), stranger());
    let to = evil.url(Place::Registry, "/v2/app/blobs/uploads/");
    registry.inject(Rule::new("/blobs/uploads/", Misdeed::Redirect(to)).method("POST"));
    let error = push(&registry.reference("app:v1"), &with_login("ann", PASSWORD)).unwrap_err();
    assert!(chain(&error).contains("the upload goes on somewhere else"), "{}", chain(&error));
    assert!(registry.requests().iter().all(|request| request.method != "PUT"));

    registry.heal();
    registry.add_image("app", "v1", &image());
    let to = evil.url(Place::Registry, "/v2/app/tags/list");
    registry.inject(Rule::new("/tags/list", Misdeed::Redirect(to)));
    let link = "</v2/app/manifests/v1>; rel=\"next\"".to_owned();
    evil.inject(Rule::new("/tags/list", Misdeed::Header("link".to_owned(), link)));
    let error = connect(&registry.reference("app"), &with_login("ann", PASSWORD)).tags().unwrap_err();
    assert!(chain(&error).contains("continues a list elsewhere"), "{}", chain(&error));
    assert!(evil.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn lists_do_not_go_on_elsewhere() {
    let (registry, evil) = (with_basic(), stranger());
    registry.add_image("app", "v1", &image());
    for path in ["//", "http://"] {
        registry.heal();
        let link = format!("</v2/app/{path}{}/v2/app/tags/list>; rel=\"next\"", evil.host());
        registry.inject(Rule::new("/tags/list", Misdeed::Header("link".to_owned(), link)));
        let error = connect(&registry.reference("app"), &with_login("ann", PASSWORD)).tags().unwrap_err();
        assert!(chain(&error).contains("continues a list elsewhere"), "{}", chain(&error));
    }
    assert!(evil.requests().is_empty());
}

#[test]
fn what_a_registry_says_of_our_secrets() {
    let registry = with_basic();
    let heard = Arc::new(Heard::default());
    let retries = RetryOptions::default().limit(1).observer(Arc::<Heard>::clone(&heard));
    let moment = std::time::Duration::from_millis(1);
    let options = with_login("ann", PASSWORD).retries(retries.pauses(moment, moment));
    for (status, said) in [
        (503, "no geheim:nis here"),
        (403, "Basic YW5uOmdlaGVpbTpuaXM= is not good"),
        (401, "ann, geheim%3Anis"),
    ] {
        registry.heal();
        registry.inject(Rule::new("/manifests/", Misdeed::status(status, said)).after(1));
        let error = manifest(&registry.reference("app:v1"), &options).unwrap_err();
        let text = format!("{} {error:?} {:?}", chain(&error), error.hint());
        assert!(text.contains('…'), "{text}");
        assert!(!text.contains("geheim") && !text.contains("YW5uOmd"), "{text}");
    }
    let heard = heard.all();
    assert!(heard.contains("answers 503 (no … here"), "{heard}");
    assert!(!heard.contains("geheim"), "{heard}");
}

#[test]
fn credentials_by_hand_are_for_one_registry() {
    let dir = TempDir::new().unwrap();
    let (one, other) = (with_basic(), with_basic());
    other.add_image("tool", "v1", &image());
    let text = |registries: &[&Registry]| {
        let hosts: Vec<_> = registries.iter().map(|registry| format!("{:?}", registry.host())).collect();
        format!("unqualified-search-registries = [{}]\nshort-name-mode = \"permissive\"\n", hosts.join(", "))
    };
    let path = dir.path().join("registries.conf");
    std::fs::write(&path, text(&[&one, &other])).unwrap();
    let given = KeychainOptions::default().credentials(Some(Credentials::basic("ann", PASSWORD)));
    let stored = options().registries_conf(Some(path.clone())).environment(Environment::default());
    let by_hand = stored.clone().keychain(given);
    let name = "tool:v1".parse().unwrap();
    let error = Client::open_short(&name, &by_hand).unwrap_err();
    assert!(matches!(error, Error::Hosts(HostsError::WhoseCredentials { .. })), "{error:?}");
    let hint = error.hint().unwrap();
    assert!(hint.contains(&format!("docker://{}/tool", one.host())), "{hint}");
    Client::open_short(&name, &stored).unwrap();
    std::fs::write(&path, text(&[&other])).unwrap();
    Client::open_short(&name, &by_hand).unwrap();
    assert!(one.requests().is_empty() && other.requests().is_empty());
}

#[test]
fn the_client_certificate_is_for_the_registry_alone() {
    let dir = TempDir::new().unwrap();
    let start = |realm: Realm| {
        let auth = Auth::Bearer(Bearer::default().realm(realm));
        let registry = Registry::start(RegistryOptions::default().tls(Tls::ClientCertificate).auth(auth));
        registry.add_image("app", "v1", &image());
        registry
    };
    let registry = start(Realm::Same);
    manifest(&registry.reference("app:v1"), &trusting(&registry, dir.path(), true)).unwrap();
    let other = registry.url(Place::Registry, "/token").replace("127.0.0.1", "localhost");
    registry.change(|options| options.auth = Auth::Bearer(Bearer::default().realm(Realm::At(other))));
    let error = manifest(&registry.reference("app:v1"), &trusting(&registry, dir.path(), true)).unwrap_err();
    assert!(matches!(fault(error), Fault::WantsCertificate { host, .. } if host.starts_with("localhost:")));
}
