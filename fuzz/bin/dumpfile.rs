//! `fuzz_targets/dumpfile.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/dumpfile.rs"]
mod target;

composefs_fuzz::program!(target::run, |data, dice| composefs_fuzz::words::DUMPFILE.change(data, dice));
