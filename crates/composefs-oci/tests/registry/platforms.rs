//! Which image of an index is meant.

use composefs_oci::{Error, transport::Source};
use composefs_testkit::{
    images::{self, Compression, Image},
    registry::{Registry, RegistryOptions},
};
use serde_json::{Value, json};

use crate::lab::{connect, layer, options};

/// Stores an index of images for these platforms, each with its own contents; returns their digests.
fn index(registry: &Registry, tag: &str, entries: &[(&str, Option<&str>, Value)]) -> Vec<String> {
    let mut digests = Vec::new();
    let mut manifests = Vec::new();
    for (seed, (architecture, variant, more)) in entries.iter().enumerate() {
        let image =
            Image::new([layer(seed as u64 + 1, 50, Compression::Gzip)]).platform(architecture, *variant);
        let written = registry.add_image("app", &format!("{tag}-{seed}"), &image);
        let mut platform = json!({"os": "linux", "architecture": architecture});
        if let Some(variant) = variant {
            platform["variant"] = json!(variant);
        }
        let mut entry = json!({
            "mediaType": images::MANIFEST, "digest": written.manifest.digest, "size": written.manifest.size,
            "platform": platform,
        });
        for (key, value) in more.as_object().unwrap() {
            entry[key] = value.clone();
        }
        manifests.push(entry);
        digests.push(written.manifest.digest);
    }
    let text = serde_json::to_vec(&json!({"schemaVersion": 2, "manifests": manifests})).unwrap();
    let stored = registry.manifest("app", images::INDEX, &text);
    registry.tag("app", tag, &stored.digest);
    digests
}

fn choose(registry: &Registry, tag: &str, platform: &str) -> Result<String, Error> {
    let source = connect(&registry.reference(&format!("app:{tag}")), &options());
    source.manifest(&platform.parse().unwrap()).map(|chosen| chosen.digest.to_string())
}

#[test]
fn the_nearest_variant() {
    let registry = Registry::start(RegistryOptions::default());
    let none = json!({});
    let of = |variant| (variant, none.clone());
    let kinds = [None, Some("v5"), Some("v6"), Some("v7")].map(of);
    let arm = kinds.map(|(variant, more)| ("arm", variant, more));
    let digests = index(&registry, "arm", &arm);
    for (platform, at) in [("linux/arm/v7", 3), ("linux/arm/v6", 2), ("linux/arm/v5", 1), ("linux/arm/v8", 3)]
    {
        assert_eq!(choose(&registry, "arm", platform).unwrap(), digests[at], "{platform}");
    }
    let digests = index(&registry, "older", &arm[..3]);
    assert_eq!(choose(&registry, "older", "linux/arm/v7").unwrap(), digests[2]);
    let digests = index(&registry, "unsaid", &arm[..1]);
    assert_eq!(choose(&registry, "unsaid", "linux/arm/v7").unwrap(), digests[0]);

    let amd = [None, Some("v3"), Some("v2"), Some("v4")].map(|variant| ("amd64", variant, none.clone()));
    let digests = index(&registry, "amd", &amd);
    for (platform, at) in [("linux/amd64", 0), ("linux/amd64/v3", 1), ("linux/amd64/v2", 2)] {
        assert_eq!(choose(&registry, "amd", platform).unwrap(), digests[at], "{platform}");
    }
    let error = choose(&registry, "amd", "linux/s390x").unwrap_err();
    let expected = "there are: linux/amd64, linux/amd64/v3, linux/amd64/v2, linux/amd64/v4";
    assert_eq!(error.hint().unwrap(), expected);
    assert!(error.to_string().contains("linux/s390x"), "{error}");
}

#[test]
fn attestations_are_no_images_and_zstd_is_better() {
    let registry = Registry::start(RegistryOptions::default());
    let attestation = json!({
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
    });
    let zstd = json!({"annotations": {"io.github.containers.compression.zstd": "true"}});
    let entries = [("amd64", None, attestation), ("amd64", None, json!({})), ("amd64", None, zstd)];
    let digests = index(&registry, "all", &entries);
    assert_eq!(choose(&registry, "all", "linux/amd64").unwrap(), digests[2]);
    let digests = index(&registry, "some", &entries[..2]);
    assert_eq!(choose(&registry, "some", "linux/amd64").unwrap(), digests[1]);
    index(&registry, "none", &entries[..1]);
    for platform in ["linux/amd64", "unknown/unknown"] {
        assert!(matches!(choose(&registry, "none", platform), Err(Error::NoSuchImage { .. })));
    }
}

#[test]
fn a_single_image_for_another_machine_is_taken_with_a_warning() {
    let registry = Registry::start(RegistryOptions::default());
    let image = Image::new([layer(1, 50, Compression::Gzip)]).platform("s390x", None);
    registry.add_image("app", "v1", &image);
    let source = connect(&registry.reference("app:v1"), &options());
    let chosen = source.manifest(&"linux/amd64".parse().unwrap()).unwrap();
    let warning = chosen.warning.unwrap();
    assert!(warning.contains("linux/s390x") && warning.contains("linux/amd64"), "{warning}");
    assert_eq!(source.manifest(&"linux/s390x".parse().unwrap()).unwrap().warning, None);
}

#[test]
fn where_the_index_says_no_platform_the_config_does() {
    let registry = Registry::start(RegistryOptions::default());
    let null = json!({"platform": null});
    let digests = index(&registry, "all", &[("arm64", None, null.clone()), ("amd64", None, null)]);
    assert_eq!(choose(&registry, "all", "linux/amd64").unwrap(), digests[1]);
}
