//! The log on stderr.

use tracing_subscriber::EnvFilter;

use crate::{args::Global, env};

/// Starts logging: warnings by default, more with `-v`, or as `CFS_LOG` or `RUST_LOG` says.
pub(crate) fn start(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        (_, 2) => "debug",
        _ => "trace",
    };
    let filter = [env::LOG, env::RUST_LOG]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|text| !text.is_empty()))
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| EnvFilter::new(level));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would say so on stderr again, and panic there.
        .log_internal_errors(false)
        .with_ansi(super::colours())
        .without_time()
        .with_target(false)
        .try_init();
}
