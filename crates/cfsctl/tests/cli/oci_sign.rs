use composefs_testkit::project;
use insta::assert_snapshot;

use crate::lab::Session;

/// A file with a key or certificate, copied into the sandbox, so that its path is the same everywhere.
fn put(session: &Session, directory: &str, name: &str) {
    let bytes = std::fs::read(project("tests/vectors").join(directory).join(name)).unwrap();
    session.sandbox.write(name, bytes);
}

fn with_keys() -> Session {
    let session = Session::with_sample();
    for name in ["signer", "stranger"] {
        put(&session, "repo/seal", &format!("{name}.key.pem"));
        put(&session, "repo/seal", &format!("{name}.cert.pem"));
    }
    for name in ["locked", "expired"] {
        put(&session, "trust", &format!("{name}.key.pem"));
        put(&session, "trust", &format!("{name}.cert.pem"));
    }
    session.sandbox.write("password", "geheim\n");
    session.sandbox.write("wrong", "geheimer\n");
    session
}

#[test]
fn a_seal_is_signed_in_place_of_one_that_is_not() {
    let mut session = with_keys();
    let signer = ["--key", "signer.key.pem", "--cert", "signer.cert.pem"];
    session.see(["oci", "seal", "sample"]);
    session.see([&["oci", "sign", "sample"], &signer[..]].concat());
    session.see([&["oci", "sign", "sample", "--json"], &signer[..]].concat());
    session.see(["oci", "verify", "sample", "--cert", "signer.cert.pem"]);
    session.see(["oci", "verify", "sample", "--cert", "signer.cert.pem", "--json"]);
    session.see(["oci", "verify", "sample", "--cert", "stranger.cert.pem"]);
    session.see(["gc"]);
    session.see(["oci", "fsck"]);
    session.note("inline: the tag moves, and what was signed stays so");
    session.see([&["oci", "sign", "sample", "--mode", "inline", "--name", "inline"], &signer[..]].concat());
    session.see(["oci", "verify", "inline", "--cert", "signer.cert.pem"]);
    session.see([&["oci", "sign", "inline"], &signer[..]].concat());
    assert_snapshot!(session.text());
}

#[test]
fn several_signers_must_all_be_known() {
    let session = with_keys();
    let sign = |arguments: &[&str]| session.run([&["oci", "sign", "sample"], arguments].concat());
    let verify = |certs: &[&str]| {
        let certs = certs.iter().flat_map(|name| ["--cert", name]);
        session.run(["oci", "verify", "sample"].into_iter().chain(certs))
    };
    let (signer, stranger) = (
        ["--key", "signer.key.pem", "--cert", "signer.cert.pem"],
        ["--key", "stranger.key.pem", "--cert", "stranger.cert.pem"],
    );
    let _ = sign(&[signer, stranger].concat()).success();
    let _ = verify(&["signer.cert.pem", "stranger.cert.pem"]).success();
    assert!(verify(&["signer.cert.pem"]).talk().contains("not among the certificates"));
    // Of several artifacts one is enough.
    let _ = sign(&signer).success();
    let _ = verify(&["signer.cert.pem"]).success();
    assert!(verify(&["stranger.cert.pem"]).talk().contains("not among the certificates"));
}

#[test]
fn keys_and_passwords_tell_nothing() {
    let mut session = with_keys();
    let locked = ["oci", "sign", "sample", "--key", "locked.key.pem", "--cert", "locked.cert.pem"];
    session.see(locked);
    session.see([&locked[..], &["--password-file", "wrong"]].concat());
    session.see([&locked[..], &["--password-file", "none"]].concat());
    session.see(["oci", "sign", "sample", "--key", "signer.key.pem", "--cert", "stranger.cert.pem"]);
    session.see(["oci", "sign", "sample", "--key", "signer.cert.pem", "--cert", "signer.cert.pem"]);
    session.see(["oci", "sign", "sample", "--key", "signer.key.pem", "--cert", "signer.key.pem"]);
    session.see(["oci", "sign", "sample", "--key", "none.pem", "--cert", "signer.cert.pem"]);
    session.see(["oci", "sign", "sample", "--key", "signer.key.pem"]);
    let twice = ["--key", "signer.key.pem", "--key", "locked.key.pem", "--cert", "signer.cert.pem"];
    session.see([&["oci", "sign", "sample"], &twice[..]].concat());
    session.see(["oci", "sign", "sample", "--pkcs11", "pkcs11:token=x", "--cert", "signer.cert.pem"]);
    assert_snapshot!(session.text());
    let output = session.run([&["-vv"], &locked[..], &["--password-file", "password"]].concat()).success();
    let said = format!("{}{}", output.text(), output.talk());
    let key = std::fs::read_to_string(session.sandbox.path("locked.key.pem")).unwrap();
    assert!(!said.contains("geheim") && !said.contains(&key.lines().nth(2).unwrap()[..12]));
    let _ = session.run(["oci", "verify", "sample", "--cert", "locked.cert.pem"]).success();
}

#[test]
fn a_certificate_counts_in_its_time_only() {
    let session = with_keys();
    let keys = ["--key", "expired.key.pem", "--cert", "expired.cert.pem"];
    let _ = session.run([&["oci", "sign", "sample"], &keys[..]].concat()).success();
    let refused = session.run(["oci", "verify", "sample", "--cert", "expired.cert.pem"]);
    assert_eq!(refused.code(), 1);
    let text = refused.talk();
    assert!(text.contains("the certificate composefs expired signer has expired"), "{text}");
}
