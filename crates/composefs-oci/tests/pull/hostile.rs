//! Layouts and directories made by somebody who means harm: links that lead out, what is no file, what claims too much.

use std::os::unix::fs::symlink;

use composefs::{error::chain, progress::Silent};
use composefs_oci::{Error, pull::PullOptions, reference::Reference, transport};
use composefs_testkit::images::{Compression, Image};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::lab::{Lab, layer};

fn lab() -> (Lab, std::path::PathBuf) {
    let mut lab = Lab::new();
    let written = lab.layout.image("x", &Image::new([layer(1, 9_000, Compression::Gzip)]));
    let hex = written.manifest.digest.strip_prefix("sha256:").unwrap().to_owned();
    let manifest = lab.layout.path().join("blobs/sha256").join(hex);
    (lab, manifest)
}

/// Symlinks of a source are followed, as those of the user are: what they lead to is believed as little as any file,
/// and nothing of it is shown.
#[test]
fn links_of_a_layout_tell_nothing_of_what_they_lead_to() {
    let (lab, manifest) = lab();
    let secret = lab.path().join("secret");
    std::fs::write(&secret, "geheim: not for everybody\n").unwrap();
    for name in ["index.json", "oci-layout"] {
        let path = lab.layout.path().join(name);
        let kept = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        symlink(&secret, &path).unwrap();
        let error = lab.pull("x").unwrap_err();
        let text = format!("{} {error:?}", chain(&error));
        assert!(!text.contains("geheim") && !text.contains("everybody"), "{text}");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, kept).unwrap();
    }
    // Where all blobs are is the layout's business; that they are the right ones is ours.
    let moved = lab.path().join("moved");
    std::fs::rename(&manifest, &moved).unwrap();
    symlink(&moved, &manifest).unwrap();
    lab.pull("x").unwrap();
    std::fs::remove_file(&manifest).unwrap();
    symlink(&secret, &manifest).unwrap();
    let error = lab.pull("x").unwrap_err();
    assert!(!format!("{} {error:?}", chain(&error)).contains("geheim"));
}

#[test]
fn what_is_no_file_is_not_read() {
    let (lab, manifest) = lab();
    for kind in [FileType::Fifo, FileType::Socket] {
        std::fs::remove_file(&manifest).unwrap();
        mknodat(CWD, &manifest, kind, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let error = lab.pull("x").unwrap_err();
        assert!(matches!(error, Error::Source { .. }), "{error:?}");
    }
    for (name, target) in [("index.json", "/dev/zero"), ("oci-layout", "/dev/zero")] {
        let path = lab.layout.path().join(name);
        std::fs::remove_file(&path).unwrap();
        symlink(target, &path).unwrap();
        assert!(matches!(lab.pull("x").unwrap_err(), Error::Source { .. }));
    }
}

#[test]
fn names_of_digests_lead_nowhere() {
    for digest in ["sha256:../../secret", "../..:secret", "sha256:", "sha256/../..:aa", "SHA256:aa"] {
        let (lab, _) = lab();
        let index = format!(
            "{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
             \"digest\":\"{digest}\",\"size\":2,\"annotations\":{{\"org.opencontainers.image.ref.name\":\"x\"}}}}]}}"
        );
        std::fs::write(lab.path().join("secret"), "{}").unwrap();
        std::fs::write(lab.layout.path().join("index.json"), index).unwrap();
        let error = lab.pull("x").unwrap_err();
        assert!(!matches!(error, Error::Source { .. }), "{digest}: {error:?}");
    }
}

/// What is written stays in the directory that was named.
#[test]
fn copies_do_not_follow_links_in_their_destination() {
    let (lab, _) = lab();
    for link in ["blobs", "blobs/sha256"] {
        let (to, outside) = (lab.path().join("to"), lab.path().join("outside"));
        let _ = std::fs::remove_dir_all(&to);
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::create_dir_all(to.join(link).parent().unwrap()).unwrap();
        std::fs::write(to.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
        symlink(&outside, to.join(link)).unwrap();
        let from: Reference = lab.layout.reference("x").parse().unwrap();
        let source = transport::open(&from, &transport::SourceOptions::default()).unwrap();
        let sink = transport::layout::write::LayoutSink::create(&to, Some("x".to_owned())).unwrap();
        let options = composefs_oci::copy::CopyOptions::default();
        composefs_oci::copy::copy(source.as_ref(), &sink, &options, &Silent).unwrap_err();
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "{link}");
    }
}

/// A gigabyte that is claimed and not there is not made room for.
#[test]
fn sizes_that_are_claimed_are_not_believed() {
    let (lab, manifest) = lab();
    let text = std::fs::read_to_string(&manifest).unwrap();
    let claimed = text.replace("\"size\":", "\"size\":9223372036854775");
    std::fs::write(&manifest, claimed).unwrap();
    let options = PullOptions::default().tag("x");
    assert!(lab.pull_as(&lab.layout.reference("x"), &options, &Silent).is_err());
}
