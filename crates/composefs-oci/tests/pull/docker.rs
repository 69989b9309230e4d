//! What Docker saves: archives of every version, packed or not, right and wrong ones, and its daemon.

use composefs::progress::Silent;
use composefs_oci::{
    Error,
    pull::{PullOptions, Pulled, pull},
    transport::{self, SourceOptions, docker_daemon::DaemonOptions},
};
use composefs_testkit::{
    docker::{self, Daemon, Form},
    images::{Compression, Image, Layer, sha256},
    tars::TarBuilder,
};
use serde_json::json;

use crate::lab::{Heard, Lab, chain, layer};

const FORMS: [Form; 3] = [Form::Directories, Form::Links, Form::Blobs];
const COMPRESSIONS: [Compression; 3] = [Compression::Plain, Compression::Gzip, Compression::Zstd];

fn image(compression: Compression) -> Image {
    // The last is the first once more.
    let layers =
        [layer(1, 400_000, compression), layer(2, 3_000, compression), layer(1, 400_000, compression)];
    Image::new(layers).config("Cmd", json!(["/usr/file1"]))
}

fn pull_archive(lab: &Lab, archive: &[u8], select: &str) -> Result<Pulled, Error> {
    let path = lab.path().join("saved.tar");
    std::fs::write(&path, archive).unwrap();
    let reference = format!("docker-archive:{}{select}", path.display());
    lab.pull_as(&reference, &PullOptions::default().tag("x").jobs(2), &Silent)
}

#[test]
fn every_form_gives_the_image_of_the_layout() {
    // The layers of an archive are taken for uncompressed, so the manifest is that of such an image.
    let mut lab = Lab::new();
    let expected = lab.pull_image("x", &image(Compression::Plain)).unwrap();
    for (at, form) in FORMS.into_iter().enumerate() {
        for (layers, packed) in COMPRESSIONS.into_iter().zip(COMPRESSIONS.into_iter().cycle().skip(at)) {
            let archive = docker::archive(&image(layers), &["a.b/c:d"], form);
            let other = Lab::new();
            let pulled = pull_archive(&other, &packed.pack(&archive), "")
                .unwrap_or_else(|error| panic!("{form:?} {layers:?} {packed:?}: {}", chain(&error)));
            assert_eq!(pulled.manifest, expected.manifest, "{form:?} {layers:?} {packed:?}");
            assert_eq!((pulled.config, pulled.verity), (expected.config.clone(), expected.verity));
            assert_eq!(pulled.images, expected.images);
            other.clean();
        }
    }
}

#[test]
fn archives_packed_otherwise() {
    use std::io::Write as _;
    let lab = Lab::new();
    let archive = docker::archive(&image(Compression::Plain), &["x:y"], Form::Blobs);
    let mut xz = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
    xz.write_all(&archive).unwrap();
    pull_archive(&lab, &xz.finish().unwrap(), ":x:y").unwrap();
    let error = pull_archive(&lab, b"BZh91AY&SY and so on", "").unwrap_err();
    assert!(chain(&error).contains("bzip2"), "{}", chain(&error));
}

#[test]
fn archives_of_the_first_days() {
    let archive = docker::archive(&image(Compression::Plain), &["old:1", "old:2"], Form::Repositories);
    let lab = Lab::new();
    let one = pull_archive(&lab, &archive, ":old:1").unwrap();
    assert_eq!(pull_archive(&lab, &archive, "").unwrap().manifest, one.manifest);
    let reference = {
        let mut other = Lab::new();
        other.pull_image("x", &image(Compression::Plain)).unwrap()
    };
    assert_eq!(one.images, reference.images);
    let config = composefs_oci::stored::StoredConfig::open(&lab.writer, &one.config).unwrap();
    let config: serde_json::Value = serde_json::from_slice(config.bytes()).unwrap();
    assert_eq!(config["architecture"], "amd64");
    assert_eq!(config["config"]["Cmd"], json!(["/usr/file1"]));
    assert_eq!(config["history"].as_array().unwrap().len(), 3);
    assert_eq!(config["history"][1]["created_by"], "/bin/sh -c layer 1");
    assert!(config.get("parent").is_none() && config.get("id").is_none());

    let chain_of = |parent: &str| {
        let config = json!({"id": "a", "parent": parent}).to_string();
        TarBuilder::new()
            .file("repositories", r#"{"old":{"1":"a"}}"#)
            .file("a/json", config)
            .file("a/layer.tar", [0; 1024])
            .finish()
    };
    assert!(matches!(pull_archive(&lab, &chain_of("a"), "").unwrap_err(), Error::Model { .. }));
    assert!(chain(&pull_archive(&lab, &chain_of("b"), "").unwrap_err()).contains("b/json"));
    assert!(chain(&pull_archive(&lab, &chain_of("../.."), "").unwrap_err()).contains("../../json"));
}

#[test]
fn one_of_several_images() {
    let (first, second) = (Image::new([layer(1, 500, Compression::Plain)]), image(Compression::Plain));
    let archive = docker::archive_of(
        &[(&first, &["busybox:1"]), (&second, &["x.y:5000/z:latest", "z:2"])],
        Form::Links,
    );
    let lab = Lab::new();
    let config = |image: &Image| sha256(image.config_json().to_string().as_bytes());
    for (select, image) in [
        (":busybox:1", &first),
        (":docker.io/library/busybox:1", &first),
        (":@0", &first),
        (":x.y:5000/z", &second),
        (":z:2", &second),
        (":@1", &second),
    ] {
        assert_eq!(pull_archive(&lab, &archive, select).unwrap().config.as_str(), config(image), "{select}");
    }
    for (select, text) in [("", "2 images"), (":busybox", "busybox:latest"), (":@2", "position 2")] {
        let error = pull_archive(&lab, &archive, select).unwrap_err();
        assert!(matches!(&error, Error::NoSuchImage { .. }) && error.to_string().contains(text), "{error}");
        assert_eq!(error.hint().as_deref(), Some("there are: busybox:1, x.y:5000/z:latest, z:2"));
    }
    // What was saved for another machine is taken, and said.
    let heard = Heard::default();
    let archive = docker::archive(&first.clone().platform("s390x", None), &["b:1"], Form::Blobs);
    std::fs::write(lab.path().join("other.tar"), archive).unwrap();
    let reference = format!("docker-archive:{}", lab.path().join("other.tar").display());
    lab.pull_as(&reference, &PullOptions::default(), &heard).unwrap();
    assert_eq!(heard.starting("warning").len(), 1);
}

#[test]
fn wrong_archives() {
    let lab = Lab::new();
    let good = Image::new([layer(1, 5_000, Compression::Plain)]);
    let config = good.config_json().to_string();
    let id = sha256(config.as_bytes()).replace("sha256:", "");
    let list = |config: &str, layers: &[&str]| {
        json!([{"Config": config, "RepoTags": ["x:y"], "Layers": layers}]).to_string()
    };
    let tar = || TarBuilder::new().file("c.json", &config);
    let deep = "[".repeat(100_000);
    for (archive, text) in [
        (TarBuilder::new().finish(), "manifest.json"),
        (TarBuilder::new().file("oci-layout", "{}").finish(), "manifest.json"),
        (tar().file("manifest.json", "[]").finish(), "no images"),
        (tar().file("manifest.json", "{}").finish(), "list of images"),
        (tar().file("manifest.json", &deep).finish(), "list of images"),
        (tar().file("manifest.json", vec![b' '; (4 << 20) + 1]).finish(), "larger than"),
        (tar().file("manifest.json", list("c.json", &[])).finish(), "0 layers"),
        (tar().file("manifest.json", list("d.json", &["l"])).finish(), "d.json"),
        (tar().file("manifest.json", list("c.json", &["l"])).finish(), "member l is missing"),
        (tar().file("manifest.json", list("c.json", &["../l"])).file("../l", [0; 1024]).finish(), "../l"),
        (
            tar().file("manifest.json", list("c.json", &["l"])).symlink("l", "m").symlink("m", "l").finish(),
            "member l",
        ),
        (
            tar().file("manifest.json", list("c.json", &["l"])).symlink("l", "../../etc/passwd").finish(),
            "member l",
        ),
        (
            tar().file("manifest.json", list("c.json", &["l"])).symlink("l", "/etc/passwd").finish(),
            "member l",
        ),
        (
            tar()
                .file("manifest.json", list("c.json", &["l"]))
                .file("l", &good.layers[0].tar[..3000])
                .finish(),
            "blob",
        ),
        (
            tar().file("manifest.json", list("c.json", &["l"])).file("l", [7; 9000]).finish(),
            &good.layers[0].diff_id,
        ),
        (
            tar().file("manifest.json", list("c.json", &["l"])).file("l", [0x1f, 0x8b, 1, 2, 3]).finish(),
            &good.layers[0].diff_id,
        ),
        (
            TarBuilder::new()
                .file(&format!("{id}.json"), config.replace("amd64", "arm64"))
                .file("manifest.json", list(&format!("{id}.json"), &["l"]))
                .file("l", &good.layers[0].tar)
                .finish(),
            &id,
        ),
    ] {
        let error = pull_archive(&lab, &archive, "").unwrap_err();
        lab.nothing_but(&error, text, &[]);
    }
    // The same, right.
    let archive =
        tar().file("manifest.json", list("c.json", &["./l"])).file("l", &good.layers[0].tar).finish();
    pull_archive(&lab, &archive, "").unwrap();

    let error =
        lab.pull_as(&format!("docker-archive:{}", lab.path().display()), &PullOptions::default(), &Silent);
    assert!(matches!(error, Err(Error::WrongForm { .. })), "{error:?}");
    let error = lab.pull_as("docker-archive:/nonexistent.tar", &PullOptions::default(), &Silent).unwrap_err();
    assert!(error.to_string().contains("/nonexistent.tar"), "{error}");
}

#[test]
fn cut_anywhere() {
    let image = Image::new([layer(1, 20_000, Compression::Plain)]);
    for compression in COMPRESSIONS {
        let archive = compression.pack(&docker::archive(&image, &["x:y"], Form::Directories));
        let last = if compression == Compression::Plain { archive.len() - 1024 } else { archive.len() };
        for cut in [0, 1, 511, 3_000, last / 2, last - 1] {
            let lab = Lab::new();
            let error = pull_archive(&lab, &archive[..cut], "").expect_err(&format!("{compression:?} {cut}"));
            lab.nothing_but(&error, "saved.tar", &[]);
        }
    }
}

fn from_daemon(lab: &Lab, host: &str, name: &str) -> Result<Pulled, Error> {
    let options = SourceOptions::default().docker(DaemonOptions::default().host(host));
    let source = transport::open(&format!("docker-daemon:{name}").parse()?, &options)?;
    assert_eq!(source.describe(), format!("docker-daemon:{name}"));
    pull(&lab.writer, source.as_ref(), &PullOptions::default().tag("x"), &Silent)
}

#[test]
fn the_daemon_gives_the_image_of_the_layout() {
    let mut lab = Lab::new();
    let expected = lab.pull_image("x", &image(Compression::Plain)).unwrap();
    let archive = docker::archive(&image(Compression::Gzip), &["a.b/c:d"], Form::Blobs);
    let mut plain = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", archive.len()).into_bytes();
    plain.extend(&archive);
    let daemon = Daemon::start(&lab.path().join("docker.sock"), vec![docker::chunked(&archive), plain]);
    for name in ["a.b/c:d", "0123456789ab"] {
        let other = Lab::new();
        let pulled = from_daemon(&other, &daemon.host(), name).unwrap();
        assert_eq!((&pulled.manifest, &pulled.images), (&expected.manifest, &expected.images));
    }
    let asked = ["GET /images/a.b/c:d/get HTTP/1.1", "GET /images/0123456789ab/get HTTP/1.1"];
    assert_eq!(daemon.requests(), asked);
}

#[test]
fn what_the_daemon_does_not_give() {
    let lab = Lab::new();
    let archive = docker::archive(&image(Compression::Plain), &["a.b/c:d"], Form::Blobs);
    let whole = docker::chunked(&archive);
    let answers = vec![
        docker::refusal("404 Not Found", "No such image: a.b/c:d"),
        docker::refusal("500 Internal Server Error", "disk is\nfull"),
        whole[..whole.len() / 2].to_vec(),
        whole[..whole.len() - 5].to_vec(),
        b"SSH-2.0-OpenSSH\r\n".to_vec(),
        Vec::new(),
    ];
    let count = answers.len();
    let daemon = Daemon::start(&lab.path().join("docker.sock"), answers);
    let errors: Vec<_> =
        (0..count).map(|_| from_daemon(&lab, &daemon.host(), "a.b/c:d").unwrap_err()).collect();
    assert!(matches!(&errors[0], Error::NoSuchImage { reason, .. } if reason == "No such image: a.b/c:d"));
    assert!(chain(&errors[1]).ends_with("status 500: disk is full"), "{}", chain(&errors[1]));
    for error in &errors[1..] {
        assert!(matches!(error, Error::Daemon { .. }), "{error:?}");
        lab.nothing_but(error, "docker.sock", &[]);
    }
    let host = daemon.host();
    assert_eq!(daemon.requests().len(), count);
    let error = from_daemon(&lab, &host, "a.b/c:d").unwrap_err();
    assert!(error.hint().unwrap().contains("DOCKER_HOST"), "{error:?}");
    let error = from_daemon(&lab, "ssh://somewhere", "a.b/c:d").unwrap_err();
    assert!(chain(&error).contains("only unix://"), "{}", chain(&error));
}

#[test]
fn a_layer_of_nothing() {
    let lab = Lab::new();
    let empty = Layer::new(vec![0; 1024], Compression::Plain);
    pull_archive(&lab, &docker::archive(&Image::new([empty]), &["x:y"], Form::Directories), "").unwrap();
}
