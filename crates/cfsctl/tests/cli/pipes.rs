//! A reader who has seen enough is no failure: no panic, no message.

use std::{
    io::Read as _,
    process::{Command, Stdio},
};

use crate::lab::{CFSCTL, Session, sample_layers};

#[test]
fn a_closed_stdout_ends_quietly() {
    let session = Session::with_sample();
    let [lower, _] = sample_layers();
    for arguments in [
        &["oci", "layer", &lower][..],
        &["oci", "layer", "--dumpfile", &lower],
        &["oci", "layer", "--json", &lower],
        &["oci", "dump", "sample"],
        &["oci", "images"],
        &["oci", "images", "--json"],
        &["oci", "inspect", "sample"],
        &["oci", "inspect", "--manifest", "sample"],
        &["oci", "fsck"],
        &["fsck", "--json"],
        &["gc", "-n"],
        &["images"],
        &["cat", "refs/oci/sample"],
        &["completion", "bash"],
        &["--help"],
        &["--version"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(CFSCTL)
            .arg("--repo")
            .arg(session.sandbox.repo())
            .args(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        use std::os::unix::process::ExitStatusExt as _;
        let quiet = output.status.code() == Some(0) || output.status.signal() == Some(13);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(quiet && talk.is_empty(), "{arguments:?}: {} {talk}", output.status);
    }
}

#[test]
fn ten_bytes_of_a_layer_are_enough() {
    let session = Session::with_sample();
    let [lower, _] = sample_layers();
    let mut child = Command::new(CFSCTL)
        .arg("--repo")
        .arg(session.sandbox.repo())
        .args(["oci", "layer", &lower])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ten = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut ten).unwrap();
    assert_eq!(&ten, b"etc/\0\0\0\0\0\0");
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty() && output.status.code() != Some(101), "{output:?}");
}
