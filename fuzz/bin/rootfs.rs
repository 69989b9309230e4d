//! `fuzz_targets/rootfs.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/rootfs.rs"]
mod target;

composefs_fuzz::program!(target::run, |data, dice| composefs_fuzz::words::LISTING.change(data, dice));
