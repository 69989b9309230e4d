//! Directories of one image, `dir:`.

use std::path::Path;

use composefs::progress::Silent;
use composefs_oci::{
    Error,
    pull::{PullOptions, Pulled},
};
use composefs_testkit::images::{Compression, Image};

use crate::lab::{Lab, chain, layer};

/// Lays the blobs of a layout out side by side, as skopeo does.
fn flatten(lab: &Lab, root: &str, children: &[&str]) {
    let to = lab.path().join("dir");
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    for entry in std::fs::read_dir(lab.layout.path().join("blobs/sha256")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let digest = format!("sha256:{name}");
        let name = match digest {
            digest if digest == root => "manifest.json".to_owned(),
            digest if children.contains(&digest.as_str()) => format!("{name}.manifest.json"),
            _ => name,
        };
        std::fs::copy(entry.path(), to.join(name)).unwrap();
    }
}

fn pull(lab: &Lab, platform: &str) -> Result<Pulled, Error> {
    let options = PullOptions::default().tag("d").platform(platform.parse().unwrap());
    lab.pull_as(&format!("dir:{}", lab.path().join("dir").display()), &options, &Silent)
}

fn dir(lab: &Lab) -> std::path::PathBuf {
    lab.path().join("dir")
}

#[test]
fn one_image() {
    for image in [
        Image::new([layer(1, 9_000, Compression::Gzip)]),
        Image::new([layer(1, 9_000, Compression::Gzip)]).docker(),
    ] {
        let mut lab = Lab::new();
        let written = lab.layout.image("x", &image);
        flatten(&lab, &written.manifest.digest, &[]);
        let pulled = pull(&lab, "linux/amd64").unwrap();
        assert_eq!(pulled.manifest.as_str(), written.manifest.digest);
        let expected = lab.pull("x").unwrap();
        assert_eq!(pulled.images, expected.images);
        lab.clean();
    }
}

#[test]
fn one_of_an_index() {
    let mut lab = Lab::new();
    let amd64 = lab.layout.write(&Image::new([layer(1, 900, Compression::Gzip)]));
    let arm64 = lab.layout.write(&Image::new([layer(2, 900, Compression::Gzip)]).platform("arm64", None));
    let index = lab.layout.index("x", &[amd64.clone(), arm64.clone()]);
    flatten(&lab, &index.digest, &[&amd64.manifest.digest, &arm64.manifest.digest]);
    assert_eq!(pull(&lab, "linux/amd64").unwrap().manifest.as_str(), amd64.manifest.digest);
    assert_eq!(pull(&lab, "linux/arm64").unwrap().manifest.as_str(), arm64.manifest.digest);
    assert!(matches!(pull(&lab, "linux/s390x"), Err(Error::NoSuchImage { .. })));
}

#[test]
fn wrong_directories() {
    let mut lab = Lab::new();
    let image = Image::new([layer(1, 900, Compression::Gzip)]);
    let written = lab.layout.image("x", &image);
    let again = |lab: &Lab| flatten(lab, &written.manifest.digest, &[]);
    let put = |lab: &Lab, name: &str, contents: &[u8]| std::fs::write(dir(lab).join(name), contents).unwrap();
    let layer_name = image.layers[0].digest.replace("sha256:", "");
    let changes: [(&dyn Fn(&Lab), &str); 8] = [
        (&|lab| std::fs::remove_file(dir(lab).join("manifest.json")).unwrap(), "manifest.json"),
        (&|lab| put(lab, "manifest.json", b"[]"), "manifest.json"),
        (&|lab| put(lab, "manifest.json", &vec![b' '; (4 << 20) + 1]), "larger"),
        (&|lab| put(lab, "version", b"Directory Transport Version: 2.0\n"), "2.0"),
        (&|lab| put(lab, &layer_name, b"wrong"), &image.layers[0].digest),
        (&|lab| std::fs::remove_file(dir(lab).join(&layer_name)).unwrap(), &image.layers[0].digest),
        (
            &|lab| {
                std::fs::remove_file(dir(lab).join(&layer_name)).unwrap();
                fifo(&dir(lab).join(&layer_name));
            },
            &layer_name,
        ),
        (&|lab| std::fs::remove_dir_all(dir(lab)).unwrap(), "manifest.json"),
    ];
    for (change, text) in changes {
        again(&lab);
        change(&lab);
        let error = pull(&lab, "linux/amd64").expect_err(text);
        lab.nothing_but(&error, text, &[]);
    }
    // Old ones have no version.
    again(&lab);
    std::fs::remove_file(dir(&lab).join("version")).unwrap();
    pull(&lab, "linux/amd64").unwrap_or_else(|error| panic!("{}", chain(&error)));
}

fn fifo(path: &Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
}
