use insta::assert_snapshot;

use crate::lab::{Session, unpack};

#[test]
fn all_images_of_the_one_that_is_named() {
    let mut session = Session::new();
    unpack("r09-sha256-dual.tar.gz", &session.sandbox.repo());
    let id = |version: &str| {
        let tag = session.run(["oci", "images", "--json"]).success().json()["images"][0]["name"].clone();
        let output =
            session.run(["--erofs-version", version, "oci", "compute-id", tag.as_str().unwrap()]).success();
        output.text().trim_end().to_owned()
    };
    let (one, two) = (id("1"), id("2"));
    session.see(["oci", "linked-erofs-images", &one]);
    assert_eq!(
        session.run(["oci", "linked-erofs-images", &two]).success().text(),
        session.run(["oci", "linked-erofs-images", &one]).success().text()
    );
    session.see(["oci", "linked-erofs-images", &"0".repeat(64)]);
    session.see(["oci", "linked-erofs-images", "not-hex"]);
    assert_snapshot!(session.text());
}
