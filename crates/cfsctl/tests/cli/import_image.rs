use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn stored_under_a_name_and_not_looked_into() {
    let mut session = Session::with_repository();
    session.see_fed("no image at all", ["import-image", "some/name"]);
    session.see(["images", "--no-trunc"]);
    session.see_fed("replaced", ["import-image", "some/name"]);
    session.see(["images"]);
    session.see(["image-objects", "some/name"]);
    session.see_fed("x", ["import-image", "../escape"]);
    session.see_fed("x", ["import-image", ""]);
    session.see(["fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn a_real_image_is_as_good_as_our_own() {
    let session = Session::with_repository();
    session.sandbox.write("tree.dump", "/ 0 40755 2 0 0 0 0.0 - - -\n/f 5 100644 1 0 0 0 0.0 - hello -\n");
    let image = session.sandbox.bare(["mkcomposefs", "--from-file", "tree.dump", "-"]).success().stdout;
    let run = session.sandbox.invocation().arg("--repo").arg(session.sandbox.repo());
    let id = run.args(["import-image", "real"]).stdin(image).run().success();
    let digest =
        session.sandbox.bare(["mkcomposefs", "--from-file", "tree.dump", "--print-digest-only"]).success();
    assert_eq!(id.text(), format!("sha256:{}", digest.text()));
    assert_snapshot!(session.run(["dump-files", "real", "/f"]).success());
    let _ = session.run(["fsck"]).success();
}
