//! `fuzz_targets/splitstream.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/splitstream.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
