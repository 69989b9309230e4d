//! Debian's docker-registry, filled by skopeo: the image is the one in the layout it was copied from.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use composefs_oci::{
    Error,
    digest::Digest,
    transport::{
        Source,
        registry::{RegistryOptions, fault::Fault},
    },
};
use composefs_testkit::{
    docker_registry::{DockerRegistry, USER, Wants},
    images::{Compression, DOCKER_MANIFEST, Image, Layout},
    peers,
    registry::Certificates,
};
use tempfile::TempDir;

use crate::lab::{
    amd64, assert_same, connect, fault, image, layer, manifest, options, pull_with, with_login,
};

fn skopeo_copy(arguments: &[&str]) {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet"]).args(arguments);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}

/// Fills a registry from a layout, and compares what comes out of it.
fn compare(dir: &Path, registry: &DockerRegistry, skopeo: &[&str], options: &RegistryOptions) {
    let mut layout = Layout::create(dir.join("layout"));
    let written = layout.image("v1", &image());
    let reference = registry.reference("team/app:v1");
    let from = layout.reference("v1");
    skopeo_copy(&[&["--preserve-digests"], skopeo, &[from.as_str(), reference.as_str()]].concat());
    let expected = pull_with(&from, &crate::lab::options()).unwrap();
    assert_same(&pull_with(&reference, options).unwrap(), &expected);
    let by_digest = registry.reference(&format!("team/app@{}", written.manifest.digest));
    assert_same(&pull_with(&by_digest, options).unwrap(), &expected);
    assert_eq!(connect(&reference, options).tags().unwrap(), ["v1"]);
}

#[test]
fn plain() {
    let dir = TempDir::new().unwrap();
    let registry = DockerRegistry::start_or_skip(dir.path(), Wants::Nothing);
    let (Some(_), Some(registry)) = (peers::skopeo_or_skip(), registry) else { return };
    compare(dir.path(), &registry, &["--dest-tls-verify=false"], &options());

    let reference = registry.reference("team/app:v1");
    let error = manifest(&reference, &options().tls_verify(None)).unwrap_err();
    assert!(error.hint().unwrap().contains("--tls-verify=false"));
    assert!(matches!(fault(error), Fault::NoTls { .. }));
    let error = manifest(&registry.reference("team/app:v2"), &options()).unwrap_err();
    assert!(matches!(fault(error), Fault::NotFound { what: "tag", .. }));
    let error = manifest(&registry.reference("absent:v2"), &options()).unwrap_err();
    assert!(matches!(fault(error), Fault::NotFound { .. } | Fault::NoRepository { .. }));
    // It is too old to know referrers.
    let source = connect(&reference, &options());
    let digest: Digest = source.root().unwrap().digest;
    assert_eq!(source.referrers(&digest, None).unwrap(), []);
    source.manifest(&amd64()).unwrap();

    // Docker's format stays what it is.
    let mut layout = Layout::create(dir.path().join("docker"));
    let from = layout.image("v1", &Image::new([layer(1, 3000, Compression::Gzip)]));
    let docker = registry.reference("team/docker:v1");
    skopeo_copy(&["--dest-tls-verify=false", "--format=v2s2", &layout.reference("v1"), &docker]);
    let root = connect(&docker, &options()).root().unwrap();
    assert_eq!(root.media_type, DOCKER_MANIFEST);
    assert_eq!(root.digest, Digest::sha256(&root.bytes));
    let pulled = pull_with(&docker, &options()).unwrap();
    let expected = pull_with(&layout.reference("v1"), &options()).unwrap();
    assert_ne!(pulled.manifest.as_str(), from.manifest.digest);
    assert_eq!((pulled.config, pulled.images), (expected.config, expected.images));
}

#[test]
fn with_a_password() {
    let dir = TempDir::new().unwrap();
    let registry = DockerRegistry::start_or_skip(dir.path(), Wants::Password);
    let (Some(_), Some(registry)) = (peers::skopeo_or_skip(), registry) else { return };
    let (user, password) = USER;
    let login = format!("--dest-creds={user}:{password}");
    compare(dir.path(), &registry, &["--dest-tls-verify=false", &login], &with_login(user, password));
    let reference = registry.reference("team/app:v1");
    for (options, given) in [(options(), false), (with_login(user, "wrong"), true)] {
        match fault(manifest(&reference, &options).unwrap_err()) {
            Fault::Unauthorized { given: was, .. } => assert_eq!(was, given),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn with_a_client_certificate() {
    let dir = TempDir::new().unwrap();
    let certificates = Certificates::generate();
    let registry = DockerRegistry::start_or_skip(dir.path(), Wants::ClientCertificate(&certificates));
    let (Some(_), Some(registry)) = (peers::skopeo_or_skip(), registry) else { return };
    let (with, without) = (dir.path().join("with"), dir.path().join("without"));
    certificates.write(&with, true);
    certificates.write(&without, false);
    let strict = || options().tls_verify(None);
    let trusting = strict().cert_dir(Some(with.clone()));
    let dest = format!("--dest-cert-dir={}", with.display());
    compare(dir.path(), &registry, &[&dest], &trusting);
    let reference = registry.reference("team/app:v1");
    let error = manifest(&reference, &strict()).unwrap_err();
    assert!(matches!(fault(error), Fault::Untrusted { .. }));
    let error: Error = manifest(&reference, &strict().cert_dir(Some(without))).unwrap_err();
    assert!(error.hint().unwrap().contains("client.cert"), "{error:?}");
    assert!(matches!(fault(error), Fault::WantsCertificate { .. }));
}
