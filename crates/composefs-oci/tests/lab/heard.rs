//! An observer that keeps what it is told; for the labs of several test binaries.

use std::sync::Mutex;

use composefs::progress::{Event, Observer};

/// What an observer was told, as text.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn event(&self, event: &Event<'_>) {
        let line = match event {
            Event::Begin { what, name, .. } => format!("begin {what} {name}"),
            Event::Done { name } => format!("done {name}"),
            Event::Plan { what, pieces, bytes } => format!("plan {pieces} {what} {bytes}"),
            Event::Skipped { what, name } => format!("skipped {what} {name}"),
            Event::Warning { text } => format!("warning {text}"),
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Heard {
    pub(crate) fn starting(&self, word: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.starts_with(word)).cloned().collect()
    }
}
