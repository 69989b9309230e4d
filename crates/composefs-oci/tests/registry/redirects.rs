//! Where redirects lead, and what does not go with them.

use composefs_oci::{Error, transport::registry::fault::Fault};
use composefs_testkit::{
    images::Layout,
    registry::{Auth, Bearer, Blobs, Fault as Misdeed, Place, Registry, RegistryOptions, Rule, Tls},
};

use crate::lab::{assert_same, fault, image, manifest, options, pull_with, trusting, with_login};

#[test]
fn storage_never_learns_who_we_are() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut layout = Layout::create(dir.path().join("layout"));
    layout.image("v1", &image());
    let expected = pull_with(&layout.reference("v1"), &options()).unwrap();
    for (auth, blobs, status) in [
        (Auth::Basic("ann".to_owned(), "secret".to_owned()), Blobs::Storage, 307),
        (Auth::Bearer(Bearer::default().user("ann", "secret")), Blobs::Storage, 302),
        (Auth::Bearer(Bearer::default().user("ann", "secret")), Blobs::StorageOnce, 303),
        (Auth::Basic("ann".to_owned(), "secret".to_owned()), Blobs::Storage, 301),
    ] {
        let options = RegistryOptions::default().auth(auth).blobs(blobs).redirect_status(status);
        let registry = Registry::start(options);
        registry.add_layout("app", layout.path());
        let pulled = pull_with(&registry.reference("app:v1"), &with_login("ann", "secret")).unwrap();
        assert_same(&pulled, &expected);
        let requests = registry.requests();
        let storage: Vec<_> = requests.iter().filter(|request| request.place == Place::Storage).collect();
        assert!(storage.len() >= 4, "{}", storage.len());
        for request in storage {
            assert_eq!(request.header("authorization"), None);
            assert_eq!(request.header("cookie"), None);
            assert_eq!(request.header("referer"), None);
        }
    }
}

#[test]
fn redirects_without_end_or_sense() {
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image("app", "v1", &image());
    let reference = registry.reference("app:v1");
    let to = |target: String| {
        registry.heal();
        registry.forget_requests();
        registry.inject(Rule::new("/manifests/", Misdeed::Redirect(target)));
        match fault(manifest(&reference, &options()).unwrap_err()) {
            Fault::Redirect { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(to(registry.url(Place::Registry, "/v2/app/manifests/v1")), "without end");
    assert_eq!(registry.requests().len(), 11);
    assert_eq!(to("ftp://127.0.0.1/x".to_owned()), "to what is neither http nor https");
    assert_eq!(to("http://[::1".to_owned()), "to what is no address");
}

#[test]
fn never_from_tls_to_none() {
    let registry = Registry::start(RegistryOptions::default().tls(Tls::PlainStorage).blobs(Blobs::Storage));
    registry.add_image("app", "v1", &image());
    let dir = tempfile::TempDir::new().unwrap();
    let reference = registry.reference("app:v1");
    let error = pull_with(&reference, &trusting(&registry, dir.path(), false)).unwrap_err();
    assert!(
        matches!(&error, Error::Registry(error) if matches!(&error.fault, Fault::Redirect { reason, .. } if reason == "from TLS to none")),
        "{error:?}"
    );
    assert!(registry.requests().iter().all(|request| request.place != Place::Storage));
    // An insecure one may.
    pull_with(&reference, &options()).unwrap();
}

#[test]
fn credentials_in_an_address_are_not_ours() {
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image("app", "v1", &image());
    let target =
        registry.url(Place::Registry, "/v2/app/manifests/v1").replace("http://", "http://user:pass@");
    registry.inject(Rule::new("/manifests/", Misdeed::Redirect(target)).times(1));
    manifest(&registry.reference("app:v1"), &options()).unwrap();
    assert!(registry.requests().iter().all(|request| request.header("authorization").is_none()));
}
