use std::{fs, path::Path};

use composefs_testkit::{
    Output, project,
    registry::{Registry, RegistryOptions},
};
use insta::assert_snapshot;

use crate::lab::{Session, sha256, unpack};

const CERT: &str = "signer.cert.pem";

/// A repository with an image of the vectors and some of its artifacts.
fn with(tags: &[&str]) -> Session {
    let session = Session::with_repository();
    unpack("seal/layout.tar.gz", &session.sandbox.path("."));
    session.sandbox.write(CERT, fs::read(project("tests/vectors/repo/seal").join(CERT)).unwrap());
    for tag in tags {
        pull(&session, tag);
    }
    session
}

fn pull(session: &Session, tag: &str) {
    let _ = session.run(["--progress=none", "oci", "pull", &format!("oci:layout:{tag}"), tag]).success();
}

fn verify(session: &Session, arguments: &[&str]) -> Output {
    session.run([&["oci", "verify"], arguments].concat())
}

/// The step that failed, and what was said about it.
fn failed(output: &Output) -> (String, String) {
    assert_eq!(output.code(), 1, "{output}");
    let step = output.text().lines().find(|line| line.contains(" FAILED ")).unwrap_or_default();
    let (step, detail) = step.split_once(" FAILED ").unwrap_or_default();
    (step.trim().to_owned(), format!("{}\n{}", detail.trim(), output.talk()))
}

#[track_caller]
fn fails_at(output: &Output, step: &str, text: &str) {
    let (at, said) = failed(output);
    assert_eq!(at, step, "{output}");
    assert!(said.contains(text), "{output}");
}

#[test]
fn every_step_is_shown() {
    let mut session = with(&["image", "meta-sha256"]);
    session.see(["oci", "verify", "image"]);
    session.see(["oci", "verify", "image", "--cert", CERT]);
    session.see(["oci", "verify", "image", "--cert", CERT, "--json"]);
    session.see(["oci", "verify", "meta-sha256"]);
    session.see(["oci", "verify", "none"]);
    session.see(["oci", "verify", "image", "--expected-digest", "sha256:12"]);
    session.see(["oci", "verify", "image", "--cert", "layout/index.json"]);
    assert_snapshot!(session.text());
}

#[test]
fn all_vectors() {
    let text = fs::read_to_string(project("tests/vectors/repo/seal/expected.tsv")).unwrap();
    let rows = text.lines().map(|row| row.split('\t').collect::<Vec<_>>());
    let mut seen = 0;
    for row in rows.filter(|row| row[0].starts_with("meta-") || row[0].starts_with("inline-")) {
        let (tag, verdict) = (row[0], row[1]);
        let session = with(&["image", tag]);
        let name = if tag.starts_with("inline") { tag } else { "image" };
        let (plain, signed) = (verify(&session, &[name]), verify(&session, &[name, "--cert", CERT]));
        match verdict {
            "valid" | "valid (readers take any order)" => {
                let _ = (plain.success(), signed.success());
            }
            "valid without signatures" => {
                let _ = plain.success();
                fails_at(&signed, "signatures", "the seal is not signed");
            }
            "valid if the manifest is trusted" => {
                fails_at(&signed, "signatures", "the seal is not signed");
                let trusted = verify(&session, &[name, "--expected-digest", row[2]]).success();
                assert!(trusted.text().contains("valid: the digests stand in the trusted manifest"));
            }
            "digests valid, signatures by another key" => {
                let _ = plain.success();
                fails_at(&signed, "signatures", "not among the certificates");
            }
            "does not belong to image: subject differs" => fails_at(&plain, "sources", "is not sealed"),
            wrong => {
                let role = wrong.strip_prefix("invalid: ").unwrap();
                let step = if role == "merged digest" { "merged image" } else { role };
                fails_at(&plain, step, role);
                fails_at(&signed, step, role);
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 12);
}

/// Overwrites a byte of a file whose modes forbid it.
fn spoil(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The object with these contents.
fn object(session: &Session, matches: impl Fn(&[u8]) -> bool) -> std::path::PathBuf {
    let objects = fs::read_dir(session.sandbox.repo().join("objects")).unwrap();
    let files = objects.flat_map(|entry| fs::read_dir(entry.unwrap().path()).unwrap());
    files.map(|entry| entry.unwrap().path()).find(|path| matches(&fs::read(path).unwrap())).unwrap()
}

#[test]
fn what_is_changed_in_the_repository_is_found() {
    let good = ["image", "meta-sha256"];
    let merged = "23d7d94dab1dfbadb3fec5123abf7a99bf6bd059690d769bfd75532614099b8d";
    let session = with(&good);
    let listed = session.run(["image-objects", merged]).success();
    let file = listed.text().lines().next().unwrap().trim().strip_prefix("sha256:").unwrap().to_owned();
    let path = |hex: &str| session.sandbox.repo().join("objects").join(&hex[..2]).join(&hex[2..]);
    spoil(&path(&file), 0);
    fails_at(&verify(&session, &["image", "--cert", CERT]), "objects", &file);

    let session = with(&good);
    spoil(&session.sandbox.repo().join("objects").join(&merged[..2]).join(&merged[2..]), 1100);
    fails_at(&verify(&session, &["image", "--cert", CERT]), "objects", merged);

    // Documents have a digest of their own, and are not used at all when they differ from it.
    for (step, mark) in [("config digest", &b"\"rootfs\""[..]), ("manifest digest", b"\"config\"")] {
        let session = with(&["image"]);
        spoil(&object(&session, |bytes| has(bytes, mark)), 20);
        let refused = verify(&session, &["image", "--cert", CERT]);
        fails_at(&refused, step, "contents have the digest");
        assert!(refused.talk().lines().next().unwrap().contains("verify image"), "{refused}");
        assert!(refused.text().contains("result: not valid"), "{refused}");
        let json = verify(&session, &["image", "--json"]).json();
        assert_eq!(json["valid"], false);
        let last = json["steps"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((last["step"].as_str(), last["outcome"].as_str()), (Some(step), Some("failed")));
    }
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Streams name what is mounted, and nothing but their own names says what is in them.
#[test]
fn what_is_changed_in_streams_is_found() {
    let entry = |session: &Session, kind: &str| {
        let streams = fs::read_dir(session.sandbox.repo().join("streams")).unwrap();
        let mut found: Vec<_> = streams.map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind));
        found.sort();
        found.into_iter().map(|path| fs::canonicalize(path).unwrap()).collect::<Vec<_>>()
    };
    let session = with(&["image", "meta-sha256"]);
    let merged = session.run(["oci", "compute-id", "image"]).success().text().trim().to_owned();
    let id: Vec<u8> = (0..merged.len() / 2)
        .map(|at| u8::from_str_radix(&merged[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let (config, at) = entry(&session, "oci-config-")
        .into_iter()
        .find_map(|path| {
            let bytes = fs::read(&path).unwrap();
            bytes.windows(id.len()).position(|window| window == id).map(|at| (path, at))
        })
        .unwrap();
    spoil(&config, at + id.len() - 1);
    let refused = verify(&session, &["image", "--cert", CERT]);
    fails_at(&refused, "recorded images", "and the layers give");

    // Bytes that nobody looks at: padding, types, names.
    for kind in ["oci-manifest-", "oci-config-", "oci-layer-"] {
        let number = entry(&with(&["image", "meta-sha256"]), kind).len();
        for which in 0..number {
            let session = with(&["image", "meta-sha256"]);
            let path = entry(&session, kind).swap_remove(which);
            spoil(&path, fs::read(&path).unwrap().len() - 1);
            assert_eq!(verify(&session, &["image", "--cert", CERT]).code(), 1, "{}", path.display());
        }
    }
}

/// Puts a changed artifact into the layout, under a tag, or without a name.
fn forge(session: &Session, of: &str, tag: &str, change: impl Fn(&mut serde_json::Value)) {
    let layout = session.sandbox.path("layout");
    let mut index: serde_json::Value =
        serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let entries = index["manifests"].as_array_mut().unwrap();
    let named = |entry: &&serde_json::Value| entry["annotations"]["org.opencontainers.image.ref.name"] == of;
    let mut entry = entries.iter().find(named).unwrap().clone();
    let blob = |digest: &str| layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(blob(entry["digest"].as_str().unwrap())).unwrap()).unwrap();
    change(&mut manifest);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    fs::write(blob(&sha256(&bytes)), &bytes).unwrap();
    entry["digest"] = sha256(&bytes).into();
    entry["size"] = bytes.len().into();
    match tag {
        "" => drop(entry.as_object_mut().unwrap().remove("annotations")),
        tag => entry["annotations"]["org.opencontainers.image.ref.name"] = tag.into(),
    }
    entries.push(entry);
    fs::write(layout.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
}

#[test]
fn forged_artifacts_are_found_at_their_step() {
    let session = with(&["image"]);
    // Digests change places, each with its signature left where it was, and then with it.
    let swap = |manifest: &mut serde_json::Value, what: &str| {
        let layers = manifest["layers"].as_array_mut().unwrap();
        let taken = (layers[1][what].take(), layers[2][what].take());
        (layers[1][what], layers[2][what]) = (taken.1, taken.0);
    };
    forge(&session, "meta-sha256", "signatures-swapped", |manifest| swap(manifest, "digest"));
    pull(&session, "signatures-swapped");
    fails_at(&verify(&session, &["image", "--cert", CERT]), "signatures", "is not of this digest");

    let session = with(&["image"]);
    let key = "composefs.config.fsverity-sha256-12";
    let merged = "composefs.merged.erofs.v1.fsverity-sha256-12";
    forge(&session, "meta-sha256", "digests-swapped", |manifest| {
        let layers = manifest["layers"].as_array_mut().unwrap();
        let values = [layers[1]["annotations"][key].clone(), layers[2]["annotations"][merged].clone()];
        layers[1]["annotations"][key] = values[1].clone();
        layers[2]["annotations"][merged] = values[0].clone();
    });
    pull(&session, "digests-swapped");
    fails_at(&verify(&session, &["image", "--cert", CERT]), "config digest", "must be 23d7d94d");

    // A signature that is missing for one of the roles.
    let session = with(&["image"]);
    forge(&session, "meta-sha256", "half", |manifest| {
        manifest["layers"].as_array_mut().unwrap().remove(1);
    });
    pull(&session, "half");
    fails_at(&verify(&session, &["image", "--cert", CERT]), "sources", "the config is not signed");

    let session = with(&["image", "meta-sha256", "meta-wrong-merged"]);
    fails_at(&verify(&session, &["image", "--cert", CERT]), "agreement", "disagree about the merged digest");
    let session = with(&["image", "meta-other-subject"]);
    fails_at(&verify(&session, &["image", "--cert", CERT]), "sources", "is not sealed");
}

#[test]
fn another_manifest_is_not_the_trusted_one() {
    let session = with(&["image", "inline-digest"]);
    let image = "sha256:6de6d46ac91b0e91277b1d68bba71ffbb5d7bf3371600d98d8bd65fb747709a2";
    fails_at(&verify(&session, &["inline-digest", "--expected-digest", image]), "manifest", "is trusted");
    // Trust in the image says nothing of an artifact beside it.
    pull(&session, "meta-digests-only");
    let plain = verify(&session, &["image", "--expected-digest", image]).success();
    assert!(plain.text().contains("nothing that is trusted vouches for them"));
    let artifact = "sha256:061aa93202efd82cab1d209582de3b340cc007f169fea506a6c528db88acb4ba";
    let pinned = verify(&session, &["image", "--trusted-artifact", artifact]).success();
    assert!(pinned.text().contains("valid: the digests stand in the trusted artifact"));
    // One that is not here, or is about something else, is no reason to go on without it.
    for more in [&[][..], &["--cert", CERT], &["--trusted-artifact", artifact]] {
        let missing = verify(&session, &[&["image", "--trusted-artifact", image], more].concat());
        assert_eq!(missing.code(), 1, "{missing}");
        assert!(missing.talk().contains("does not vouch for sha256:6de6d46a"), "{missing}");
    }
}

/// None of these comes as far as mounting, which would take privileges.
#[test]
fn a_mount_can_demand_a_verified_image() {
    let mut session = with(&["image"]);
    session.sandbox.write("mnt/below", "");
    let mount = ["oci", "mount", "--require-seal", "image", "mnt"];
    session.note("never verified; its artifact was stripped on the way");
    session.see(mount);
    session.see(["oci", "verify", "image", "--cert", CERT]);
    session.see(mount);
    session.note("right, and by nobody");
    pull(&session, "meta-digests-only");
    let _ = verify(&session, &["image"]).success();
    session.see(mount);
    session.note("verified, then found wrong");
    pull(&session, "meta-sha256");
    let _ = verify(&session, &["image", "--cert", CERT]).success();
    pull(&session, "meta-wrong-merged");
    let _ = verify(&session, &["image", "--cert", CERT]);
    session.see(mount);
    assert_snapshot!(session.text());
}

/// What a note says is kept against runs that ask less, and not against what refutes it.
#[test]
fn a_note_stays_while_it_is_true() {
    let session = with(&["image", "meta-sha256"]);
    session.sandbox.write("mnt/below", "");
    let other = project("tests/vectors/repo/seal/stranger.cert.pem").display().to_string();
    let trusted = || {
        let talk = session.run(["oci", "mount", "--require-seal", "image", "mnt"]).talk();
        !talk.contains("has not been verified") && !talk.contains("was verified without")
    };
    let _ = verify(&session, &["image"]).success();
    assert!(!trusted());
    let _ = verify(&session, &["image", "--cert", CERT]).success();
    assert!(trusted());
    let plain = verify(&session, &["image"]).success();
    assert!(
        plain.text().contains("the note of an earlier verification stays: signed by composefs"),
        "{plain}"
    );
    assert!(trusted());
    fails_at(&verify(&session, &["image", "--cert", &other]), "signatures", "not among the certificates");
    let gone = format!("sha256:{}", "0".repeat(64));
    fails_at(&verify(&session, &["image", "--trusted-artifact", &gone]), "trusted artifact", "vouch");
    fails_at(&verify(&session, &["image", "--expected-digest", &gone]), "manifest", "is trusted");
    assert!(trusted());
    // Whoever takes a certificate back says so.
    assert_eq!(verify(&session, &["image", "--forget", "--cert", &other]).code(), 1);
    assert!(!trusted());
    // The artifact it stands on goes.
    let _ = verify(&session, &["image", "--cert", CERT]).success();
    pull(&session, "meta-digests-only");
    let _ = session.run(["oci", "untag", "meta-sha256"]).success();
    fs::remove_dir_all(session.sandbox.repo().join("streams/refs/oci-referrers")).unwrap();
    pull(&session, "meta-digests-only");
    let _ = verify(&session, &["image"]);
    assert!(!trusted());
}

#[test]
fn a_record_of_another_image_does_not_help() {
    let session = with(&["image", "meta-sha256"]);
    session.sandbox.write("mnt/below", "");
    let _ = verify(&session, &["image", "--cert", CERT]).success();
    let notes = session.sandbox.repo().join(".cfs/verified");
    let note = fs::read_dir(&notes).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&note).unwrap();
    fs::write(&note, text.replace("23d7d94d", "00d7d94d")).unwrap();
    let mount = || session.run(["oci", "mount", "--require-seal", "image", "mnt"]).talk();
    assert!(mount().contains("which is not what was verified"));
    fs::write(&note, "{").unwrap();
    assert!(mount().contains("the record of the verification"));
}

#[test]
fn a_seal_goes_where_its_image_goes() {
    let artifact = "sha256:6c4e6c6478e6258fe6131e35d0579b393204e189e0ee2cd0cd2b0d3466a4e4d8";
    for lists_referrers in [true, false] {
        let session = with(&[]);
        // As it is written, but that it has no name of its own.
        forge(&session, "meta-sha256", "", |_| {});
        let registry = Registry::start(RegistryOptions::default().referrers(lists_referrers));
        let in_registry = registry.reference("app:v1");
        let plain = ["--tls-verify=false", "--progress=none"];
        let copy = |from: &str, to: &str| {
            let output = session.run([&["oci", "copy"], &plain[..1], &[from, to]].concat()).success();
            assert!(output.text().contains(&format!("artifact {artifact}")), "{output}");
        };
        copy("oci:layout:image", &in_registry);
        copy(&in_registry, "oci:other:image");
        copy("oci:other:image", "oci-archive:image.tar:image");
        copy("oci-archive:image.tar:image", "dir:flat");
        for (name, from) in [
            ("a", in_registry.as_str()),
            ("b", "oci:other:image"),
            ("c", "oci-archive:image.tar:image"),
            ("d", "dir:flat"),
        ] {
            let pulled = session.run([&["oci", "pull"], &plain[..1], &[from, name]].concat()).success();
            assert!(pulled.text().contains(&format!("artifact {artifact}")), "{pulled}");
            let _ = verify(&session, &[name, "--cert", CERT]).success();
            let _ = session.run(["oci", "untag", name]).success();
            let _ = session.run(["gc"]).success();
        }
        // Who wants none gets none, and what was stripped is missed.
        let bare = [&["oci", "pull", "--with-referrers=none"], &plain[..1], &[&in_registry, "e"]].concat();
        let _ = session.run(bare).success();
        fails_at(&verify(&session, &["e", "--cert", CERT]), "sources", "is not sealed");
        // It comes after its image, too.
        let again = session.run([&["oci", "pull"], &plain[..1], &[&in_registry, "e"]].concat()).success();
        assert!(again.text().contains(&format!("artifact {artifact}")), "{again}");
        let _ = verify(&session, &["e", "--cert", CERT]).success();
    }
}

/// The commands of docs/trust.md, as they stand there.
#[test]
fn the_walk_through_of_the_page() {
    let session = Session::with_sample();
    for (name, file) in [("release.key", "signer.key.pem"), ("release.pem", CERT)] {
        session.sandbox.write(name, fs::read(project("tests/vectors/repo/seal").join(file)).unwrap());
    }
    let registry = Registry::start(RegistryOptions::default());
    let place = registry.reference("app:v1");
    let run = |repo: &str, line: &str| {
        let words = line.replace("docker://registry.example/app:v1", &place).replace("/mnt", "mnt");
        let words = words.split(' ').skip(1).map(str::to_owned);
        let plain = line.contains("registry.example").then(|| "--tls-verify=false".to_owned());
        session.sandbox.bare(["--repo", repo].map(str::to_owned).into_iter().chain(words).chain(plain))
    };
    // The image as its makers have pushed it, packed as they pack.
    let _ = session.run(["oci", "copy", "--tls-verify=false", "oci:sample", &place]).success();
    let (here, there) = (session.sandbox.repo().display().to_string(), "there");
    let _ = run(&here, "cfsctl oci pull docker://registry.example/app:v1 app").success();
    let page = fs::read_to_string(project("docs/trust.md")).unwrap();
    let commands: Vec<&str> = page.lines().filter(|line| line.starts_with("cfsctl oci ")).collect();
    assert_eq!(commands.len(), 5, "{commands:?}");
    for line in &commands[..2] {
        let _ = run(&here, line).success();
    }
    let _ = session.sandbox.bare(["--repo", there, "init", "--insecure"]).success();
    session.sandbox.write("mnt/below", "");
    // Before it is verified the mount is refused for that, afterwards for want of privileges at most.
    let _ = run(there, commands[2]).success();
    assert!(run(there, commands[4]).talk().contains("has not been verified"));
    let verified = run(there, commands[3]).success();
    assert!(verified.text().contains("valid: signed by composefs vector signer"), "{verified}");
    let mounted = run(there, commands[4]);
    assert!(!mounted.talk().contains("verified:"), "{mounted}");
    assert!(mounted.code() == 0 || mounted.talk().contains("mount app"), "{mounted}");
    if mounted.code() == 0 {
        let _ = run(there, "cfsctl umount mnt").success();
    }
}
