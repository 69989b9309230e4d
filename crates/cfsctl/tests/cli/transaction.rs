use std::process::{Command, Stdio};

use insta::assert_snapshot;

use crate::lab::{CFSCTL, Session};

#[test]
fn holds_off_garbage_collection_until_killed() {
    let mut session = Session::with_repository();
    let mut child = Command::new(CFSCTL)
        .arg("--repo")
        .arg(session.sandbox.repo())
        .arg("transaction")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The lock is there soon, and nothing tells when: the lock file's holder shows in /proc/locks.
    let held = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        session.run(["gc", "--timeout", "0"]).code() == 1
    });
    assert!(held, "a garbage collection went on beside a transaction");
    session.see(["gc", "--timeout", "0"]);
    session.see(["gc", "--dry-run"]);
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.stdout.is_empty());
    session.see(["gc", "--timeout", "5"]);
    assert_snapshot!(session.text());
}
