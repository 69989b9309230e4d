//! Images that skopeo gets, from a registry and from other media, compared with the layout they were copied from.
#![cfg(feature = "proxy")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use composefs::{
    digest::Algorithm,
    progress::Silent,
    repo::{InitOptions, OpenOptions, Repository, Writer, init},
};
use composefs_oci::{
    Error,
    model::platform::Platform,
    pull::{PullOptions, Pulled, pull},
    reference::Reference,
    transport::{
        self, Source,
        proxy::{Proxy, ProxyOptions, Tls},
    },
};
use composefs_testkit::{
    docker_registry::{DockerRegistry, Wants},
    peers, require,
};
use rustix::fs::CWD;
use tempfile::TempDir;

fn layouts() -> TempDir {
    let dir = TempDir::new().unwrap();
    let file =
        std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/repo/layouts.tar.gz"));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file.unwrap()));
    archive.set_preserve_permissions(false);
    archive.unpack(dir.path()).unwrap();
    dir
}

fn writer(path: &Path) -> Writer {
    init(CWD, path, &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
    Repository::open(CWD, path, &OpenOptions::default()).unwrap().into_writer().unwrap()
}

fn pull_into(dir: &TempDir, name: &str, source: &dyn Source) -> Result<Pulled, Error> {
    let writer = writer(&dir.path().join(name));
    let pulled = pull(&writer, source, &PullOptions::default().tag("x"), &Silent)?;
    let again = pull(&writer, source, &PullOptions::default().tag("x"), &Silent)?;
    assert_eq!(again.images, pulled.images);
    Ok(pulled)
}

fn from_layout(dir: &TempDir, reference: &str) -> Pulled {
    let source =
        transport::open(&reference.parse::<Reference>().unwrap(), &transport::SourceOptions::default())
            .unwrap();
    pull_into(dir, "from-layout", source.as_ref()).unwrap()
}

fn skopeo_copy(arguments: &[&str]) -> bool {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet"]).args(arguments);
    command.stdout(Stdio::null()).status().unwrap().success()
}

#[test]
fn a_registry_gives_what_the_layout_gave() {
    let dir = layouts();
    let registry = DockerRegistry::start_or_skip(dir.path(), Wants::Nothing);
    let (Some(_), Some(registry)) = (peers::skopeo_or_skip(), registry) else { return };
    for (layout, tag) in [("basic", ":latest"), ("single", "")] {
        let layout_reference = format!("oci:{}{tag}", dir.path().join(layout).display());
        let name = registry.reference(&format!("{layout}:v1"));
        assert!(skopeo_copy(&["--dest-tls-verify=false", "--preserve-digests", &layout_reference, &name]));
        let into = TempDir::new().unwrap();
        let expected = from_layout(&into, &layout_reference);
        let source = Proxy::open(name.as_str(), ProxyOptions::default().tls(Tls::Unchecked)).unwrap();
        assert_eq!(source.describe(), name);
        let pulled = pull_into(&into, "from-registry", &source).unwrap();
        assert_eq!(pulled.manifest, expected.manifest, "{layout}");
        assert_eq!(pulled.config, expected.config);
        assert_eq!(pulled.verity, expected.verity);
        assert_eq!(pulled.images, expected.images);
        assert_eq!(pulled.objects, expected.objects);
    }

    let absent = registry.reference("absent");
    let source = Proxy::open(absent, ProxyOptions::default().tls(Tls::Unchecked)).unwrap();
    let error = source.manifest(&Platform::native()).unwrap_err();
    assert!(matches!(error, Error::Proxy { step: "open", .. }), "{error:?}");
    // The registry speaks no TLS, which is insisted on unless told otherwise. (Docker's loopback exception is not skopeo's.)
    let name = registry.reference("basic:v1");
    let source = Proxy::open(name, ProxyOptions::default()).unwrap();
    let error = source.manifest(&Platform::native()).unwrap_err();
    assert!(matches!(error, Error::Proxy { .. }), "{error:?}");
}

#[test]
fn other_media_give_the_same_image() {
    let dir = layouts();
    if peers::skopeo_or_skip().is_none() {
        return;
    }
    // One layer, which is a plain tar: not all media take every compression.
    let layout = format!("oci:{}", dir.path().join("single").display());
    let at = |name: &str| dir.path().join(name).display().to_string();
    let expected = from_layout(&dir, &layout);
    for (name, reference) in [
        ("dir", format!("dir:{}", at("copied"))),
        ("docker-archive", format!("docker-archive:{}:x/y:z", at("copied.tar"))),
        ("containers-storage", format!("containers-storage:[vfs@{}+{}]x/y:z", at("store"), at("run"))),
    ] {
        if !skopeo_copy(&[&layout, &reference]) {
            require::skip(&format!("needs a skopeo that can write to {name}:"));
            continue;
        }
        let source =
            transport::open(&reference.parse().unwrap(), &transport::SourceOptions::default()).unwrap();
        let pulled = match pull_into(&dir, name, source.as_ref()) {
            // Skopeo before 1.11 cannot say what podman's store keeps, and is told apart from a damaged store.
            Err(Error::Proxy { step: "list the layers of", source, .. }) if name == "containers-storage" => {
                assert!(source.to_string().contains("1.11"), "{source}");
                continue;
            }
            result => result.unwrap(),
        };
        assert_eq!(pulled.images, expected.images, "{name}");
        assert_eq!(pulled.objects, expected.objects, "{name}");
        if name == "dir" {
            assert_eq!(pulled.manifest, expected.manifest);
        }
    }
}

#[test]
fn what_skopeo_gets_is_judged_by_the_policy_here() {
    use composefs_oci::{environment::Environment, policy::Policy};
    let dir = layouts();
    let layout = dir.path().canonicalize().unwrap().join("single");
    let open = |reference: &str, transport: &str, scope: &str| {
        let (accept, reject) = (r#"[{"type":"insecureAcceptAnything"}]"#, r#"[{"type":"reject"}]"#);
        let text = format!(r#"{{"default":{accept},"transports":{{"{transport}":{{"{scope}":{reject}}}}}}}"#);
        let policy = Policy::parse(text.as_bytes()).unwrap();
        let environment = Environment::default().variable("HOME", "/h").uid(1000);
        let options = transport::SourceOptions::default().policy(policy).environment(environment);
        transport::open(&Reference::Proxy(reference.to_owned()), &options).map(drop)
    };
    // Skopeo 1.9 as a proxy looks at no policy.
    let layout_reference = format!("oci:{}", layout.display());
    for (reference, transport, scope) in [
        (layout_reference.as_str(), "oci", layout.to_str().unwrap()),
        ("docker://x.y/z:1", "docker", "x.y"),
        ("sif:/x", "sif", ""),
        ("containers-storage:[vfs@/s]x.y/z:1", "containers-storage", "[vfs@/s]x.y/z"),
        ("containers-storage:[vfs@/s]x.y/z:1", "containers-storage", "[/s]"),
    ] {
        assert!(matches!(open(reference, transport, scope), Err(Error::Policy(_))), "{reference}");
        open(reference, "tarball", "").unwrap();
    }
}
