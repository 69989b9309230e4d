//! The power cut: what a machine's disk may hold then, and what a repository on it must be.
//!
//! The tests start virtual machines, and bring this very program along for what is to be done inside (`guest`).
//! `replay`: every write of a series of operations is logged (dm-log-writes); then disks are made with the writes up to a
//! moment, some of those not flushed left out, and what is on them is checked. `cut`: the machine is ended for real, at a
//! moment by chance.
//!
//! `COMPOSEFS_TEST_POWER=all` takes every moment of the log and many cuts, a number so many of each; without it there are
//! some.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, clippy::print_stderr)]

mod write_log;

mod harm;
mod lasting;
mod steps;

mod host;

mod guest;
mod replay;
mod cut;

#[test]
fn no_file_is_forgotten() {
    let here = composefs_testkit::project("crates/cfsctl/tests/power");
    let text = std::fs::read_to_string(here.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(here).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name != "main" {
            assert!(text.contains(&format!("\nmod {name};\n")), "main.rs lacks `mod {name};`");
        }
    }
}
