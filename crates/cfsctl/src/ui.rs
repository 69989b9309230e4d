//! Where output goes: results to stdout, progress, warnings and errors to stderr.

pub(crate) mod error;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod progress;
pub(crate) mod size;
pub(crate) mod table;

use std::io::{self, StdoutLock};

/// Stdout, for a verb's result.
pub(crate) fn out() -> StdoutLock<'static> {
    io::stdout().lock()
}
