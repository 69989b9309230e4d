//! `fuzz_targets/manifest.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/manifest.rs"]
mod target;

composefs_fuzz::program!(target::run, |data, dice| composefs_fuzz::json::change_one(data, dice, 0, None));
