//! Into registries and out of them: one in this process, and Debian's.

use composefs_oci::{
    Error,
    credentials::{Credentials, KeychainOptions},
    reference::Reference,
    transport::registry::fault::Fault as Answer,
};
use composefs_testkit::{
    docker_registry::{DockerRegistry, USER, Wants},
    images::{Compression, DOCKER_MANIFEST, Image, Layer},
    registry::{Auth, Bearer, Registry, RegistryOptions},
};

use crate::lab::{Lab, blobs, chain, image, layer};

fn in_process() -> Registry {
    Registry::start(RegistryOptions::default())
}

/// Requests that carried a blob.
fn uploads(registry: &Registry) -> usize {
    let sent =
        |method: &str, path: &str| method != "GET" && method != "HEAD" && path.contains("/blobs/uploads/");
    registry.requests().iter().filter(|request| sent(&request.method, &request.path)).count()
}

#[test]
fn there_and_back() {
    let mut lab = Lab::new();
    let registry = in_process();
    let written = lab.layout.image("x", &image());
    let to = registry.reference("team/app:v1");
    let copied =
        lab.copy(&lab.layout.reference("x"), &to).unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!((copied.manifest.as_str(), copied.blobs), (written.manifest.digest.as_str(), 4));
    let (kind, bytes) = registry.find_manifest("team/app", "v1").unwrap();
    assert_eq!(kind, copied.media_type);
    assert_eq!(composefs_testkit::images::sha256(&bytes), written.manifest.digest);
    lab.copy(&to, &lab.at("oci", "back:x")).unwrap();
    assert_eq!(blobs(&lab.path("back")), blobs(lab.layout.path()));

    // Once more, nothing is sent but the manifest.
    registry.forget_requests();
    let again = lab.copy(&lab.layout.reference("x"), &to).unwrap();
    assert_eq!((again.blobs, again.present, uploads(&registry)), (0, 4, 0));
    // Under a digest it must be that one.
    let by_digest = registry.reference(&format!("team/app@{}", written.manifest.digest));
    lab.copy(&lab.layout.reference("x"), &by_digest).unwrap();
    lab.layout.image("y", &Image::new([layer(5, 10, Compression::Plain)]));
    let error = lab.copy(&lab.layout.reference("y"), &by_digest).unwrap_err();
    assert!(matches!(error, Error::NotADestination { .. }), "{error:?}");
}

#[test]
fn children_before_their_parents() {
    let mut lab = Lab::new();
    let registry = in_process();
    let index = lab.index();
    let to = registry.reference("app:all");
    lab.copy_all(&lab.layout.reference("all"), &to).unwrap();
    let puts: Vec<String> = registry
        .requests()
        .into_iter()
        .filter(|request| request.method == "PUT" && request.path.contains("/manifests/"))
        .map(|request| request.path)
        .collect();
    assert_eq!(puts.len(), 3);
    assert!(puts[2].ends_with("/manifests/all"), "{puts:?}");
    lab.copy_all(&to, &lab.at("oci", "back:all")).unwrap();
    assert_eq!(blobs(&lab.path("back")), blobs(lab.layout.path()));
    assert_eq!(
        composefs_testkit::images::sha256(&registry.find_manifest("app", "all").unwrap().1),
        index.digest
    );
    // Docker's format stays what it is.
    lab.layout.image("docker", &image().docker());
    lab.copy(&lab.layout.reference("docker"), &registry.reference("app:docker")).unwrap();
    assert_eq!(registry.find_manifest("app", "docker").unwrap().0, DOCKER_MANIFEST);
}

#[test]
fn blobs_are_taken_over_within_a_registry() {
    let mut lab = Lab::new();
    let registry = in_process();
    lab.layout.image("x", &image());
    let from = registry.reference("one:v1");
    lab.copy(&lab.layout.reference("x"), &from).unwrap();
    registry.forget_requests();
    let copied = lab.copy(&from, &registry.reference("two:v1")).unwrap();
    assert_eq!((copied.blobs, copied.present), (0, 4));
    assert!(
        registry
            .requests()
            .iter()
            .all(|request| request.method != "PUT" || !request.path.contains("/blobs/"))
    );
    assert_eq!(registry.find_manifest("two", "v1"), registry.find_manifest("one", "v1"));
}

#[test]
fn with_tokens_and_passwords() {
    for auth in [Auth::Basic("u".to_owned(), "p".to_owned()), Auth::Bearer(Bearer::default().user("u", "p"))]
    {
        let mut lab = Lab::new();
        let registry = Registry::start(RegistryOptions::default().auth(auth));
        lab.layout.image("x", &image());
        let to = registry.reference("app:v1");
        let error = lab.copy(&lab.layout.reference("x"), &to).unwrap_err();
        let refused = matches!(&error, Error::Registry(error) if matches!(error.fault, Answer::Unauthorized { .. } | Answer::Denied { .. }));
        assert!(refused, "{error:?}");
        let login = KeychainOptions::default().credentials(Some(Credentials::basic("u", "p")));
        lab.registry = lab.registry.keychain(login);
        lab.copy(&lab.layout.reference("x"), &to).unwrap_or_else(|error| panic!("{}", chain(&error)));
        let copied = lab.copy(&to, &registry.reference("other:v1")).unwrap();
        assert_eq!(copied.blobs, 0, "taken over");
    }
}

#[test]
fn debians_registry() {
    let mut lab = Lab::new();
    let Some(registry) = DockerRegistry::start_or_skip(&lab.path(""), Wants::Password) else { return };
    let (user, password) = USER;
    let login = KeychainOptions::default().credentials(Some(Credentials::basic(user, password)));
    lab.registry = lab.registry.keychain(login);
    lab.layout.image("x", &image());
    lab.index();
    let (one, all) = (registry.reference("team/app:v1"), registry.reference("team/all:v1"));
    lab.copy(&lab.layout.reference("x"), &one).unwrap_or_else(|error| panic!("{}", chain(&error)));
    lab.copy_all(&lab.layout.reference("all"), &all).unwrap_or_else(|error| panic!("{}", chain(&error)));
    lab.copy(&one, &lab.at("oci", "back:x")).unwrap();
    lab.copy_all(&all, &lab.at("oci", "back:all")).unwrap();
    assert_eq!(blobs(&lab.path("back")), blobs(lab.layout.path()));
    let again = lab.copy(&lab.layout.reference("x"), &one).unwrap();
    assert_eq!((again.blobs, again.present), (0, 4));
    let mounted = lab.copy(&one, &registry.reference("team/other:v1")).unwrap();
    assert_eq!((mounted.blobs, mounted.present), (0, 4));
}

#[test]
fn what_refers_to_an_image_is_found_again() {
    for knows_referrers in [true, false] {
        let mut lab = Lab::new();
        let registry = Registry::start(RegistryOptions::default().referrers(knows_referrers));
        let written = lab.layout.image("x", &image());
        let to = registry.reference("app:v1");
        lab.copy(&lab.layout.reference("x"), &to).unwrap();
        let text = Layer::packed(vec![1; 9], vec![1; 9], "text/plain");
        let mut expected = Vec::new();
        for number in ["one", "two", "one"] {
            let artifact = Image::artifact("text/signature", [text.clone()])
                .manifest("subject", written.manifest.json())
                .manifest("annotations", serde_json::json!({"number": number}));
            expected.push(lab.layout.image(number, &artifact).manifest.digest);
            lab.copy_all(&lab.layout.reference(number), &registry.reference(&format!("app:{number}")))
                .unwrap();
        }
        let Ok(Reference::Registry(name)) = to.parse() else { panic!("{to}") };
        let source = composefs_oci::transport::registry::Registry::open(&name, &lab.registry).unwrap();
        let digest = written.manifest.digest.parse().unwrap();
        let found = source.referrers(&digest, Some("text/signature")).unwrap();
        let mut found: Vec<String> = found.iter().map(|entry| entry.digest().to_string()).collect();
        found.sort();
        expected.sort();
        expected.dedup();
        assert_eq!(found, expected, "{knows_referrers}");
        assert!(source.referrers(&digest, Some("text/other")).unwrap().is_empty());
    }
}
