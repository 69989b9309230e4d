//! `fuzz_targets/tar.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/tar.rs"]
mod target;

composefs_fuzz::program!(target::run, composefs_fuzz::tar::change);
