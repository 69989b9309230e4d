use composefs_testkit::{
    images::{Compression, Image, Layer, Layout},
    registry::{Auth, Registry, RegistryOptions},
    sample,
};
use insta::assert_snapshot;

use crate::lab::Session;

/// A session with the sample image and no repository.
fn session() -> Session {
    let session = Session::new();
    sample::write(&session.sandbox.path("sample"));
    session
}

#[test]
fn between_files() {
    let mut session = session();
    // One job, so that what is told comes in one order.
    let copy = ["--progress=none", "--jobs=1", "oci", "copy"];
    session.see([&copy[..], &["oci:sample", "oci:layouts/copied:v1"]].concat());
    session.see([&copy[..], &["--json", "oci:sample", "oci:layouts/copied:v2"]].concat());
    session.see(
        [&copy[..], &["--digestfile=digest", "oci:layouts/copied:v1", "oci-archive:image.tar:v1"]].concat(),
    );
    session.see([&copy[..], &["oci-archive:image.tar", "dir:directory"]].concat());
    session.see(["--jobs=1", "oci", "copy", "dir:directory", "oci:layouts/copied:v3"]);
    assert_snapshot!(session.text());
    let digest = std::fs::read_to_string(session.sandbox.path("digest")).unwrap();
    assert!(session.text().contains(&format!("manifest {digest}\n")), "{digest}");
}

#[test]
fn what_cannot_be_done() {
    let mut session = session();
    for arguments in [
        ["oci:sample", "docker-archive:image.tar"],
        ["oci:sample", "debian:12"],
        ["oci:sample", "oci:sample@sha256:0000000000000000000000000000000000000000000000000000000000000000"],
        ["oci:missing", "oci:copied"],
        ["oci:sample", "dir:sample"],
        ["oci:sample", "oci-archive:sample"],
        ["--all", "--platform=linux/amd64"],
    ] {
        session.see([&["-q", "oci", "copy"][..], &arguments].concat());
    }
    assert_snapshot!(session.text());
}

#[test]
fn with_a_login_for_each_side() {
    let session = Session::new();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    let written = layout.image("v1", &Image::new([Layer::new(sample::lower(), Compression::Gzip)]));
    let registry = |name: &str| {
        Registry::start(RegistryOptions::default().auth(Auth::Basic(name.to_owned(), "p".to_owned())))
    };
    let (one, two) = (registry("ann"), registry("bob"));
    let (first, second) = (one.reference("app:v1"), two.reference("app:v1"));
    let copy = ["-q", "oci", "copy", "--tls-verify=false"];
    let _ = session.run([&copy[..], &["--creds=ann:p", "oci:layout:v1", &first]].concat()).success();
    let creds = ["--src-creds=ann:p", "--dest-creds=bob:p"];
    let copied = session.run([&copy[..], &creds, &[&first, &second]].concat()).success();
    assert!(copied.text().contains(&written.manifest.digest), "{}", copied.text());
    assert!(two.find_manifest("app", "v1").is_some());
    let refused = session.run([&copy[..], &["--creds=ann:p", &first, &second]].concat()).exited(1);
    assert!(!refused.talk().contains("ann:p"), "{}", refused.talk());
}
