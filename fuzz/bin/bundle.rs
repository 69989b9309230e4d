//! `fuzz_targets/bundle.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/bundle.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
