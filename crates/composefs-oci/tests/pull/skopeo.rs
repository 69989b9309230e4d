//! What skopeo writes is read natively, and is the image of the layout it came from.

use std::process::{Command, Stdio};

use composefs::progress::Silent;
use composefs_oci::pull::PullOptions;
use composefs_testkit::{
    images::{Compression, Image},
    peers,
};

use crate::lab::{Lab, chain, layer};

fn skopeo_copy(arguments: &[&str]) -> bool {
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet"]).args(arguments);
    command.stdout(Stdio::null()).status().unwrap().success()
}

#[test]
fn archives_and_directories() {
    if peers::skopeo_or_skip().is_none() {
        return;
    }
    let mut lab = Lab::new();
    let layers = [
        layer(1, 50_000, Compression::Gzip),
        layer(2, 50, Compression::Plain),
        layer(1, 50_000, Compression::Gzip),
    ];
    let expected = lab.pull_image("x", &Image::new(layers)).unwrap();
    let at = |name: &str| lab.path().join(name).display().to_string();
    let archive = format!("docker-archive:{}:a.b/c:d", at("saved.tar"));
    let (dir, oci_archive) = (format!("dir:{}", at("dir")), format!("oci-archive:{}", at("layout.tar")));
    for to in [&archive, &dir, &oci_archive] {
        assert!(skopeo_copy(&[&lab.layout.reference("x"), to]), "{to}");
        let other = Lab::new();
        let pulled = other
            .pull_as(to, &PullOptions::default().tag("x"), &Silent)
            .unwrap_or_else(|error| panic!("{to}: {}", chain(&error)));
        assert_eq!((&pulled.config, &pulled.images), (&expected.config, &expected.images), "{to}");
        if *to == dir {
            assert_eq!(pulled.manifest, expected.manifest);
        }
        other.clean();
    }
}

#[test]
fn a_directory_of_all_platforms() {
    if peers::skopeo_or_skip().is_none() {
        return;
    }
    let mut lab = Lab::new();
    let images = [("amd64", 1), ("arm64", 2)].map(|(name, seed)| {
        lab.layout.write(&Image::new([layer(seed, 900, Compression::Gzip)]).platform(name, None))
    });
    lab.layout.index("x", &images);
    let dir = format!("dir:{}", lab.path().join("dir").display());
    assert!(skopeo_copy(&["--all", &lab.layout.reference("x"), &dir]));
    for (name, image) in ["linux/amd64", "linux/arm64"].iter().zip(&images) {
        let options = PullOptions::default().platform(name.parse().unwrap());
        assert_eq!(lab.pull_as(&dir, &options, &Silent).unwrap().manifest.as_str(), image.manifest.digest);
    }
}
