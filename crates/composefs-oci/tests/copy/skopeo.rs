//! skopeo reads what we write.

use std::process::Command;

use composefs_testkit::{images::sha256, peers};

use crate::lab::{Lab, blobs, image};

fn skopeo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn what_we_write() {
    if peers::skopeo_or_skip().is_none() {
        return;
    }
    let mut lab = Lab::new();
    let written = lab.layout.image("x", &image());
    let index = lab.index();
    for (all, digest, tag) in [(false, &written.manifest.digest, "x"), (true, &index.digest, "all")] {
        for to in [
            lab.at("oci", &format!("l:{tag}")),
            lab.at("oci-archive", &format!("{tag}.tar:{tag}")),
            lab.at("dir", tag),
        ] {
            let from = lab.layout.reference(tag);
            if all { lab.copy_all(&from, &to) } else { lab.copy(&from, &to) }.unwrap();
            assert_eq!(sha256(&skopeo(&["inspect", "--raw", &to])), *digest, "{to}");
            let back = lab.at("oci", &format!("back-{tag}:{tag}"));
            let _ = std::fs::remove_dir_all(lab.path(&format!("back-{tag}")));
            let all = if all { "--all" } else { "--preserve-digests" };
            skopeo(&["--insecure-policy", "copy", "-q", all, &to, &back]);
            let (copied, ours) = (blobs(&lab.path(&format!("back-{tag}"))), blobs(lab.layout.path()));
            assert!(copied.len() >= 5 && copied.iter().all(|(name, bytes)| ours[name] == *bytes), "{to}");
        }
    }
}
