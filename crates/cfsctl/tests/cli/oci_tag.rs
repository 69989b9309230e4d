use insta::assert_snapshot;

use crate::lab::Session;

#[test]
fn names_come_and_go() {
    let mut session = Session::with_sample();
    let manifest = session.run(["oci", "images", "--json"]).success().json()["images"][0]["manifest_digest"]
        .as_str()
        .unwrap()
        .to_owned();
    session.see(["oci", "tag", &manifest, "second"]);
    session.see(["oci", "tag", &manifest["sha256:".len()..], "bare-hex"]);
    session.see(["oci", "tag", &manifest, "second"]);
    session.see(["oci", "untag", "sample"]);
    session.see(["oci", "untag", "sample"]);
    session.see(["oci", "tag", &format!("sha256:{}", "0".repeat(64)), "dangling"]);
    session.see(["oci", "images"]);
    session.see(["gc", "-n"]);
    assert_snapshot!(session.text());
}

#[test]
fn odd_characters_in_names() {
    let mut session = Session::with_sample();
    let manifest = session.run(["oci", "images", "--json"]).success().json()["images"][0]["manifest_digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let odd = [
        "a/b/c",
        "docker://registry.test:5000/ns/x:1.0%beta",
        "with blank",
        "ünïcode ✓",
        "-dash",
        "a.b",
        "%2F",
        "quote\"'",
    ];
    for name in odd {
        let tagged = session.run(["oci", "tag", &manifest, "--", name]).success();
        assert_eq!(tagged.text(), format!("Tagged {manifest} as {name}\n"));
        assert_eq!(
            session.run(["oci", "inspect", "--config", "--", name]).success().stdout.first(),
            Some(&b'{')
        );
    }
    session.see(["oci", "images"]);
    for name in odd {
        let _ = session.run(["oci", "untag", "--", name]).success();
    }
    for name in ["", "@at", ".", "..", "/"] {
        session.see(["oci", "tag", &manifest, name]);
    }
    session.see(["oci", "tag", &manifest, &"x".repeat(300)]);
    session.see(["oci", "images"]);
    session.see(["oci", "fsck"]);
    assert_snapshot!(session.text());
}

/// Whoever named it, a terminal is not harmed.
#[test]
fn control_characters_are_shown_and_not_sent() {
    let session = Session::with_sample();
    let name = "red\u{1b}[31m\u{7}";
    let list = session.run(["oci", "images", "--json"]).success().json();
    let digest = list["images"][0]["manifest_digest"].as_str().unwrap().to_owned();
    for arguments in [
        vec!["oci", "tag", &digest, name],
        vec!["oci", "images"],
        vec!["du"],
        vec!["oci", "rm", "--dry-run", name],
        vec!["oci", "inspect", "\u{1b}[0m"],
        vec!["oci", "untag", name],
    ] {
        let output = session.run(&arguments);
        let raw = [&output.stdout[..], &output.stderr].concat();
        assert!(!raw.iter().any(|byte| [0x1b, 7].contains(byte)), "{output}");
        assert!(
            String::from_utf8_lossy(&raw).contains("\\x1b[") || raw.windows(6).any(|w| w == b"\\u{1b}"),
            "{output}"
        );
    }
}
