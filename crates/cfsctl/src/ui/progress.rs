//! Progress of long work on stderr: bars, lines or JSON documents.

mod bars;
mod json;
mod lines;

use composefs::progress::{Event, Observer};

use crate::args::{Global, ProgressMode};

/// Chooses how progress is shown.
pub(crate) fn observer(global: &Global) -> Box<dyn Observer> {
    let mode = match global.progress {
        ProgressMode::Auto if super::is_capable_terminal() => ProgressMode::Bar,
        ProgressMode::Auto => ProgressMode::Plain,
        mode => mode,
    };
    match mode {
        ProgressMode::Json => Box::new(json::Json::default()),
        ProgressMode::None => Box::new(Warnings),
        _ if global.quiet => Box::new(Warnings),
        ProgressMode::Bar => Box::new(bars::Bars::default()),
        _ => Box::new(lines::Lines::default()),
    }
}

fn warn(text: &str) {
    crate::ui::say!("warning: {text}");
}

/// Says that something is tried again.
fn retry_text(name: &str, reason: &str, delay: std::time::Duration) -> String {
    // Half a second is said as one: nobody waits for it.
    format!("{name}: {reason}; trying again in {} s", delay.as_secs_f64().ceil())
}

/// Only what a user must know.
struct Warnings;

impl Observer for Warnings {
    fn event(&self, event: &Event<'_>) {
        if let Event::Warning { text } = event {
            warn(text);
        }
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The kinds of work that are counted in bytes: layers that come or go, those unpacked from a copy that is here, and
/// those packed to go.
fn is_bytes(what: &str) -> bool {
    matches!(what, "layer" | "unpack" | "pack")
}
