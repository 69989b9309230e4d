//! `--policy`, and the files that are looked for without it.

use composefs_testkit::sample;
use insta::assert_snapshot;

use crate::lab::Session;

const ACCEPT: &str = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
const REJECT: &str = r#"{"default":[{"type":"reject"}]}"#;

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let mut session = Session::new();
    sample::write(&session.sandbox.path("sample"));
    for (name, text) in [
        ("reject", REJECT),
        ("accept", ACCEPT),
        ("broken", r#"{"default":[{"type":"insecureAcceptAnything"}],"transport":{}}"#),
        ("signed", r#"{"default":[{"type":"sigstoreSigned","keyPath":"/etc/pki/key.pub"}]}"#),
        (
            "ours",
            r#"{"default":[{"type":"reject"}],"transports":{"oci":{"":[{"type":"composefs","certPath":"/c"}]}}}"#,
        ),
    ] {
        session.sandbox.write(name, text);
    }
    for policy in ["reject", "broken", "signed", "ours", "missing"] {
        let policy = format!("--policy={policy}");
        session.see(["-q", "oci", "pull", &policy, "oci:sample", "sample"]);
        let text = session.run(["-q", "oci", "pull", "-n", &policy, "oci:sample", "sample"]).exited(1);
        assert!(text.talk().starts_with("Error: pull oci:sample\n"), "a dry run tells the same");
    }
    session.see(["-q", "oci", "copy", "--policy=reject", "oci:sample", "oci:copied"]);
    assert_snapshot!(session.text());
    assert!(!session.sandbox.repo().exists() && !session.sandbox.path("copied").exists());
    // A user's own file counts, and --policy before it.
    session.sandbox.write("home/.config/containers/policy.json", REJECT);
    let _ = session.run(["-q", "oci", "pull", "oci:sample", "sample"]).exited(1);
    let _ = session.run(["-q", "oci", "pull", "--policy=accept", "oci:sample", "sample"]).success();
}
