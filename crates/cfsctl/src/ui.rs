//! Where output goes: results to stdout, progress, warnings and errors to stderr.

pub(crate) mod command;
pub(crate) mod digest_file;
pub(crate) mod error;
pub(crate) mod interrupt;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod progress;
pub(crate) mod prompt;
pub(crate) mod path;
pub(crate) mod size;
pub(crate) mod table;

use std::io::{self, IsTerminal as _, StdoutLock};

use crate::env;

/// Stdout, for a verb's result.
pub(crate) fn out() -> StdoutLock<'static> {
    io::stdout().lock()
}

/// Writes a line to stderr, in one piece. That it cannot be written, to a log on a disk that is full say, is no reason
/// to stop: `eprintln!` would panic. Names out of images and registries harm no terminal.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let text = format!("{}\n", format_args!($($text)*));
        let _ = std::io::stderr().write_all($crate::ui::path::lines(&text).as_bytes());
    }};
}
pub(crate) use say;

/// Tells whether stderr is a terminal on which the cursor can be moved.
pub(crate) fn is_capable_terminal() -> bool {
    io::stderr().is_terminal()
        && std::env::var_os(env::TERM).is_some_and(|term| term != "dumb" && !term.is_empty())
}

/// Tells whether stderr may be coloured.
pub(crate) fn colours() -> bool {
    is_capable_terminal() && std::env::var_os(env::NO_COLOR).is_none_or(|value| value.is_empty())
}
