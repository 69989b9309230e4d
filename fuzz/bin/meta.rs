//! `fuzz_targets/meta.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/meta.rs"]
mod target;

composefs_fuzz::program!(target::run, composefs_fuzz::json::change);
