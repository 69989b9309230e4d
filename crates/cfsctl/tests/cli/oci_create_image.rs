use insta::assert_snapshot;

use crate::lab::{Session, sha256};

#[test]
fn stored_and_named() {
    let mut session = Session::with_sample();
    let config = session.run(["oci", "inspect", "sample", "--config"]).success().stdout;
    let config = sha256(config.strip_suffix(b"\n").unwrap());
    session.see(["oci", "create-image", &config["sha256:".len()..]]);
    session.see(["oci", "create-image", "sample", "--image-name", "n/sample"]);
    session.see(["--erofs-version", "2", "oci", "create-image", "sample", "--image-name", "n/two"]);
    session.see(["images", "--no-trunc"]);
    session.see(["oci", "create-image", "none"]);
    session.see(["oci", "create-image", "sample", "--image-name", "../escape"]);
    session.see(["fsck"]);
    assert_snapshot!(session.text());
}
