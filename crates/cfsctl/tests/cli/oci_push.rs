use composefs_testkit::{
    images::{Compression, Image, Layer, Layout},
    registry::{Auth, Registry, RegistryOptions},
    sample,
};
use insta::assert_snapshot;

use crate::lab::Session;

/// One job, so that what is told comes in one order.
const PUSH: [&str; 4] = ["--progress=none", "--jobs=1", "oci", "push"];

#[test]
fn to_files() {
    let mut session = Session::with_sample();
    session.see([&PUSH[..], &["sample", "oci:layouts/pushed:v1"]].concat());
    session.see(
        [&PUSH[..], &["--compression=none", "--digestfile=digest", "sample", "oci-archive:a.tar"]].concat(),
    );
    session
        .see([&PUSH[..], &["--compression=zstd", "--level=1", "--json", "sample", "dir:directory"]].concat());
    session.see([
        "--jobs=1",
        "oci",
        "push",
        "--compression=gzip",
        "--level=9",
        "sample",
        "oci:layouts/pushed:v2",
    ]);
    session.see([
        "--jobs=1",
        "oci",
        "push",
        "--compression=gzip",
        "--level=9",
        "sample",
        "oci:layouts/pushed:v3",
    ]);
    session.see(["--progress=none", "oci", "pull", "oci-archive:a.tar", "back"]);
    assert_snapshot!(session.text());
    let digest = std::fs::read_to_string(session.sandbox.path("digest")).unwrap();
    assert!(session.text().contains(&format!("manifest {digest}\n")), "{digest}");
    let ids = |name: &str| session.run(["oci", "compute-id", name]).success().text().to_owned();
    assert_eq!(ids("back"), ids("sample"));
}

/// What is replaced is the file behind a link, and a digest that cannot be written stops it before anything is public.
#[test]
fn links_and_digest_files() {
    let session = Session::with_sample();
    let path = |name: &str| session.sandbox.path(name);
    std::fs::write(path("old.tar"), "old").unwrap();
    std::os::unix::fs::symlink("old.tar", path("link.tar")).unwrap();
    std::os::unix::fs::symlink("nothing", path("dangling.tar")).unwrap();
    std::os::unix::fs::symlink("/dev/null", path("device.tar")).unwrap();
    let push = |arguments: &[&str]| session.run([&PUSH[..], arguments].concat());
    let _ = push(&["sample", "oci-archive:link.tar"]).success();
    assert_eq!(std::fs::read_link(path("link.tar")).unwrap().to_str(), Some("old.tar"));
    assert!(std::fs::metadata(path("old.tar")).unwrap().len() > 1024);
    for refused in ["dangling.tar", "device.tar"] {
        let output = push(&["sample", &format!("oci-archive:{refused}")]);
        assert_eq!(output.code(), 1, "{output}");
        assert!(output.to_string().contains(refused), "{output}");
        assert!(path(refused).symlink_metadata().unwrap().is_symlink());
    }

    let output = push(&["sample", "oci:pushed:v1", "--digestfile", "missing/digest"]);
    assert_eq!(output.code(), 1, "{output}");
    assert!(output.to_string().contains("write missing/digest"), "{output}");
    assert!(!path("pushed").exists());
    let output = push(&["none", "oci:pushed:v1", "--digestfile", "digest"]);
    assert_eq!(output.code(), 1, "{output}");
    assert!(!path("digest").exists(), "there is no digest");
}

#[test]
fn what_cannot_be_done() {
    let mut session = Session::with_sample();
    for arguments in [
        &["missing", "oci:pushed"][..],
        &["sample", "docker-daemon:x:y"],
        &["sample", "debian:12"],
        &["--all", "sample", "oci:pushed"],
        &["--compression=gzip", "--level=10", "sample", "oci:pushed"],
        &["--level=1", "sample", "oci:pushed"],
        &["--compression=none", "--level=1", "sample", "oci:pushed"],
        &["--compression=xz", "sample", "oci:pushed"],
    ] {
        session.see([&["-q", "oci", "push"][..], arguments].concat());
    }
    assert_snapshot!(session.text());
}

#[test]
fn an_index_with_all_its_images() {
    let session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    let images = ["amd64", "arm64"].map(|name| {
        layout.write(&Image::new([Layer::new(sample::lower(), Compression::Plain)]).platform(name, None))
    });
    let index = layout.index("all", &images);
    let pull = ["oci", "pull", "-q", "--platform=linux/amd64", "--all-platforms", "oci:layout:all", "all"];
    let _ = session.run(pull).success();
    let pushed = session.run(["oci", "push", "-q", "--all", "all", "oci:pushed:all"]).success();
    assert!(pushed.text().contains(&format!("manifest {}\n", index.digest)), "{}", pushed.text());
    let pushed =
        session.run(["oci", "push", "-q", "--all", "--compression=gzip", "all", "oci:pushed:all"]).success();
    assert!(!pushed.text().contains(&format!("manifest {}\n", index.digest)), "{}", pushed.text());
    assert_eq!(pushed.text().matches("made anew from").count(), 2, "{}", pushed.text());
}

#[test]
fn a_registry_takes_over_what_it_has() {
    let session = Session::with_repository();
    let registry =
        Registry::start(RegistryOptions::default().auth(Auth::Basic("ann".to_owned(), "p".to_owned())));
    registry.add_image("one", "v1", &Image::new([Layer::new(sample::lower(), Compression::Plain)]));
    let login = ["--tls-verify=false", "--creds=ann:p"];
    let from = registry.reference("one:v1");
    let _ = session.run([&["-q", "oci", "pull"][..], &login, &[&from, "one"]].concat()).success();
    let to = registry.reference("two:v1");
    let pushed = session.run([&["-q", "oci", "push"][..], &login, &["one", &to]].concat()).success();
    assert!(pushed.text().contains("blobs    0 copied + 2 already present"), "{}", pushed.text());
    assert_eq!(registry.find_manifest("two", "v1"), registry.find_manifest("one", "v1"));
    let refused = session.run(["-q", "oci", "push", "--tls-verify=false", "one", &to]).exited(1);
    assert!(!refused.talk().contains("ann"), "{}", refused.talk());
}

#[test]
fn the_shell_is_told_the_tags() {
    let session = Session::with_sample();
    let asked = |words: &[&str]| {
        let index = (words.len() - 1).to_string();
        let run = session.sandbox.invocation().env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", &index);
        let run = run
            .env("_CLAP_COMPLETE_SPACE", "true")
            .env("_CLAP_IFS", "\n")
            .env("_CLAP_COMPLETE_COMP_TYPE", "9");
        run.arg("--").args(words).run().success().text().to_owned()
    };
    let repo = format!("--repo={}", session.sandbox.repo().display());
    assert_eq!(asked(&["cfsctl", &repo, "oci", "push", "sam"]), "sample");
    assert_eq!(asked(&["cfsctl", &repo, "oci", "push", "x"]), "");
    assert!(asked(&["cfsctl", &repo, "oci", "inspect", "@sha256:"]).starts_with("@sha256:"));
    assert_eq!(asked(&["cfsctl", "--repo=/nowhere", "oci", "ls", "sam"]), "");
}

#[test]
fn blobs_that_were_kept() {
    let mut session = Session::with_sample();
    let pull = ["--progress=none", "--jobs=1", "oci", "pull", "--keep-blobs"];
    session.see([&pull[..], &["--dry-run", "oci:sample", "sample"]].concat());
    session.see([&pull[..], &["oci:sample", "sample"]].concat());
    session.see([&PUSH[..], &["sample", "oci:layouts/pushed:v1"]].concat());
    session.see(["-q", "fsck", "--deep"]);
    assert_snapshot!(session.text());
}
