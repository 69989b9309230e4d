use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime},
};

use composefs::digest::{Algorithm, object_id_of};

use super::*;
use crate::credentials::Secret;

fn vector(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/repo/seal").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn certificate(who: &str) -> Certificate {
    Certificate::parse_all(&vector(&format!("{who}.cert.pem"))).unwrap().remove(0)
}

fn key(who: &str) -> SigningKey {
    SigningKey::parse(&vector(&format!("{who}.key.pem")), None).unwrap()
}

/// Runs openssl with an input; its output.
fn openssl(dir: &std::path::Path, arguments: &[&str]) -> std::process::Output {
    Command::new("openssl").args(arguments).current_dir(dir).output().unwrap()
}

#[test]
fn the_bytes_of_fsverity_sign() {
    for algorithm in Algorithm::ALL {
        let message = formatted(&object_id_of(algorithm, &vector("file")));
        assert_eq!(message, vector(&format!("file.formatted.{algorithm}")));
        let sha512 = algorithm == Algorithm::Sha512;
        let signature = sign(&message, &key("signer"), &certificate("signer"), sha512).unwrap();
        assert_eq!(signature, vector(&format!("file.sig.{algorithm}")), "{algorithm}");
        let (one, other) = (certificate("signer"), certificate("stranger"));
        let both = [other.clone(), one.clone()];
        assert_eq!(signers(&signature, &message, &both), Ok(vec![&one]));
        assert_eq!(signers(&signature, &message, &[other]), Err(CmsError::Stranger));
        assert_eq!(signers(&signature, b"other", &both), Err(CmsError::Wrong));
        assert_eq!(signers(&signature, &message, &[]), Err(CmsError::Stranger));
    }
    let error = sign(b"x", &key("signer"), &certificate("stranger"), false).unwrap_err();
    assert_eq!(error, CmsError::OtherKey("composefs vector stranger".to_owned()));
}

/// Where the value begins in the signatures of the vectors.
const VALUE: usize = 157;

#[test]
fn no_byte_of_a_signature_may_change_it_into_a_panic_or_another_signer() {
    let message = vector("file.formatted.sha256");
    let good = vector("file.sig.sha256");
    let all = [certificate("signer")];
    for at in 0..good.len() {
        for change in [1, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= change;
            // Before the value stand versions and parameters of algorithms, which say nothing that counts.
            assert!(signers(&bad, &message, &all).is_err() || at < VALUE, "byte {at}");
        }
        signers(&good[..at], &message, &all).unwrap_err();
    }
    let mut longer = good.clone();
    longer.push(0);
    signers(&longer, &message, &all).unwrap_err();
    let large = vec![0x30; crate::seal::annotation::SIGNATURE_MAX + 1];
    assert_eq!(signers(&large, &message, &all), Err(CmsError::TooLarge(large.len())));
}

#[test]
fn certificates() {
    let one = certificate("signer");
    assert_eq!(one.subject(), "composefs vector signer");
    assert_eq!(Certificate::parse_der(&vector("signer.cert.der")).unwrap(), one);
    assert_eq!(one.der(), vector("signer.cert.der"));
    let both = [vector("signer.cert.pem"), b"text between\n".to_vec(), vector("stranger.cert.pem")].concat();
    assert_eq!(Certificate::parse_all(&both).unwrap(), [one.clone(), certificate("stranger")]);
    // 2026-11-24 06:07:43 to 2126-10-31 06:07:43
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert!(!one.is_valid_at(at(1_795_500_462)) && one.is_valid_at(at(1_795_500_463)));
    assert!(one.is_valid_at(at(4_949_100_463)) && !one.is_valid_at(at(4_949_100_464)));
    for bad in [
        &b""[..],
        b"0",
        b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----",
        &vector("signer.key.pem"),
    ] {
        assert!(Certificate::parse_all(bad).is_err());
    }
    let der = vector("signer.cert.der");
    for at in 0..der.len() {
        assert!(Certificate::parse_der(&der[..at]).is_err());
        let mut changed = der.clone();
        changed[at] ^= 0x81;
        let _ = Certificate::parse_der(&changed);
    }
}

#[test]
fn keys_tell_nothing() {
    let pem = String::from_utf8(vector("signer.key.pem")).unwrap();
    let secret = &pem.lines().nth(3).unwrap()[..20];
    assert_eq!(format!("{:?}", key("signer")), "SigningKey(RSA)");
    for bad in ["", "x", &pem.replace(secret, "%"), &pem[..400]] {
        let error = SigningKey::parse(bad.as_bytes(), None).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(&pem[60..70]), "{error}");
    }
}

#[test]
fn openssl_and_we_understand_each_other() {
    if composefs_testkit::peers::program_or_skip("openssl").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = openssl(dir.path(), arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let message = formatted(&object_id_of(Algorithm::Sha256, b"sealed file\n"));
    std::fs::write(dir.path().join("message"), &message).unwrap();
    for kind in ["rsa:3072", "ec:P-256", "ec:P-384"] {
        let (kind, option) = match kind.split_once(':').unwrap() {
            ("rsa", bits) => ("RSA", format!("rsa_keygen_bits:{bits}")),
            (_, curve) => ("EC", format!("ec_paramgen_curve:{curve}")),
        };
        run(&["genpkey", "-algorithm", kind, "-pkeyopt", &option, "-out", "key"]);
        run(&["req", "-x509", "-new", "-key", "key", "-subj", "/O=a/CN=b", "-out", "cert"]);
        let sha = if option.ends_with("P-384") { "sha384" } else { "sha256" };
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        let certificates = Certificate::parse_all(&read("cert")).unwrap();
        for way in [&["smime"][..], &["cms"], &["cms", "-keyid"]] {
            let sign =
                ["-sign", "-binary", "-noattr", "-nocerts", "-md", sha, "-outform", "DER", "-in", "message"];
            let files = ["-signer", "cert", "-inkey", "key", "-out", "sig"];
            run(&[way, &sign[..], &files[..]].concat());
            let found = signers(&read("sig"), &message, &certificates)
                .unwrap_or_else(|e| panic!("{option} {way:?}: {e}"));
            assert_eq!(found[0].subject(), "a, b");
        }
        // With certificates in it, too, but not with signed attributes.
        run(&[
            "cms", "-sign", "-binary", "-noattr", "-outform", "DER", "-in", "message", "-signer", "cert",
            "-inkey", "key", "-md", sha, "-out", "sig",
        ]);
        signers(&read("sig"), &message, &certificates).unwrap();
        run(&[
            "cms", "-sign", "-binary", "-outform", "DER", "-in", "message", "-signer", "cert", "-inkey",
            "key", "-md", sha, "-out", "sig",
        ]);
        assert_eq!(
            signers(&read("sig"), &message, &certificates),
            Err(CmsError::Surplus("signed attributes"))
        );
        run(&[
            "cms",
            "-sign",
            "-binary",
            "-noattr",
            "-nodetach",
            "-outform",
            "DER",
            "-in",
            "message",
            "-signer",
            "cert",
            "-inkey",
            "key",
            "-md",
            sha,
            "-out",
            "sig",
        ]);
        assert_eq!(signers(&read("sig"), &message, &certificates), Err(CmsError::Surplus("contents")));
        // Ours, by a key with a password.
        run(&["pkcs8", "-topk8", "-in", "key", "-passout", "pass:geheim", "-out", "locked"]);
        assert_eq!(SigningKey::parse(&read("locked"), None).unwrap_err(), KeyError::NeedsPassword);
        let wrong = SigningKey::parse(&read("locked"), Some(&Secret::new("geheimer")));
        assert_eq!(wrong.unwrap_err(), KeyError::Decrypt);
        let key = SigningKey::parse(&read("locked"), Some(&Secret::new("geheim"))).unwrap();
        let signature = sign(&message, &key, &certificates[0], false).unwrap();
        std::fs::write(dir.path().join("ours"), &signature).unwrap();
        for way in ["smime", "cms"] {
            let verify =
                ["-verify", "-binary", "-inform", "DER", "-in", "ours", "-content", "message", "-out", "out"];
            run(&[&[way], &verify[..], &["-certfile", "cert", "-CAfile", "cert", "-purpose", "any"]].concat());
        }
    }
}
