//! Replays every corpus in `fuzz/corpus` through its fuzz target, on stable and without libFuzzer.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::path::Path;

/// Lists the targets: a module each, and a table to find them by name.
macro_rules! targets {
    ($($name:ident: $path:literal,)*) => {
        $(#[path = $path] #[allow(dead_code, unreachable_pub, missing_docs)] mod $name;)*
        const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::run),)*];
    };
}

targets! {
    annotations: "../../../fuzz/fuzz_targets/annotations.rs",
    cms: "../../../fuzz/fuzz_targets/cms.rs",
    challenge: "../../../fuzz/fuzz_targets/challenge.rs",
    docker_archive: "../../../fuzz/fuzz_targets/docker_archive.rs",
    authfile: "../../../fuzz/fuzz_targets/authfile.rs",
    dumpfile: "../../../fuzz/fuzz_targets/dumpfile.rs",
    inflate: "../../../fuzz/fuzz_targets/inflate.rs",
    manifest: "../../../fuzz/fuzz_targets/manifest.rs",
    meta: "../../../fuzz/fuzz_targets/meta.rs",
    policy: "../../../fuzz/fuzz_targets/policy.rs",
    registries: "../../../fuzz/fuzz_targets/registries.rs",
    rootfs: "../../../fuzz/fuzz_targets/rootfs.rs",
    erofs: "../../../fuzz/fuzz_targets/erofs.rs",
    tar: "../../../fuzz/fuzz_targets/tar.rs",
    toc: "../../../fuzz/fuzz_targets/toc.rs",
    pax: "../../../fuzz/fuzz_targets/pax.rs",
    headers: "../../../fuzz/fuzz_targets/headers.rs",
    contexts: "../../../fuzz/fuzz_targets/contexts.rs",
    bundle: "../../../fuzz/fuzz_targets/bundle.rs",
    storage_conf: "../../../fuzz/fuzz_targets/storage_conf.rs",
    storage: "../../../fuzz/fuzz_targets/storage.rs",
    splitstream: "../../../fuzz/fuzz_targets/splitstream.rs",
}

#[test]
fn every_target_takes_its_corpus() {
    for (name, run) in TARGETS {
        // These no target may choke on, whatever its corpus has.
        run(&[]);
        run(&[0; 4096]);
        run(&[0xff; 4096]);
        for input in names(&format!("fuzz/corpus/{name}")) {
            let bytes =
                std::fs::read(composefs_testkit::project(&format!("fuzz/corpus/{name}/{input}"))).unwrap();
            if let Err(panic) = std::panic::catch_unwind(|| run(&bytes)) {
                eprintln!("fuzz/corpus/{name}/{input} makes its target panic");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn no_target_is_forgotten() {
    let stem = |name: &String| Path::new(name).file_stem().unwrap().to_str().unwrap().to_owned();
    let files: BTreeSet<_> = names("fuzz/fuzz_targets").iter().map(stem).collect();
    let listed: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, listed, "files in fuzz/fuzz_targets, and the list in this test");
    let programs: BTreeSet<_> = names("fuzz/bin").iter().map(stem).collect();
    assert_eq!(files, programs, "files in fuzz/fuzz_targets, and those in fuzz/bin");
    let manifest = std::fs::read_to_string(composefs_testkit::project("fuzz/Cargo.toml")).unwrap();
    for name in &files {
        assert!(
            manifest.contains(&format!("path = \"bin/{name}.rs\"")),
            "fuzz/Cargo.toml lacks a [[bin]] for {name}"
        );
    }
    for corpus in names("fuzz/corpus") {
        assert!(files.contains(&corpus), "fuzz/corpus/{corpus} has no target");
    }
}

/// The visible names in a directory, sorted; none where there is no directory, as in a clone before any corpus.
fn names(relative: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(composefs_testkit::project(relative)) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}
