//! Tests that need more than Rust and a C compiler: skipped loudly, or failed.
//!
//! `cargo test` must pass on a machine with Rust alone, and `.ci/run` must not pass because half of the tests did
//! nothing. So a test that misses something says so on the terminal, past the test harness's capture, and with
//! `COMPOSEFS_TEST_REQUIRE` set to anything but the empty string or `0` it fails instead.

use std::io::Write as _;

/// The variable that turns every skipped test into a failed one.
pub const VARIABLE: &str = "COMPOSEFS_TEST_REQUIRE";

/// Returns whether tests must fail rather than be skipped.
#[must_use]
pub fn required() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Announces that the calling test does nothing because of `reason`; the caller then returns.
///
/// # Panics
/// Where [`required`] says that nothing may be skipped.
#[track_caller]
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(!required(), "{test} {reason}, and {VARIABLE} is set");
    // Not eprintln!: that is captured, and a skipped test would look like one that passed.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test} {reason}");
}

/// Skips the calling test, or fails it where [`VARIABLE`](crate::require::VARIABLE) is set.
///
/// The text says what is missing, `skip_or_fail!("needs qemu")`; a second argument is the value to return.
#[macro_export]
macro_rules! skip_or_fail {
    ($reason:expr) => {{
        $crate::require::skip($reason);
        return;
    }};
    ($reason:expr, $value:expr) => {{
        $crate::require::skip($reason);
        return $value;
    }};
}
