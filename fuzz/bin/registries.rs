//! `fuzz_targets/registries.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/registries.rs"]
mod target;

composefs_fuzz::program!(target::run, |data, dice| composefs_fuzz::words::REGISTRIES.change(data, dice));
