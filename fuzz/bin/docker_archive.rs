//! `fuzz_targets/docker_archive.rs` under libFuzzer.
#![no_main]

#[path = "../fuzz_targets/docker_archive.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
