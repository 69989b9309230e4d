//! `fuzz_targets/erofs.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/erofs.rs"]
mod target;

composefs_fuzz::program!(target::run, composefs_fuzz::erofs::change);
