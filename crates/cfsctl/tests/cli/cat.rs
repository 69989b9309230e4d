use composefs_testkit::sample;
use insta::assert_snapshot;

use crate::lab::{Session, hex, sample_layers};

#[test]
fn streams_come_out_as_they_went_in() {
    let mut session = Session::with_sample();
    let [lower, upper] = sample_layers();
    assert!(session.run(["cat", &format!("oci-layer-{lower}")]).success().stdout == sample::lower());
    assert!(session.run(["cat", hex(&upper)]).success().stdout == sample::upper());
    session.see(["cat", "refs/oci/sample"]);
    session.see(["cat", "refs/oci/none"]);
    session.see(["cat", "oci-layer-sha256:0000000000000000000000000000000000000000000000000000000000000000"]);
    session.see(["cat", "../meta.json"]);
    session.see(["cat"]);
    assert_snapshot!(session.text());
}

#[test]
fn damage_is_an_error_and_not_an_output() {
    let session = Session::with_sample();
    let [lower, _] = sample_layers();
    let objects = session.run(["oci", "layer", &lower, "--dumpfile"]).success();
    let line =
        objects.text().lines().find(|line| line.starts_with("/usr/share/numbers ")).unwrap().to_owned();
    let path = line.split(' ').find(|word| word.len() == 65 && word.contains('/')).unwrap();
    let path = session.sandbox.path("repo/objects").join(path);
    std::fs::remove_file(path).unwrap();
    let output = session.run(["cat", &format!("oci-layer-{lower}")]).exited(1);
    assert_snapshot!(output.talk());
}
