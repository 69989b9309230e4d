//! The sample image in git is what its script makes, bit for bit.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::Path;

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_script_reproduces_the_sample_image() {
    let fresh = tempfile::tempdir().unwrap();
    composefs_testkit::sample::write(fresh.path());
    let (kept, made) = (files(&composefs_testkit::project("examples/sample-image")), files(fresh.path()));
    let names: Vec<_> = made.keys().collect();
    assert_eq!(
        kept.keys().collect::<Vec<_>>(),
        names,
        "run the sample-image example and commit what it writes"
    );
    for (name, bytes) in made {
        assert!(kept[&name] == bytes, "{name} differs from what the script makes");
    }
}
