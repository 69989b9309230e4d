//! Many processes on one repository: pulls, tags, seals, collections, checks, mounts, and cfsctl 0.9 in between.
//!
//! `COMPOSEFS_TEST_CONCURRENCY=N` does N times as many steps, with other dice each time.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, clippy::print_stderr)]

mod crowd;

mod beside;
mod stalled;

#[test]
fn no_file_is_forgotten() {
    let here = composefs_testkit::project("crates/cfsctl/tests/concurrency");
    let text = std::fs::read_to_string(here.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(here).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name != "main" {
            assert!(text.contains(&format!("\nmod {name};\n")), "main.rs lacks `mod {name};`");
        }
    }
}
