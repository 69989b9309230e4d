//! `fuzz_targets/contexts.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/contexts.rs"]
mod target;

composefs_fuzz::program!(target::run, |data, dice| composefs_fuzz::words::CONTEXTS.change(data, dice));
