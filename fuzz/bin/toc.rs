//! `fuzz_targets/toc.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/toc.rs"]
mod target;

composefs_fuzz::program!(target::run, |data, dice| {
    composefs_fuzz::json::change(data, dice).or_else(|| composefs_fuzz::frames::change(data, dice))
});
