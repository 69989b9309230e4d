use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn objects_of_an_image_by_every_kind_of_name() {
    let mut session = Session::with_sample();
    let image = session.run(["oci", "compute-id", "sample"]).success().text().trim_end().to_owned();
    let listed = session.run(["image-objects", &image]).success();
    let mut lines: Vec<&str> = listed.text().lines().collect();
    lines.sort_unstable();
    session.note(lines.join("\n"));
    let config = session.run(["oci", "inspect", "sample", "--config"]).success();
    let _ = session
        .run([
            "oci",
            "create-image",
            &crate::lab::sha256(&config.stdout[..config.stdout.len() - 1])[7..],
            "--image-name",
            "n/x",
        ])
        .success();
    assert_eq!(session.run(["image-objects", "refs/n/x"]).success().text(), listed.text());
    // A bare name has no slash.
    session.see(["image-objects", "n/x"]);
    session.see(["image-objects", "none"]);
    session.see(["image-objects", "refs/none"]);
    session.see(["image-objects", &"0".repeat(64)]);
    assert_snapshot!(session.text());
}
