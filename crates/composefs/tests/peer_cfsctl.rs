//! cfsctl 0.9 and we use one repository; skipped where it is not installed.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use composefs::{
    digest::{Algorithm, object_id_of},
    dumpfile,
    erofs::FormatVersion,
    name::{RefName, StreamName},
    progress::Silent,
    repo::{CheckOptions, GcOptions, GcPlan, InitOptions, OpenOptions, Repository, Wait, init},
    scan::{Objects, scan},
    splitstream::{Builder, ContentType},
};
use rustix::fs::CWD;

fn run(cfsctl: &Path, arguments: &[&str]) -> String {
    let output = Command::new(cfsctl).args(arguments).env("RUST_BACKTRACE", "0").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn sample(root: &Path) {
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::create_dir_all(root.join("run/x")).unwrap();
    fs::write(root.join("usr/bin/large"), vec![7; 100_000]).unwrap();
    fs::write(root.join("usr/bin/small"), b"small").unwrap();
    fs::write(root.join("usr/empty"), b"").unwrap();
    fs::hard_link(root.join("usr/bin/large"), root.join("usr/linked")).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    rustix::fs::mkfifoat(CWD, root.join("fifo"), rustix::fs::Mode::from_raw_mode(0o640)).unwrap();
}

#[test]
fn scanning_gives_the_same_tree() {
    let Some(cfsctl) = composefs_testkit::peers::cfsctl_or_skip() else { return };
    let directory = tempfile::tempdir().unwrap();
    sample(directory.path());
    let path = directory.path().to_str().unwrap();
    for (algorithm, hash) in [(Algorithm::Sha256, "sha256"), (Algorithm::Sha512, "sha512")] {
        let scanned = scan(CWD, directory.path(), Objects::Compute(algorithm), &Silent).unwrap();
        let mut ours = Vec::new();
        dumpfile::write(&scanned.tree, &mut ours).unwrap();
        let options = ["--no-repo", "--hash", hash, "create-dumpfile", "--no-propagate-usr-to-root", path];
        similar_asserts::assert_eq!(String::from_utf8(ours).unwrap(), run(&cfsctl, &options));
    }
}

#[test]
fn a_repository_of_ours_is_one_of_theirs() {
    let Some(cfsctl) = composefs_testkit::peers::cfsctl_or_skip() else { return };
    let source = tempfile::tempdir().unwrap();
    sample(source.path());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    for algorithm in Algorithm::ALL {
        let _ = fs::remove_dir_all(directory.path());
        init(CWD, directory.path(), &InitOptions::new(algorithm).insecure(true)).unwrap();
        let open = || Repository::open(CWD, directory.path(), &OpenOptions::default()).unwrap();
        let writer = open().into_writer().unwrap();
        let tree = scan(CWD, source.path(), Objects::Store(&writer), &Silent).unwrap().tree;
        let image = composefs::erofs::to_vec(&tree, FormatVersion::V1, &Default::default()).unwrap();
        let image = writer.store_bytes(&image).unwrap().id;
        let blob = writer.store_bytes(&[9; 3000]).unwrap();
        let mut builder = Builder::new(algorithm, ContentType::from_letters(*b"oci_blob")).unwrap();
        builder.external(&blob.id, blob.size).unwrap();
        let stream = writer.store_bytes(&builder.finish().unwrap().into_bytes().unwrap()).unwrap().id;
        let name = StreamName::new("oci-blob-sha256:00").unwrap();
        let mut commit = writer.begin();
        commit.image(image).image_ref(RefName::new("some/image").unwrap(), &image);
        commit.stream_ref(RefName::new("some/blob").unwrap(), &name).stream(name, stream);
        commit.finish().unwrap();
        let garbage = writer.store_bytes(b"nobody needs this, and it is more than nothing").unwrap();
        drop(writer);

        assert!(run(&cfsctl, &["--repo", path, "fsck"]).ends_with("status: ok\n"));
        assert_eq!(run(&cfsctl, &["--repo", path, "cat", "refs/some/blob"]).len(), 3000);
        let listed = run(&cfsctl, &["--repo", path, "image-objects", "refs/some/image"]);
        assert_eq!(listed.trim(), object_id_of(algorithm, &vec![7; 100_000]).prefixed());
        let plan = GcPlan::new(&open(), &GcOptions::default()).unwrap();
        let theirs = run(&cfsctl, &["--repo", path, "gc", "--dry-run"]);
        assert_eq!(theirs, format!("Dry run (no files deleted):\n{plan}\n"));
        assert_eq!(plan.objects.len(), 1);
        assert_eq!(run(&cfsctl, &["--repo", path, "gc"]), format!("{plan}\n"));
        assert!(!open().has_object(&garbage.id).unwrap());
        assert!(open().check(&CheckOptions::default().deep(true), &Silent).unwrap().is_ok());

        // What they make is as good to us.
        let theirs =
            run(&cfsctl, &["--repo", path, "create-image", source.path().to_str().unwrap(), "theirs"]);
        let repository = open();
        let resolved = repository.resolve_image("theirs").unwrap();
        assert_eq!(theirs.trim(), resolved.id.prefixed());
        assert!(repository.check(&CheckOptions::default().deep(true), &Silent).unwrap().is_ok());
        assert!(matches!(
            repository.sweeper(Wait::AtMost(std::time::Duration::from_secs(5))).map(drop),
            Ok(())
        ));
    }
}
