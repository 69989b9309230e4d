//! `fuzz_targets/registries.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/registries.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
