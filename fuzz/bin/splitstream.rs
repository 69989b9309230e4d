//! `fuzz_targets/splitstream.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/splitstream.rs"]
mod target;

composefs_fuzz::program!(target::run, composefs_fuzz::splitstream::change);
