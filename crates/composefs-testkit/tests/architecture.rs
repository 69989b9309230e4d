//! The rules of ARCHITECTURE.md that a program can check.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each of our crates may depend on, among ours, outside of its tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("composefs-linux", &[]),
    ("composefs-hash", &[]),
    ("composefs-tar", &[]),
    ("composefs", &["composefs-linux", "composefs-hash"]),
    ("composefs-oci", &["composefs", "composefs-linux", "composefs-tar"]),
    ("composefs-fuse", &["composefs", "composefs-linux"]),
    ("cfsctl", &["composefs", "composefs-fuse", "composefs-oci", "composefs-tar"]),
    ("composefs-testkit", &[]),
];

/// The only crates in which unsafe code may stand: calls of the kernel, and instructions of some processors.
const UNSAFE: [&str; 2] = ["composefs-linux", "composefs-hash"];

/// The crates whose errors are strings: programs and what is only for tests.
const MAY_USE_ANYHOW: &[&str] = &["cfsctl", "composefs-testkit"];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(composefs_testkit::project(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Our packages by name.
fn ours(metadata: &Value) -> BTreeMap<&str, &Value> {
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| (package["name"].as_str().unwrap(), package)).collect()
}

/// The names a package depends on outside of its tests.
fn dependencies(package: &Value) -> BTreeSet<&str> {
    let all = package["dependencies"].as_array().unwrap().iter();
    all.filter(|dependency| dependency["kind"] != "dev")
        .map(|dependency| dependency["name"].as_str().unwrap())
        .collect()
}

#[test]
fn crate_arrows_point_one_way() {
    let metadata = metadata();
    let ours = ours(&metadata);
    let known: BTreeSet<_> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        ours.keys().copied().collect::<BTreeSet<_>>(),
        known,
        "crates, and the arrows known to this test"
    );
    for (name, allowed) in ARROWS {
        for dependency in dependencies(ours[name]).intersection(&known) {
            assert!(allowed.contains(dependency), "{name} may not depend on {dependency}");
        }
    }
}

#[test]
fn libraries_have_typed_errors() {
    let metadata = metadata();
    for (name, package) in ours(&metadata) {
        let uses = dependencies(package).contains("anyhow");
        assert!(!uses || MAY_USE_ANYHOW.contains(&name), "{name} is a library and depends on anyhow");
    }
}

#[test]
fn unsafe_code_stands_in_two_crates() {
    for crate_root in roots() {
        if crate_root.components().any(|part| UNSAFE.iter().any(|name| part.as_os_str() == *name)) {
            continue;
        }
        let text = std::fs::read_to_string(&crate_root).unwrap();
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{} does not forbid unsafe code",
            crate_root.display()
        );
    }
}

/// The heads of our libraries and programs; tests and examples link them and inherit `deny` from the workspace.
fn roots() -> Vec<PathBuf> {
    let crates = std::fs::read_dir(composefs_testkit::project("crates")).unwrap();
    let heads = crates.flat_map(|entry| {
        ["lib.rs", "main.rs"].map(|name| entry.as_ref().unwrap().path().join("src").join(name))
    });
    heads.filter(|path| path.exists()).collect()
}

/// What core pulls in when it is used as it ships, on Linux: a new name here is a decision, not an accident.
#[test]
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
fn core_dependencies_are_known() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "-p",
            "composefs",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
        ])
        .args(["--format", "{p}"])
        .current_dir(composefs_testkit::project(""))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<_> =
        text.lines().filter_map(|line| line.split(' ').next()).filter(|name| !name.is_empty()).collect();
    for banned in ["tokio", "reqwest", "hyper", "clap", "indicatif", "rand", "time", "chrono", "anyhow"] {
        assert!(!names.contains(banned), "core knows no {banned}");
    }
    insta::assert_snapshot!("core_dependencies", names.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn no_module_is_named_after_nothing() {
    for path in files("crates") {
        let name = path.file_name().unwrap().to_str().unwrap();
        // `tests/cli/util.rs` is about the verb of that name, and 0.3 had its own `util`.
        let named =
            path.components().any(|part| ["v0_3", "cmd", "cli"].iter().any(|dir| part.as_os_str() == *dir));
        let bad = ["mod.rs", "util.rs", "utils.rs", "common.rs", "misc.rs", "types.rs", "helpers.rs"];
        assert!(named || !bad.contains(&name), "{}: name it after what it does", relative(&path));
    }
}

/// What comes from the environment comes as a value, so that a caller decides what a library sees.
#[test]
fn one_file_of_composefs_oci_reads_the_environment() {
    for path in files("crates/composefs-oci/src") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let reads = ["env::var", "env::home_dir", "env::vars"].iter().any(|call| text.contains(call));
        assert!(!reads || name == "environment.rs", "{} reads the environment", relative(&path));
    }
}

/// All files below a directory of the project.
fn files(below: &str) -> Vec<PathBuf> {
    let (mut files, mut pending) = (Vec::new(), vec![composefs_testkit::project(below)]);
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { pending.push(path) } else { files.push(path) }
        }
    }
    files
}

fn relative(path: &Path) -> String {
    path.strip_prefix(composefs_testkit::project("")).unwrap_or(path).display().to_string()
}

/// A signal to a process that opens a file, on a network or through FUSE, ends the call; the next attempt does not. What
/// std opens, it opens again itself.
#[test]
fn every_open_is_tried_again_when_a_signal_comes() {
    let mut found = 0_usize;
    for path in files("crates") {
        let name = relative(&path);
        if !name.contains("/src/") || name.starts_with("crates/composefs-testkit/") || name.contains("tests")
        {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for call in ["openat(", "openat2(", "fs::open("] {
            for (at, _) in text.match_indices(call) {
                let before = &text[text[..at].char_indices().rev().nth(90).map_or(0, |(at, _)| at)..at];
                let line = text[..at].lines().last().unwrap_or_default().trim_start();
                let is_call = !line.starts_with("//") && !before.ends_with("fn ");
                if !is_call || before.ends_with(['_', 'n']) && !before.ends_with("::") {
                    continue;
                }
                found += 1;
                // One looks at the error itself.
                let again =
                    before.contains("retry_on_intr(") || text[at..].contains("Errno::AGAIN | Errno::INTR");
                assert!(again, "{name}: {line}{call} is not tried again (rustix::io::retry_on_intr)");
            }
        }
    }
    assert!(found > 10, "the test finds no calls any more");
}
