use insta::assert_snapshot;

use crate::lab::{Session, hex, sample_layers};

#[test]
fn entries_by_every_kind_of_name() {
    let mut session = Session::with_sample();
    let [lower, upper] = sample_layers();
    session.see(["oci", "ls-layer", hex(&upper)]);
    let expected = session.run(["oci", "layer", "--dumpfile", &lower]).success();
    for name in [hex(&lower), &format!("oci-layer-{lower}")] {
        assert_eq!(session.run(["oci", "ls-layer", name]).text(), expected.text(), "{name}");
    }
    session.see(["oci", "ls-layer", "refs/none"]);
    session.see(["oci", "ls-layer", "refs/oci/sample"]);
    session.see(["oci", "ls-layer", &"0".repeat(64)]);
    assert_snapshot!(session.text());
}
