//! `fuzz_targets/docker_archive.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/docker_archive.rs"]
mod target;

composefs_fuzz::program!(target::run, |data, dice| composefs_fuzz::json::change_one(
    data,
    dice,
    0,
    Some(b'\n')
));
