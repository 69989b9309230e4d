//! `fuzz_targets/storage.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/storage.rs"]
mod target;

composefs_fuzz::program!(target::run, |data, dice| composefs_fuzz::json::change_one(data, dice, b'\n', None));
