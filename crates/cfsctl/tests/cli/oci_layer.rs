use composefs_testkit::sample;
use insta::assert_snapshot;

use crate::lab::{Session, hex, sample_layers};

#[test]
fn tar_entries_and_document() {
    let mut session = Session::with_sample();
    let [lower, upper] = sample_layers();
    assert!(session.run(["oci", "layer", &lower]).success().stdout == sample::lower());
    assert!(session.run(["oci", "layer", hex(&upper)]).success().stdout == sample::upper());
    session.see(["oci", "layer", &lower, "--dumpfile"]);
    session.see(["oci", "layer", &upper, "--dumpfile"]);
    session.see(["oci", "layer", &lower, "--json"]);
    session.see(["oci", "layer", &upper, "--json", "--dumpfile"]);
    session.see(["oci", "layer", &format!("sha256:{}", "0".repeat(64))]);
    session.see(["oci", "layer", "sample"]);
    assert_snapshot!(session.text());
}
