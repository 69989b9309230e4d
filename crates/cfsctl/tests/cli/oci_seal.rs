use insta::assert_snapshot;

use crate::lab::{Session, unpack};

#[test]
fn the_label_of_the_config_and_the_same_every_time() {
    let mut session = Session::with_sample();
    session.see(["oci", "seal", "sample", "--name", "sealed/sample"]);
    session.see(["oci", "seal", "--mode", "label", "sample"]);
    session.see(["cat", "refs/sealed/sample"]);
    session.see(["oci", "dump", "refs/sealed/sample"]);
    session.see(["oci", "seal", "none"]);
    session.see(["oci", "seal", "--mode", "wax", "sample"]);
    session.see(["oci", "seal", "sample", "--name", "../escape"]);
    session.see(["gc"]);
    session.see(["oci", "fsck"]);
    assert_snapshot!(session.text());
}

#[test]
fn an_artifact_beside_the_image_and_the_same_every_time() {
    let mut session = Session::with_sample();
    session.see(["oci", "seal", "sample"]);
    session.see(["oci", "seal", "sample", "--json"]);
    session.see(["oci", "images"]);
    session.see(["oci", "seal", "sample", "--algorithm", "sha512"]);
    session.see(["oci", "verify", "sample"]);
    session.see(["gc"]);
    session.see(["oci", "fsck"]);
    session.see(["oci", "seal", "sample", "--mode", "artifact", "--name", "x"]);
    assert_snapshot!(session.text());
}

#[test]
fn a_manifest_with_its_seal_gets_the_tag() {
    let mut session = Session::with_sample();
    session.see(["oci", "seal", "sample", "--mode", "inline", "--name", "sealed"]);
    session.see(["oci", "seal", "sample", "--mode", "inline"]);
    session.see(["oci", "seal", "sample", "--mode", "inline"]);
    session.see(["oci", "images"]);
    session.see(["oci", "inspect", "--manifest", "sealed"]);
    session.see(["oci", "verify", "sealed"]);
    session.see(["gc"]);
    session.see(["oci", "fsck"]);
    assert_snapshot!(session.text());
}

/// The vectors were made by other means than ours.
#[test]
fn the_bytes_of_the_vectors() {
    let session = Session::with_repository();
    unpack("seal/layout.tar.gz", &session.sandbox.path("."));
    let _ = session.run(["--progress=none", "oci", "pull", "oci:layout:image", "image"]).success();
    let text =
        std::fs::read_to_string(composefs_testkit::project("tests/vectors/repo/seal/expected.tsv")).unwrap();
    let digest = |tag: &str| {
        let row = text.lines().find(|row| row.split('\t').next() == Some(tag)).unwrap();
        row.split('\t').nth(2).unwrap().to_owned()
    };
    let seal = |arguments: &[&str]| {
        let output = session.run([&["oci"], arguments, &["--json", "image"]].concat()).success().json();
        output["artifact"].as_str().or(output["image"].as_str()).unwrap().to_owned()
    };
    let vectors = composefs_testkit::project("tests/vectors/repo/seal");
    let file = |name: &str| vectors.join(name).display().to_string();
    let (key, cert) = (file("signer.key.pem"), file("signer.cert.pem"));
    assert_eq!(seal(&["seal"]), digest("meta-digests-only"));
    assert_eq!(seal(&["sign", "--key", &key, "--cert", &cert]), digest("meta-sha256"));
    let sha512 = ["sign", "--algorithm", "sha512", "--mode", "artifact", "--key", &key, "--cert", &cert];
    assert_eq!(seal(&sha512), digest("meta-sha512"));
    assert_eq!(seal(&["seal", "--mode", "inline", "--name", "inline"]), digest("inline-digest"));
    let inline = [
        "sign",
        "--algorithm",
        "sha512",
        "--mode",
        "inline",
        "--name",
        "other",
        "--key",
        &key,
        "--cert",
        &cert,
    ];
    assert_eq!(seal(&inline), digest("inline-signed"));
}
