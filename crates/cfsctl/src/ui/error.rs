//! An error as a person reads it: what was asked for, a line for each cause, and what to do.

use std::{collections::BTreeSet, fmt::Write as _, io, process::ExitCode};

use composefs::mount::MountError;
use composefs_fuse::FuseError;
use composefs_oci::{credentials::CredentialsError, reference::ReferenceError};
use serde_json::json;

use crate::args::ProgressMode;

/// A verb found damage or a difference and has said all about it, but for what to do.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failed {
    text: String,
    hints: BTreeSet<String>,
}

impl Failed {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hints: BTreeSet::new() }
    }

    /// With what mends it, each remedy once.
    pub(crate) fn hints(mut self, hints: impl IntoIterator<Item = String>) -> Self {
        self.hints.extend(hints);
        self
    }
}

/// Arguments that clap takes and we don't; ends with exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A check was stopped by a signal before it had seen all.
#[derive(Debug, thiserror::Error)]
#[error("stopped before all was checked")]
pub(crate) struct Stopped;

/// Another process of this program has said what is wrong, and ended with this status.
#[derive(Debug, thiserror::Error)]
#[error("exit status {0}")]
pub(crate) struct Said(pub(crate) u8);

/// Prints an error with its causes and hint, as an event where stderr has those; returns the exit status.
pub(crate) fn report(error: &anyhow::Error, progress: ProgressMode) -> ExitCode {
    // Whoever read our output has seen enough: that is no failure.
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    if let Some(Said(status)) = error.downcast_ref() {
        return ExitCode::from(*status);
    }
    let events = progress == ProgressMode::Json;
    if let Some(usage) = error.downcast_ref::<Usage>() {
        match events {
            true => crate::ui::say!("{}", json!({"event": "error", "text": usage.to_string()})),
            false => crate::ui::say!("error: {usage}\n\nFor more information, try '--help'."),
        }
        return ExitCode::from(2);
    }
    if let Some(cancelled) = cancelled(error) {
        match events {
            true => crate::ui::say!("{}", json!({"event": "cancelled", "text": cancelled})),
            false => crate::ui::say!("{cancelled}"),
        }
        return ExitCode::from(super::interrupt::status());
    }
    let (lines, hints) = (lines(error), hints(error));
    if events {
        let (text, causes) =
            lines.split_first().map_or(("", &[][..]), |(text, causes)| (text.as_str(), causes));
        crate::ui::say!("{}", json!({"event": "error", "text": text, "causes": causes, "hints": hints}));
    } else {
        let text = text(&lines, &hints);
        crate::ui::say!("{}", text.strip_suffix('\n').unwrap_or(&text));
    }
    ExitCode::FAILURE
}

/// The cause that says somebody pressed Ctrl-C.
fn cancelled(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(cancelled @ composefs_oci::Error::Cancelled { .. }) => Some(cancelled.to_string()),
        _ => cause.downcast_ref::<Stopped>().map(ToString::to_string),
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = cause
            .downcast_ref::<io::Error>()
            .map(io::Error::kind)
            .or_else(|| cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind));
        kind == Some(io::ErrorKind::BrokenPipe)
    })
}

/// What was asked for, then each cause.
fn lines(error: &anyhow::Error) -> Vec<String> {
    let mut lines = Vec::new();
    for cause in error.chain() {
        let line = cause.to_string();
        // A transparent variant says what its cause says.
        if lines.last() != Some(&line) && !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

/// What to do about it.
fn hints(error: &anyhow::Error) -> Vec<String> {
    let failed = error.downcast_ref::<Failed>().into_iter().flat_map(|failed| failed.hints.iter().cloned());
    failed.chain(hint(error)).collect()
}

fn text(lines: &[String], hints: &[String]) -> String {
    let mut text = String::new();
    for (depth, line) in lines.iter().enumerate() {
        let _ = match depth {
            0 => writeln!(text, "Error: {line}"),
            _ => writeln!(text, "  {line}"),
        };
    }
    for hint in hints {
        let _ = writeln!(text, "hint: {hint}");
    }
    text
}

/// The hint of the first cause that has one.
fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        cause
            .downcast_ref::<composefs_oci::Error>()
            .and_then(composefs_oci::Error::hint)
            .or_else(|| cause.downcast_ref::<composefs::Error>().and_then(composefs::Error::hint))
            .or_else(|| cause.downcast_ref::<CredentialsError>().and_then(CredentialsError::hint))
            .or_else(|| cause.downcast_ref::<FuseError>().and_then(FuseError::hint))
            .or_else(|| cause.downcast_ref::<MountError>().and_then(MountError::hint))
            .or_else(|| cause.downcast_ref::<ReferenceError>().and_then(ReferenceError::hint))
    })
}

/// Prints clap's word on the arguments; help and version go to stdout and are no errors.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}
