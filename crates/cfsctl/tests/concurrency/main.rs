//! Many processes on one repository: pulls, tags, seals, collections, checks, mounts, and cfsctl 0.9 in between.
//!
//! `COMPOSEFS_TEST_CONCURRENCY=N` does N times as many steps, with other dice each time.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, clippy::print_stderr)]

mod crowd;

mod beside;
mod stalled;

#[test]
fn no_file_is_forgotten() {
    composefs_testkit::no_module_is_forgotten("crates/cfsctl/tests/concurrency");
}
