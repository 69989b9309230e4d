//! Archives that other programs load, and theirs that we load.

use std::process::Command;

use composefs::progress::Silent;
use composefs_oci::{
    Error,
    export::{
        ExportOptions,
        save::{ArchiveForm, save},
    },
    policy::Policy,
    pull::{Pulled, pull},
    transport::saved::SavedArchive,
};
use composefs_testkit::{
    images::{Compression, Image},
    peers,
};

use crate::lab::{Lab, chain, image, layer, pulling};

impl Lab {
    fn save(&self, names: &[&str], form: ArchiveForm) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        save(&self.writer, &names, form, &ExportOptions::default(), &mut out, &self.heard)?;
        Ok(out)
    }

    /// Loads all images of an archive; returns their names, too.
    fn load(&self, archive: &[u8]) -> Vec<(Vec<String>, Pulled)> {
        let archive = SavedArchive::read(archive, "-".as_ref(), &Policy::default()).unwrap();
        let images = archive.images().iter().enumerate();
        let load = |(at, names): (usize, &Vec<String>)| {
            let source = archive.image(at).unwrap();
            (names.clone(), pull(&self.writer, source.as_ref(), &pulling("loaded"), &Silent).unwrap())
        };
        images.map(load).collect()
    }
}

fn run(program: &std::path::Path, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn two(lab: &mut Lab) -> [Pulled; 2] {
    let other = Image::new([layer(1, 3_000, Compression::Gzip), layer(7, 90_000, Compression::Gzip)]);
    [("a", image(), "one:v1"), ("b", other, "quay.io/team/two:v2")].map(|(tag, image, name)| {
        lab.layout.image(tag, &image);
        lab.pull(&lab.layout.reference(tag), name)
    })
}

#[test]
fn several_images_and_back() {
    let mut lab = Lab::new();
    let pulled = two(&mut lab);
    for form in [ArchiveForm::Oci, ArchiveForm::Docker] {
        let archive = lab.save(&["one:v1", "quay.io/team/two:v2"], form).unwrap();
        let loaded = lab.load(&archive);
        let names: Vec<&str> = loaded.iter().flat_map(|(names, _)| names).map(String::as_str).collect();
        assert_eq!(names, ["one:v1", "quay.io/team/two:v2"], "{form:?}");
        for ((_, loaded), pulled) in loaded.iter().zip(&pulled) {
            assert_eq!((&loaded.config, &loaded.images), (&pulled.config, &pulled.images), "{form:?}");
        }
        assert!(archive == lab.save(&["one:v1", "quay.io/team/two:v2"], form).unwrap(), "{form:?}");
    }
}

#[test]
fn artifacts_are_no_docker_images() {
    let mut lab = Lab::new();
    lab.have("x", &Image::artifact("text/x", [layer(1, 500, Compression::Gzip)]));
    let error = lab.save(&["x"], ArchiveForm::Docker).unwrap_err();
    assert!(matches!(error, Error::NotAContainer(_)), "{}", chain(&error));
    let archive = lab.save(&["x"], ArchiveForm::Oci).unwrap();
    assert_eq!(SavedArchive::read(&archive[..], "-".as_ref(), &Policy::default()).unwrap().images().len(), 1);
}

#[test]
fn what_is_no_archive() {
    for bytes in [&b""[..], b"x", &[0; 1024]] {
        assert!(SavedArchive::read(bytes, "-".as_ref(), &Policy::default()).is_err());
    }
}

#[test]
fn skopeo_and_we() {
    let Some(skopeo) = peers::skopeo_or_skip() else { return };
    let mut lab = Lab::new();
    let pulled = two(&mut lab);
    for (form, transport) in [(ArchiveForm::Oci, "oci-archive"), (ArchiveForm::Docker, "docker-archive")] {
        let archive = lab.save(&["one:v1", "quay.io/team/two:v2"], form).unwrap();
        std::fs::write(lab.path("ours.tar"), archive).unwrap();
        for (name, pulled) in ["one:v1", "quay.io/team/two:v2"].into_iter().zip(&pulled) {
            let from = format!("{transport}:{}:{name}", lab.path("ours.tar").display());
            for theirs in ["oci-archive", "docker-archive"] {
                let path = lab.path("theirs.tar");
                let _ = std::fs::remove_file(&path);
                let to = format!("{theirs}:{}:quay.io/x/y:z", path.display());
                // Docker's archives take no zstd; skopeo unpacks what it reads from one.
                let copied = Command::new(&skopeo)
                    .args(["--insecure-policy", "copy", "-q", &from, &to])
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&copied.stderr);
                if theirs == "docker-archive" && said.contains("zstd compression is not supported") {
                    continue;
                }
                assert!(copied.status.success(), "{from} {to}: {said}");
                let loaded = lab.load(&std::fs::read(&path).unwrap());
                let [(names, loaded)] = &loaded[..] else { panic!("{to}") };
                assert_eq!(names, &["quay.io/x/y:z"]);
                assert_eq!((&loaded.config, &loaded.images), (&pulled.config, &pulled.images), "{from} {to}");
            }
        }
    }
}

/// Where there is a podman that can run here, it loads what we save, and we load what it saves.
#[test]
fn podman_and_we() {
    let Some(podman) = peers::find("podman") else { return };
    let mut lab = Lab::new();
    let pulled = two(&mut lab);
    let (root, runroot) = (lab.path("root").display().to_string(), lab.path("run").display().to_string());
    let store = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
    let can = Command::new(&podman).args(store).arg("info").output().unwrap();
    if !can.status.success() {
        return;
    }
    for form in [ArchiveForm::Oci, ArchiveForm::Docker] {
        let path = lab.path("ours.tar").display().to_string();
        std::fs::write(&path, lab.save(&["quay.io/team/two:v2"], form).unwrap()).unwrap();
        run(&podman, &[&store[..], &["load", "-q", "-i", &path]].concat());
        for theirs in ["oci-archive", "docker-archive"] {
            let to = lab.path("theirs.tar").display().to_string();
            let _ = std::fs::remove_file(&to);
            run(
                &podman,
                &[&store[..], &["save", "-q", "--format", theirs, "-o", &to, "quay.io/team/two:v2"]].concat(),
            );
            let loaded = lab.load(&std::fs::read(&to).unwrap());
            let [(names, loaded)] = &loaded[..] else { panic!("{to}") };
            assert_eq!(names, &["quay.io/team/two:v2"]);
            assert_eq!(
                (&loaded.config, &loaded.images),
                (&pulled[1].config, &pulled[1].images),
                "{form:?} {theirs}"
            );
        }
        run(&podman, &[&store[..], &["rmi", "-a", "-f"]].concat());
    }
}
