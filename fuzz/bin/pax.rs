//! `fuzz_targets/pax.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/pax.rs"]
mod target;

composefs_fuzz::program!(target::run, composefs_fuzz::tar::change_records);
