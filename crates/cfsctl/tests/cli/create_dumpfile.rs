use insta::assert_snapshot;

use crate::lab::{Session, anybody};

#[test]
fn a_directory_transformed_or_as_it_is() {
    let mut session = Session::new();
    session.tree();
    for options in [vec![], vec!["--no-propagate-usr-to-root"], vec!["--stat-root"]] {
        let run = session.sandbox.invocation().args(["--no-repo", "--hash", "sha256", "create-dumpfile"]);
        session.add(&anybody(run.args(options).arg("tree").run()));
    }
    assert_snapshot!(session.text());
}

#[test]
fn a_dumpfile_comes_out_in_canonical_form() {
    let mut session = Session::with_repository();
    let dump = "/ 4096 40755 9 0 0 0 0.0 - - -\n/b 5 100644 1 0 0 0 0.0 - h\\x65llo -\n/a 0 120777 1 0 0 0 0.0 b - -\n";
    session.see_fed(dump, ["create-dumpfile", "--dumpfile", "-"]);
    session.see_fed("/b 5 100644 1 0 0 0 0.0 - hello -\n", ["create-dumpfile", "--dumpfile", "-"]);
    session.see_fed("", ["create-dumpfile", "--dumpfile", "-"]);
    assert_snapshot!(session.text());
}

/// A dumpfile of our own is read back to the same bytes.
#[test]
fn round_trip() {
    let session = Session::with_sample();
    let dump = session.run(["oci", "dump", "sample"]).success();
    let run = session.sandbox.invocation().arg("--repo").arg(session.sandbox.repo());
    let again = run.args(["create-dumpfile", "--dumpfile", "-"]).stdin(dump.stdout.clone()).run().success();
    assert_eq!(again.text(), dump.text());
}
