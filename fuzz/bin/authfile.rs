//! `fuzz_targets/authfile.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/authfile.rs"]
mod target;

composefs_fuzz::program!(target::run, composefs_fuzz::json::change);
