//! Other programs take what we push.

use std::process::Command;

use composefs_oci::export::Packing;
use composefs_testkit::peers;

use crate::lab::{Lab, image};

#[test]
fn skopeo_copies_what_is_pushed() {
    let Some(skopeo) = peers::skopeo_or_skip() else { return };
    let mut lab = Lab::new();
    let pulled = lab.have("x", &image());
    for (name, packing) in
        [("gzip", Packing::Gzip(None)), ("zstd", Packing::Zstd(Some(7))), ("tar", Packing::Plain)]
    {
        for to in [
            lab.at("oci", &format!("{name}:x")),
            lab.at("oci-archive", &format!("{name}.tar:x")),
            lab.at("dir", &format!("{name}.d")),
        ] {
            lab.push("x", &to, packing).unwrap();
            // Unpacked on the way, so that it looks at every byte.
            let back = lab.at("dir", &format!("{name}.back"));
            let _ = std::fs::remove_dir_all(lab.path(&format!("{name}.back")));
            let copy = ["--insecure-policy", "copy", "-q", "--dest-decompress", &to, &back];
            let output = Command::new(&skopeo).args(copy).output().unwrap();
            assert!(output.status.success(), "{to}: {}", String::from_utf8_lossy(&output.stderr));
            let back = lab.pull(&back, "back");
            assert_eq!((back.config, back.images), (pulled.config.clone(), pulled.images.clone()), "{to}");
        }
    }
}
