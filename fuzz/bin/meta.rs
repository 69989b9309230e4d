//! `fuzz_targets/meta.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/meta.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
