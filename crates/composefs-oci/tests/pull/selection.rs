//! Which image of a layout is meant.

use composefs::progress::Silent;
use composefs_oci::{
    Error,
    model::platform::Platform,
    pull::{PullOptions, Pulled},
};
use composefs_testkit::images::{Compression, INDEX, Image, Written};
use serde_json::json;

use crate::lab::{Heard, Lab, chain, layer};

fn image(seed: u64, architecture: &str, variant: Option<&str>) -> Image {
    Image::new([layer(seed, 200, Compression::Plain)]).platform(architecture, variant)
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn pull(lab: &Lab, select: &str, on: &str) -> Result<Pulled, Error> {
    let reference = format!("oci:{}{select}", lab.layout.path().display());
    lab.pull_as(&reference, &PullOptions::default().platform(platform(on)), &Silent)
}

fn expect(lab: &Lab, select: &str, on: &str, written: &Written) {
    let pulled = pull(lab, select, on).unwrap_or_else(|error| panic!("{select} on {on}: {}", chain(&error)));
    assert_eq!(pulled.manifest.as_str(), written.manifest.digest, "{select} on {on}");
}

#[test]
fn by_platform_in_an_index() {
    let mut lab = Lab::new();
    let kinds = [
        ("amd64", None),
        ("arm64", Some("v8")),
        ("arm", Some("v5")),
        ("arm", Some("v6")),
        ("arm", Some("v7")),
        ("riscv64", None),
    ];
    let written: Vec<_> = kinds
        .iter()
        .enumerate()
        .map(|(seed, (architecture, variant))| lab.layout.write(&image(seed as u64, architecture, *variant)))
        .collect();
    lab.layout.index("all", &written);
    for select in ["", ":all", ":@0"] {
        expect(&lab, select, "linux/amd64", &written[0]);
        expect(&lab, select, "linux/arm64", &written[1]);
        expect(&lab, select, "linux/arm64/v8", &written[1]);
        expect(&lab, select, "linux/riscv64", &written[5]);
        expect(&lab, select, "linux/arm/v5", &written[2]);
        let error = pull(&lab, select, "linux/s390x").unwrap_err();
        assert!(matches!(error, Error::NoSuchImage { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("linux/arm/v7"), "{error}");
        pull(&lab, select, "windows/amd64").unwrap_err();
    }
    // What is the one of its name and for something else than was asked for is refused, too.
    let one = lab.layout.image("one", &image(9, "s390x", None));
    expect(&lab, ":one", "linux/s390x", &one);
    let error = pull(&lab, ":one", "linux/ppc64le").unwrap_err();
    assert!(error.hint().unwrap().contains("linux/s390x"), "{error}");
    // A digest is meant, whatever the platform; in a nested index, too.
    for image in &written {
        expect(&lab, &format!("@{}", image.manifest.digest), "linux/s390x", image);
    }
    let missing = format!("@sha256:{}", "0".repeat(64));
    assert!(matches!(pull(&lab, &missing, "linux/amd64"), Err(Error::NoSuchImage { .. })));
    lab.clean();
}

#[test]
fn by_the_config_where_a_descriptor_says_nothing() {
    let mut lab = Lab::new();
    let arm = lab.layout.image("arm", &image(1, "arm64", None));
    let amd = lab.layout.image("amd", &image(2, "amd64", None));
    expect(&lab, "", "linux/amd64", &amd);
    expect(&lab, "", "linux/arm64", &arm);
    // The named one is meant, with a warning.
    let heard = Heard::default();
    let options = PullOptions::default().platform(platform("linux/amd64"));
    let pulled = lab.pull_as(&lab.layout.reference("arm"), &options, &heard).unwrap();
    assert_eq!(pulled.manifest.as_str(), arm.manifest.digest);
    assert_eq!(heard.starting("warning").len(), 1, "{:?}", heard.starting("warning"));
    assert!(heard.starting("warning")[0].contains("linux/arm64"));
    pull(&lab, "", "linux/s390x").unwrap_err();
}

#[test]
fn by_tag_and_position() {
    let mut lab = Lab::new();
    let one = lab.layout.image("one", &image(1, "amd64", None));
    let two = lab.layout.image("two", &image(2, "amd64", None));
    expect(&lab, ":one", "linux/amd64", &one);
    expect(&lab, ":two", "linux/amd64", &two);
    expect(&lab, ":@0", "linux/amd64", &one);
    expect(&lab, ":@1", "linux/amd64", &two);
    expect(&lab, "", "linux/amd64", &one);
    for (select, text) in [(":three", "three"), (":@2", "position 2")] {
        let error = pull(&lab, select, "linux/amd64").unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.hint().unwrap().contains("one, two"), "{:?}", error.hint());
    }
    // Under two names, and asked for by its digest on another machine.
    lab.layout.tag("three", &two.manifest);
    expect(&lab, &format!("@{}", two.manifest.digest), "linux/s390x", &two);
}

#[test]
fn one_tag_for_several_platforms() {
    let mut lab = Lab::new();
    let arm = lab.layout.image("x", &image(1, "arm64", None));
    let amd = lab.layout.image("x", &image(2, "amd64", None));
    expect(&lab, ":x", "linux/amd64", &amd);
    expect(&lab, ":x", "linux/arm64", &arm);
    let error = pull(&lab, ":x", "linux/s390x").unwrap_err();
    assert_eq!(error.hint().unwrap(), "there are: linux/arm64, linux/amd64");
}

#[test]
fn indexes_are_nested_once() {
    let mut lab = Lab::new();
    let written = lab.layout.write(&image(1, "amd64", None));
    let inner = lab.layout.index("inner", std::slice::from_ref(&written));
    let outer = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [inner.json()]});
    let outer = lab.layout.blob(INDEX, outer.to_string().as_bytes());
    lab.layout.tag("outer", &outer);
    let error = lab.refused("outer", &inner.digest, &[]);
    assert!(matches!(error, Error::MediaType { .. }), "{error:?}");
    // An index that leads to itself cannot be made: its digest would have to be in it.
    let mut entry = written.config.json();
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "config"});
    lab.layout.entry(entry);
    let error = lab.refused("config", &written.config.digest, &[]);
    assert!(matches!(error, Error::MediaType { .. }), "{error:?}");

    expect(&lab, ":inner", "linux/amd64", &written);
    let mut lab = Lab::new();
    let inner = lab.layout.index("inner", &[]);
    lab.refused("inner", "nothing here", &[]);
    lab.layout.damage(&inner.digest, |bytes| bytes.push(b' '));
    lab.refused("inner", &inner.digest, &[]);
    lab.layout.remove(&inner.digest);
    lab.refused("inner", &inner.digest, &[]);
}

#[test]
fn an_expected_manifest() {
    let mut lab = Lab::new();
    let written = lab.layout.image("x", &image(1, "amd64", None));
    let other = composefs_testkit::images::sha256(b"other");
    let options = PullOptions::default().tag("x").expected(other.parse().unwrap());
    let error = lab.pull_as(&lab.layout.reference("x"), &options, &Silent).unwrap_err();
    assert!(matches!(error, Error::UnexpectedManifest { .. }), "{error:?}");
    lab.nothing_but(&error, &other, &[]);
    let options = PullOptions::default().tag("x").expected(written.manifest.digest.parse().unwrap());
    lab.pull_as(&lab.layout.reference("x"), &options, &Silent).unwrap();
}

#[test]
fn empty_and_artifacts_only() {
    let lab = Lab::new();
    let error = pull(&lab, "", "linux/amd64").unwrap_err();
    assert!(matches!(error, Error::NoSuchImage { .. }), "{error:?}");

    let mut lab = Lab::new();
    let blob = layer(1, 200, Compression::Plain);
    let artifact = lab.layout.image("a", &Image::artifact("application/vnd.example", [blob]));
    let amd = lab.layout.image("b", &image(2, "amd64", None));
    expect(&lab, "", "linux/amd64", &amd);
    expect(&lab, ":a", "linux/amd64", &artifact);
    let heard = Heard::default();
    lab.pull_as(&lab.layout.reference("a"), &PullOptions::default(), &heard).unwrap();
    assert_eq!(heard.starting("warning"), [""; 0], "an artifact is for no platform");
}
