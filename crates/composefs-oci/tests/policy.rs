//! Policies: what skopeo decides by the same file of the same image, and that what is refused leaves nothing behind.
#![cfg(feature = "registry")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{path::Path, process::Command};

use composefs_oci::{
    Error,
    environment::Environment,
    policy::{Policy, PolicyError},
    transport::{self, SourceOptions, registry::RegistryOptions},
};
use composefs_testkit::{
    images::{Image, Layout, layer_of_noise},
    peers,
    registry::{Registry, RegistryOptions as Served},
};
use tempfile::TempDir;

/// What becomes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Used,
    Refused,
    /// The file is not taken at all.
    BadFile,
}
use Decision::{BadFile, Refused, Used};

const ACCEPT: &str = r#"[{"type":"insecureAcceptAnything"}]"#;
const REJECT: &str = r#"[{"type":"reject"}]"#;

fn image() -> Image {
    Image::new([layer_of_noise(1, 3000, composefs_testkit::images::Compression::Gzip)])
}

/// An image in a registry and in files, and policies for it.
struct Lab {
    dir: TempDir,
    registry: Registry,
}

impl Lab {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        // Where the temporary directory is a symlink, scopes by its name match nothing.
        let mut layout = Layout::create(dir.path().canonicalize().unwrap().join("layout"));
        layout.image("v1", &image());
        let registry = Registry::start(Served::default());
        registry.add_image("ns/app", "v1", &image());
        Self { dir, registry }
    }

    fn policy(&self, text: &str) -> std::path::PathBuf {
        let path = self.dir.path().join("policy.json");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().canonicalize().unwrap().join(name).display().to_string()
    }

    fn ours(&self, policy: &str, reference: &str) -> Decision {
        let policy = match Policy::load(&Environment::default(), Some(&self.policy(policy))) {
            Ok(policy) => policy,
            Err(PolicyError::File { .. }) => return BadFile,
            Err(error) => panic!("{error}"),
        };
        let options = SourceOptions::default()
            .registry(RegistryOptions::default().tls_verify(Some(false)))
            .policy(policy);
        match transport::open(&reference.parse().unwrap(), &options) {
            Ok(_) => Used,
            Err(Error::Policy(PolicyError::Rejected { .. } | PolicyError::Unchecked { .. })) => Refused,
            Err(error) => panic!("{reference}: {error}"),
        }
    }

    fn skopeo(&self, policy: &str, reference: &str) -> Decision {
        let out = self.dir.path().join("out");
        let _ = std::fs::remove_dir_all(&out);
        let mut command = Command::new("skopeo");
        command.arg("--policy").arg(self.policy(policy)).args(["copy", "--quiet", "--src-tls-verify=false"]);
        let output = command.arg(reference).arg(format!("dir:{}", out.display())).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Used,
            false if text.contains("Error loading trust policy") => BadFile,
            false if text.contains("Source image rejected") => Refused,
            false => panic!("{reference}: {text}"),
        }
    }

    /// Compares what we and skopeo make of it.
    #[track_caller]
    fn alike(&self, policy: &str, reference: &str, expected: Decision) {
        assert_eq!(self.ours(policy, reference), expected, "ours: {policy}");
        assert_eq!(self.skopeo(policy, reference), expected, "skopeo's: {policy}");
    }
}

fn of(transport: &str, scope: &str, list: &str, default: &str) -> String {
    format!(r#"{{"default":{default},"transports":{{"{transport}":{{"{scope}":{list}}}}}}}"#)
}

#[test]
fn scopes_mean_what_they_mean_to_skopeo() {
    if peers::skopeo_or_skip().is_none() {
        return;
    }
    let lab = Lab::new();
    let name = lab.registry.reference("ns/app:v1");
    let bare = name.trim_start_matches("docker://");
    let host = bare.split('/').next().unwrap();
    let (_, below) = host.split_once('.').unwrap();
    let (_, port) = host.split_once(':').unwrap();
    for (scope, matches) in [
        (bare.to_owned(), true),
        (format!("{host}/ns/app"), true),
        (format!("{host}/ns"), true),
        (host.to_owned(), true),
        (format!("*.{}", below.split(':').next().unwrap()), true),
        ("*.1".to_owned(), true),
        (format!("*.{below}"), false),
        (format!("*.1:{port}"), false),
        (String::new(), true),
        (format!("{host}/ns/app:v2"), false),
        (format!("{host}/n"), false),
        (format!("{host}/"), false),
        (below.to_owned(), false),
        (format!("*{host}"), false),
        ("*".to_owned(), false),
        (host.split(':').next().unwrap().to_owned(), false),
    ] {
        let (yes, no) = if matches { (Used, Refused) } else { (Refused, Used) };
        lab.alike(&of("docker", &scope, ACCEPT, REJECT), &name, yes);
        lab.alike(&of("docker", &scope, REJECT, ACCEPT), &name, no);
    }
    let layout = lab.path("layout");
    let link = lab.path("link");
    std::os::unix::fs::symlink("layout", &link).unwrap();
    let parent = Path::new(&layout).parent().unwrap().display().to_string();
    for (scope, matches) in [
        (layout.clone(), true),
        (parent, true),
        (String::new(), true),
        (format!("{layout}:v1"), false),
        (link.clone(), false),
        (format!("{layout}x"), false),
    ] {
        let expected = if matches { Used } else { Refused };
        for path in [&layout, &link] {
            let reference = format!("oci:{path}:v1");
            assert_eq!(lab.ours(&of("oci", &scope, ACCEPT, REJECT), &reference), expected, "{scope}");
        }
        lab.alike(&of("oci", &scope, ACCEPT, REJECT), &format!("oci:{link}:v1"), expected);
    }
    let signed = r#"[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}]"#;
    lab.alike(&of("oci", &layout, signed, ACCEPT), &format!("oci:{layout}:v1"), Refused);
}

#[test]
fn files_are_taken_and_refused_as_by_skopeo() {
    if peers::skopeo_or_skip().is_none() {
        return;
    }
    let lab = Lab::new();
    let reference = format!("oci:{}:v1", lab.path("layout"));
    let list = |requirements: &str| of("dir", "", &format!("[{requirements}]"), ACCEPT);
    let signed = |rest: &str| list(&format!(r#"{{"type":"signedBy","keyType":"GPGKeys"{rest}}}"#));
    let identity = |identity: &str| signed(&format!(r#","keyPath":"/a","signedIdentity":{identity}"#));
    let storage = |scope: &str| of("containers-storage", scope, ACCEPT, ACCEPT);
    let hex = "a".repeat(64);
    for good in [
        format!(r#"{{"default":{ACCEPT}}}"#),
        format!(r#"{{"default":{ACCEPT},"transports":{{}}}}"#),
        format!(r#"{{"default":{ACCEPT},"transports":{{"oci":{{}}}}}}"#),
        of("unheard-of", "any scope", ACCEPT, ACCEPT),
        of("docker", "*.a.*.com", ACCEPT, ACCEPT),
        of("dir", "/a:b", ACCEPT, ACCEPT),
        of("oci", "/a:b c", ACCEPT, ACCEPT),
        of("docker-daemon", "/", ACCEPT, ACCEPT),
        storage("[/b]"),
        storage("[a@/b]"),
        storage("[a@/b/]x y"),
        storage(&format!("[a@/b]@{hex}")),
        signed(r#","keyPath":"/a""#),
        signed(r#","keyPaths":["/a"]"#),
        signed(r#","keyData":"aw==""#),
        list(r#"{"type":"signedBy","keyType":"X509Certificates","keyPath":"/a"}"#),
        identity(r#"{"type":"exactReference","dockerReference":"busybox:x"}"#),
        identity(r#"{"type":"exactRepository","dockerRepository":"x.y/z:t"}"#),
        identity(r#"{"type":"remapIdentity","prefix":"a","signedPrefix":"b:5000/c"}"#),
        list(r#"{"type":"sigstoreSigned","keyPath":"/a","signedIdentity":{"type":"matchRepository"}}"#),
        list(r#"{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}"#),
    ] {
        lab.alike(&good, &reference, Used);
    }
    for bad in [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        r#"{"default":[]}"#.to_owned(),
        r#"{"default":null}"#.to_owned(),
        r#"{"default":[{}]}"#.to_owned(),
        r#"{"default":[5]}"#.to_owned(),
        format!(r#"{{"Default":{ACCEPT}}}"#),
        format!(r#"{{"default":{ACCEPT},"x":1}}"#),
        format!(r#"{{"default":{ACCEPT},"default":{ACCEPT}}}"#),
        format!(r#"{{"default":{ACCEPT}}} x"#),
        format!(r#"{{"default":{ACCEPT},"transports":null}}"#),
        format!(r#"{{"default":{ACCEPT},"transports":{{"oci":null}}}}"#),
        format!(r#"{{"default":{ACCEPT},"transports":{{"oci":{{"/a":{ACCEPT},"/a":{ACCEPT}}}}}}}"#),
        format!(r#"{{"default":{ACCEPT},"transports":{{"oci":{{}},"oci":{{}}}}}}"#),
        of("unheard-of", "x", r#"[{"type":"q"}]"#, ACCEPT),
        of("oci", "/a", "[]", ACCEPT),
        of("oci", "/", ACCEPT, ACCEPT),
        of("oci", "a", ACCEPT, ACCEPT),
        of("oci", "/a/", ACCEPT, ACCEPT),
        of("oci-archive", "/a//b", ACCEPT, ACCEPT),
        of("dir", "/a/../b", ACCEPT, ACCEPT),
        of("docker-archive", "/a", ACCEPT, ACCEPT),
        of("tarball", "/a", ACCEPT, ACCEPT),
        storage("x"),
        storage("[x"),
        storage("[]"),
        storage("[@/b]"),
        storage("[a@b]"),
        storage("[a@/b]x@123"),
        list(r#"{"type":"insecureAcceptAnything","x":1}"#),
        list(r#"{"type":"reject","type":"reject"}"#),
        signed(""),
        signed(r#","keyPath":"/a","keyData":"aw==""#),
        signed(r#","keyData":"%""#),
        signed(r#","keyPath":"""#),
        list(r#"{"type":"signedBy","keyType":"other","keyPath":"/a"}"#),
        identity("null"),
        identity(r#"{"type":"other"}"#),
        identity(r#"{"type":"matchExact","x":1}"#),
        identity(r#"{"type":"exactReference","dockerReference":"busybox"}"#),
        identity(r#"{"type":"exactReference"}"#),
        identity(r#"{"type":"exactRepository","dockerRepository":"A"}"#),
        identity(r#"{"type":"remapIdentity","prefix":"","signedPrefix":"b"}"#),
        identity(r#"{"type":"remapIdentity","prefix":"a/b:c","signedPrefix":"b"}"#),
        identity(r#"{"type":"remapIdentity","prefix":"a","signedPrefix":"b/c/D"}"#),
        identity(r#"{"type":"remapIdentity","prefix":"a"}"#),
        list(r#"{"type":"sigstoreSigned"}"#),
        list(r#"{"type":"sigstoreSigned","keyPath":"/a","keyType":"x"}"#),
        list(r#"{"type":"sigstoreSigned","keyPath":"/a","keyData":"aw=="}"#),
    ] {
        lab.alike(&bad, &reference, BadFile);
    }
}

#[test]
fn nothing_is_asked_of_a_registry_that_is_rejected() {
    let lab = Lab::new();
    let name = lab.registry.reference("ns/app:v1");
    assert_eq!(lab.ours(&of("docker", "", REJECT, ACCEPT), &name), Refused);
    assert!(lab.registry.requests().is_empty());
}

#[test]
fn registries_of_a_short_name_that_are_rejected_are_passed_over() {
    let lab = Lab::new();
    let conf = lab.dir.path().join("registries.conf");
    let hosts: Vec<_> = ["one.example", "two.example"].map(|host| format!("\"{host}\"")).into();
    let text =
        format!("unqualified-search-registries = [{}]\nshort-name-mode = \"disabled\"\n", hosts.join(", "));
    std::fs::write(&conf, text).unwrap();
    let open = |policy: &str| {
        let policy = Policy::load(&Environment::default(), Some(&lab.policy(policy))).unwrap();
        let registry = RegistryOptions::default().registries_conf(Some(conf.clone()));
        let options = SourceOptions::default().registry(registry).policy(policy);
        transport::open(&"app".parse().unwrap(), &options).map(|source| source.describe())
    };
    assert!(open(&of("docker", "one.example", REJECT, ACCEPT)).unwrap().contains("two.example/app:latest"));
    assert!(open(&of("docker", "two.example", REJECT, ACCEPT)).unwrap().contains("one.example/app:latest"));
    let error = open(&of("docker", "", REJECT, ACCEPT)).unwrap_err();
    assert!(error.to_string().contains("one.example/app:latest is rejected"), "{error}");
}
