//! `fuzz_targets/inflate.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/inflate.rs"]
mod target;

composefs_fuzz::program!(target::run, composefs_fuzz::frames::change);
