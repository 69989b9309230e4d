//! A line when something is done.

use std::{collections::HashMap, sync::Mutex};

use composefs::progress::{Event, Observer};

use super::{lock, retry_text, warn};
use crate::ui::size;

#[derive(Default)]
pub(super) struct Lines {
    running: Mutex<HashMap<String, (&'static str, Option<u64>)>>,
}

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Plan { what, pieces, bytes } if *pieces > 1 => {
                crate::ui::say!("{pieces} {what}s to come, {}", size::human(*bytes));
            }
            Event::Begin { what, name, total } => {
                lock(&self.running).insert((*name).to_owned(), (what, *total));
            }
            Event::Done { name } => {
                let done = lock(&self.running).remove(*name);
                if let Some(line) = done.and_then(|(what, total)| done_text(what, name, total)) {
                    crate::ui::say!("{line}");
                }
            }
            Event::Skipped { what, name } => crate::ui::say!("{what} {name} is here already"),
            Event::Retry { name, reason, delay } => crate::ui::say!("{}", retry_text(name, reason, *delay)),
            Event::Warning { text } => warn(text),
            _ => {}
        }
    }
}

/// What is said of a piece of work that is done.
pub(super) fn done_text(what: &str, name: &str, total: Option<u64>) -> Option<String> {
    match (what, total) {
        ("layer", Some(total)) => Some(format!("layer {name} done, {}", size::human(total))),
        ("pack", _) => Some(format!("layer {name} packed")),
        ("unpack", _) => Some(format!("layer {name} unpacked from the copy that is here")),
        ("layer" | "image", _) => Some(format!("{what} {name} done")),
        // The rest is for bars: it is over in a moment, or counts things and not bytes.
        _ => None,
    }
}
