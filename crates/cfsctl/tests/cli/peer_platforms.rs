//! A repository with all platforms of an image, beside cfsctl 0.9.4: skipped where that is not installed.

use composefs_testkit::{images::Layout, peers};

use crate::{lab::Session, oci_pull_plan::several};

#[test]
fn the_peer_lives_with_an_index() {
    let Some(peer) = peers::cfsctl_or_skip() else { return };
    let session = Session::with_repository();
    let mut layout = Layout::create(session.sandbox.path("layout"));
    let layers = several(&mut layout);
    let all = ["-q", "oci", "pull", "--all-platforms", "--platform=linux/amd64", "oci:layout:several", "it"];
    let _ = session.run(all).success();
    let theirs = |arguments: &[&str]| {
        let repo = session.sandbox.repo();
        session.sandbox.invocation_of(&peer).arg("--repo").arg(repo).args(arguments).run()
    };
    let healthy = || {
        let _ = theirs(&["fsck"]).success();
        let _ = theirs(&["oci", "fsck"]).success();
        let images = theirs(&["oci", "images"]).success();
        assert!(images.text().contains("it"), "{images}");
        let _ = theirs(&["oci", "inspect", "it"]).success();
        let _ = session.run(["fsck", "--deep"]).success();
        let _ = session.run(["oci", "fsck"]).success();
    };
    healthy();
    // Its collection takes nothing that the index names.
    let before = session.repository_state();
    let _ = theirs(&["gc"]).success();
    let after = session.repository_state();
    let objects = |state: &[String]| {
        state.iter().filter(|line| line.contains("/objects/") && line.contains(" bytes ")).count()
    };
    assert_eq!(objects(&before), objects(&after));
    healthy();
    for layer in &layers {
        layout.remove(&layer.digest);
    }
    let arm = ["-q", "oci", "pull", "--platform=linux/arm64", "oci:layout:several", "arm"];
    let _ = session.run(arm).success();
    healthy();
    let _ = theirs(&["gc"]).success();
    healthy();
    // A tag that the peer takes away leaves an index that ours takes away.
    let _ = theirs(&["oci", "untag", "it"]).success();
    let _ = session.run(["oci", "untag", "it"]).success();
    let _ = session.run(["oci", "untag", "arm"]).success();
    let _ = session.run(["gc"]).success();
    assert_eq!(objects(&session.repository_state()), 0);
}
