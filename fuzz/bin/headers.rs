//! `fuzz_targets/headers.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/headers.rs"]
mod target;

composefs_fuzz::program!(target::run, |data, dice| composefs_fuzz::words::HEADERS.change(data, dice));
