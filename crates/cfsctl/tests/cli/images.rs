use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn named_images() {
    let mut session = Session::with_repository();
    session.see(["images"]);
    session.see(["images", "--json"]);
    session.sandbox.write("tree.dump", "/ 0 40755 2 0 0 0 0.0 - - -\n");
    for name in ["b/second", "a", "odd name"] {
        let _ = session.run(["create-image", "--dumpfile", "tree.dump", name]).success();
    }
    session.see(["images"]);
    session.see(["list-images", "--no-trunc"]);
    session.see(["images", "--json"]);
    assert_snapshot!(session.text());
}
