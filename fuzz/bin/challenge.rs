//! `fuzz_targets/challenge.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/challenge.rs"]
mod target;

composefs_fuzz::program!(target::run, |data, dice| composefs_fuzz::words::HEADERS.change(data, dice));
