//! registries.conf: mirrors, other locations, blocked and insecure registries, short names.

use std::sync::Arc;

use composefs_oci::{
    Error,
    environment::Environment,
    transport::{
        Source,
        registry::{Registry as Client, RegistryOptions as Options, fault::Fault},
    },
};
use composefs_testkit::registry::{Fault as Misdeed, Registry, RegistryOptions, Rule};
use tempfile::TempDir;

use crate::lab::{Heard, amd64, assert_same, connect, fault, image, manifest, options, pull_with};

/// Options with these settings and no insistence from elsewhere.
fn configured(dir: &TempDir, text: &str) -> Options {
    let path = dir.path().join("registries.conf");
    std::fs::write(&path, text).unwrap();
    options().tls_verify(None).registries_conf(Some(path))
}

fn with_mirrors(location: &Registry, mirrors: &[&Registry]) -> String {
    let mut text = format!(
        "[[registry]]\nprefix = \"example.org/team\"\nlocation = \"{}/real\"\ninsecure = true\n",
        location.host()
    );
    for mirror in mirrors {
        text += &format!("[[registry.mirror]]\nlocation = \"{}/copy\"\ninsecure = true\n", mirror.host());
    }
    text
}

fn filled(repository: &str) -> Registry {
    let registry = Registry::start(RegistryOptions::default());
    registry.add_image(repository, "v1", &image());
    registry
}

#[test]
fn mirrors_come_first_and_may_fail() {
    let dir = TempDir::new().unwrap();
    let (real, first, second) = (filled("real/app"), filled("copy/app"), filled("copy/app"));
    let options = configured(&dir, &with_mirrors(&real, &[&first, &second]));
    let reference = "docker://example.org/team/app:v1";
    let expected = pull_with(reference, &options).unwrap();
    assert!(!first.requests().is_empty() && second.requests().is_empty() && real.requests().is_empty());
    assert_eq!(connect(reference, &options).describe(), reference);

    for misdeed in [
        Misdeed::status(404, "NAME_UNKNOWN"),
        Misdeed::status(403, "DENIED"),
        Misdeed::status(500, "UNKNOWN"),
        Misdeed::Raw(b"what?\r\n\r\n".to_vec()),
    ] {
        for registry in [&first, &second, &real] {
            registry.heal();
            registry.forget_requests();
        }
        first.inject(Rule::new("/manifests/", misdeed.clone()));
        assert_same(&pull_with(reference, &options).unwrap(), &expected);
        // What did not have the image is not asked for its parts.
        assert!(first.requests().iter().all(|request| request.path.contains("/manifests/")), "{misdeed:?}");
        assert!(!second.requests().is_empty() && real.requests().is_empty(), "{misdeed:?}");
    }
    // For blobs, too; and for the last one what it says is the error.
    for registry in [&first, &second, &real] {
        registry.heal();
        registry.forget_requests();
    }
    first.inject(Rule::new("/blobs/", Misdeed::status(404, "BLOB_UNKNOWN")));
    second.inject(Rule::new("/blobs/", Misdeed::Close));
    assert_same(&pull_with(reference, &options).unwrap(), &expected);
    assert_eq!(real.sent_bytes("/manifests/"), 0);
    real.inject(Rule::new("/blobs/", Misdeed::status(403, "DENIED")));
    let error = pull_with(reference, &options).unwrap_err();
    assert!(matches!(fault(error), Fault::Denied { host, .. } if host == real.host()));
}

#[test]
fn a_mirror_that_breaks_off_or_lies() {
    let dir = TempDir::new().unwrap();
    let (real, mirror) = (filled("real/app"), filled("copy/app"));
    let options = configured(&dir, &with_mirrors(&real, &[&mirror]));
    let reference = "docker://example.org/team/app:v1";
    let expected = pull_with(reference, &options).unwrap();
    assert_eq!(real.requests().len(), 0);
    let blobs: u64 = image().layers.iter().map(|layer| layer.size).sum();
    for misdeed in [Misdeed::CutAfter(1000), Misdeed::FlipByte(700), Misdeed::LongLength(50)] {
        for registry in [&mirror, &real] {
            registry.heal();
            registry.forget_requests();
        }
        mirror.inject(Rule::new("/blobs/", misdeed.clone()));
        assert_same(&pull_with(reference, &options).unwrap(), &expected);
        // The manifest is the mirror's, and of the blobs what it did not give comes from the registry.
        assert_eq!(real.sent_bytes("/manifests/"), 0, "{misdeed:?}");
        assert!(real.sent_bytes("/blobs/") <= blobs + 10_000, "{misdeed:?}");
        let asked = mirror.requests().iter().filter(|request| request.path.contains("/blobs/")).count();
        assert!(asked <= 16, "{misdeed:?}: {asked}");
    }
}

#[test]
fn a_mirror_that_is_gone() {
    let dir = TempDir::new().unwrap();
    let (real, gone) = (filled("real/app"), filled("copy/app"));
    let heard = Arc::new(Heard::default());
    let options = configured(&dir, &with_mirrors(&real, &[&gone]));
    let retries = options.retries.clone().observer(Arc::<Heard>::clone(&heard));
    let options = options.retries(retries);
    let host = gone.host();
    drop(gone);
    let reference = "docker://example.org/team/app:v1";
    manifest(reference, &options).unwrap();
    let passed = format!("passed over: manifest v1 of {host}/copy/app: {host} refuses the connection");
    let text = heard.all();
    assert!(text.contains("Warning") && text.contains(&passed), "{text}");

    // That a mirror has not everything is worth a word only where nobody has it.
    let (real, other) = (filled("real/app"), filled("copy/else"));
    let options = configured(&dir, &with_mirrors(&real, &[&other])).retries(options.retries);
    manifest(reference, &options).unwrap();
    assert_eq!(heard.all(), "");
    real.inject(Rule::new("/manifests/", Misdeed::status(403, "DENIED")));
    let error = manifest(reference, &options).unwrap_err();
    assert!(matches!(fault(error), Fault::Denied { host, .. } if host == real.host()));
    let text = heard.all();
    assert!(text.contains(&format!("passed over: manifest v1 of {}/copy/app", other.host())), "{text}");
}

#[test]
fn blocked_and_insecure() {
    let dir = TempDir::new().unwrap();
    let registry = filled("app");
    let blocked =
        configured(&dir, &format!("[[registry]]\nlocation = \"{}\"\nblocked = true\n", registry.host()));
    let error = Client::open(&crate::lab::name_of(&registry.reference("app:v1")), &blocked).unwrap_err();
    assert!(matches!(error, Error::Hosts(_)), "{error:?}");
    let insecure = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.host());
    let insecure = configured(&dir, &insecure);
    manifest(&registry.reference("app:v1"), &insecure).unwrap();
    // Being told to insist counts more.
    let error =
        manifest(&registry.reference("app:v1"), &insecure.clone().tls_verify(Some(true))).unwrap_err();
    assert!(error.hint().unwrap().contains("--tls-verify=false"));
    assert!(matches!(fault(error), Fault::NoTls { .. } | Fault::Tls { .. }));
}

#[test]
fn short_names_are_looked_for() {
    let dir = TempDir::new().unwrap();
    let (one, other) = (filled("else"), filled("team/tool"));
    let text = format!(
        "unqualified-search-registries = [\"{one}\", \"{other}\"]\nshort-name-mode = \"permissive\"\n\
         [[registry]]\nlocation = \"{one}\"\ninsecure = true\n[[registry]]\nlocation = \"{other}\"\ninsecure = true\n",
        one = one.host(),
        other = other.host()
    );
    let options = configured(&dir, &text).environment(Environment::default());
    let source = Client::open_short(&"team/tool:v1".parse().unwrap(), &options).unwrap();
    source.manifest(&amd64()).unwrap();
    assert!(!one.requests().is_empty() && !other.requests().is_empty());
}
