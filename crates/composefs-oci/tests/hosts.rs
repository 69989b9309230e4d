//! Where skopeo asks, told by the requests that arrive, is where we would.
#![cfg(feature = "registry")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs)]

use std::process::Command;

use composefs_oci::{
    environment::Environment,
    reference::RegistryReference,
    transport::registry::hosts::{HostsError, RegistriesConf},
};
use composefs_testkit::{
    peers,
    registry::{Registry, RegistryOptions},
};

/// Settings and names; `HOST` is the registry, which has nothing.
const CASES: &[(&str, &[&str])] = &[
    ("", &["HOST/a/b:c"]),
    (
        r#"
        [[registry]]
        prefix = "HOST/a"
        location = "HOST/other/x"
        [[registry.mirror]]
        location = "HOST/m1"
        [[registry.mirror]]
        location = "HOST/m2"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "HOST/m3"
        pull-from-mirror = "tag-only"
        [[registry]]
        prefix = "HOST/a/b"
        location = "HOST/longer"
        "#,
        &["HOST/a/x:c", "HOST/a/x@DIGEST", "HOST/a/b:c", "HOST/a/bb:c", "HOST/ab/c:d", "HOST/a/b/c/d"],
    ),
    (
        r#"
        [[registry]]
        location = "HOST"
        mirror-by-digest-only = true
        [[registry.mirror]]
        location = "HOST/m"
        [[registry]]
        location = "HOST/blocked"
        blocked = true
        "#,
        &["HOST/a:b", "HOST/a@DIGEST", "HOST/blocked/x:y", "HOST/blockedx/y:z"],
    ),
    (
        r#"
        [[registry]]
        prefix = "*.0.0.1"
        [[registry.mirror]]
        location = "HOST/wild"
        [[registry]]
        prefix = "*.0.1"
        blocked = true
        [[registry]]
        prefix = "HOST/exact"
        location = "HOST/elsewhere"
        "#,
        &["HOST/exact/a:b"],
    ),
];

#[test]
fn skopeo_asks_where_we_would() {
    let Some(skopeo) = peers::skopeo_or_skip() else { return };
    let registry = Registry::start(RegistryOptions::default());
    let digest = format!("sha256:{}", "1".repeat(64));
    let fill = |text: &str| text.replace("HOST", &registry.host()).replace("DIGEST", &digest);
    for (conf, names) in CASES {
        let home = tempfile::tempdir().unwrap();
        let place = home.path().join(".config/containers/registries.conf");
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(&place, fill(conf)).unwrap();
        let environment = Environment::default().root(home.path()).variable("HOME", home.path());
        let ours = RegistriesConf::load(&environment, None).unwrap();
        for name in *names {
            let name = fill(name);
            registry.forget_requests();
            let output = Command::new(&skopeo)
                .args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")])
                .env_clear()
                .env("HOME", home.path())
                .output()
                .unwrap();
            assert!(!output.status.success(), "there is nothing");
            let requests = registry.requests();
            let asked: Vec<_> = requests
                .iter()
                .map(|request| request.path.as_str())
                .filter(|path| path.contains("/manifests/"))
                .collect();
            let reference: RegistryReference = name.parse().unwrap();
            let expected: Vec<_> = match ours.endpoints(&reference) {
                Ok(endpoints) => endpoints
                    .iter()
                    .map(|endpoint| {
                        let at = &endpoint.reference;
                        assert_eq!(endpoint.api_host(), registry.host());
                        format!("/v2/{}/manifests/{}", at.path(), at.wanted())
                    })
                    .collect(),
                Err(HostsError::Blocked { .. }) => Vec::new(),
                Err(error) => panic!("{name}: {error}"),
            };
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(asked, expected, "{name} with{conf}\n{stderr}");
        }
    }
}
