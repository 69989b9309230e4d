//! `fuzz_targets/annotations.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/annotations.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
