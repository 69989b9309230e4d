use composefs_testkit::images::{Image, Layer, Layout};
use insta::assert_snapshot;

use crate::lab::{Session, sample_layers};

#[test]
fn good() {
    let mut session = Session::with_sample();
    session.see(["oci", "fsck"]);
    session.see(["oci", "fsck", "sample"]);
    session.see(["oci", "fsck", "--json"]);
    session.see(["oci", "fsck", "--deep"]);
    session.see(["oci", "fsck", "--deep", "sample"]);
    session.see(["oci", "fsck", "none"]);
    assert_snapshot!(session.text());
}

#[test]
fn a_layer_that_is_gone() {
    let mut session = Session::with_sample();
    let [lower, _] = sample_layers();
    std::fs::remove_file(session.sandbox.path(format!("repo/streams/oci-layer-{lower}"))).unwrap();
    session.see(["oci", "fsck"]);
    session.see(["oci", "fsck", "--json"]);
    assert_snapshot!(session.text());
}

#[test]
fn images_and_artifacts_that_do_not_fit() {
    let mut session = Session::with_sample();
    let repo = session.sandbox.repo();
    let image = session.run(["oci", "compute-id", "sample"]).success().text().trim_end().to_owned();
    std::fs::remove_file(repo.join("images").join(image)).unwrap();
    // An artifact without a tag; one that has a tag needs no subject.
    let blob = Layer::packed(b"blob".to_vec(), b"blob".to_vec(), "application/x-blob");
    let mut layout = Layout::create(session.sandbox.path("beside"));
    layout.image("artifact", &Image::artifact("application/x-thing", [blob]));
    let _ = session.run(["--progress=none", "oci", "pull", "oci:beside:artifact", "artifact"]).success();
    let manifest = &std::fs::read_link(repo.join("streams/refs/oci/artifact")).unwrap();
    let manifest = manifest.to_str().unwrap().rsplit_once("oci-manifest-").unwrap().1;
    let _ = session.run(["oci", "untag", "artifact"]).success();
    let gone = format!("sha256:{}", "0".repeat(64));
    let referrers = repo.join("streams/refs/oci-referrers").join(gone);
    std::fs::create_dir_all(&referrers).unwrap();
    std::os::unix::fs::symlink(format!("../../../oci-manifest-{manifest}"), referrers.join(manifest))
        .unwrap();
    session.see(["oci", "fsck"]);
    session.see(["oci", "fsck", "--deep"]);
    session.see(["oci", "fsck", "--deep", "--json"]);
    assert_snapshot!(session.text());
}

#[test]
fn a_config_that_cannot_be_read() {
    let mut session = Session::with_sample();
    let streams = session.sandbox.path("repo/streams");
    for entry in std::fs::read_dir(&streams).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("oci-config-") {
            std::fs::write(std::fs::canonicalize(&path).unwrap(), "nonsense").unwrap();
        }
    }
    session.see(["oci", "fsck"]);
    session.see(["oci", "images"]);
    session.see(["oci", "inspect", "sample"]);
    assert_snapshot!(session.text());
}

#[test]
fn a_tag_that_leads_nowhere() {
    let mut session = Session::with_sample();
    std::os::unix::fs::symlink(
        "../../oci-manifest-sha256:0",
        session.sandbox.path("repo/streams/refs/oci/broken"),
    )
    .unwrap();
    session.see(["oci", "fsck"]);
    assert_snapshot!(session.text());
}
