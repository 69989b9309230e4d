//! `fuzz_targets/storage_conf.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/storage_conf.rs"]
mod target;

composefs_fuzz::program!(target::run, |data, dice| composefs_fuzz::words::STORAGE_CONF.change(data, dice));
