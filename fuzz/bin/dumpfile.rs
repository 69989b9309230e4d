//! `fuzz_targets/dumpfile.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/dumpfile.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
