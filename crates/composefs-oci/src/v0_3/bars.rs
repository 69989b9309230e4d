//! The bars of 0.3's `pull`, if the feature `progress` is on.

use composefs::progress::Observer;
#[cfg(feature = "progress")]
use {
    composefs::progress::Event,
    indicatif::{MultiProgress, ProgressBar, ProgressStyle},
    std::{
        collections::HashMap,
        sync::{Mutex, PoisonError},
    },
};

/// Returns an observer that shows bars on a terminal's standard error.
#[cfg(feature = "progress")]
pub(super) fn observer() -> impl Observer {
    Bars::default()
}

/// Returns an observer that shows nothing.
#[cfg(not(feature = "progress"))]
pub(super) fn observer() -> impl Observer {
    composefs::progress::Silent
}

#[cfg(feature = "progress")]
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    open: Mutex<HashMap<String, ProgressBar>>,
}

#[cfg(feature = "progress")]
impl Observer for Bars {
    fn event(&self, event: &Event<'_>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Begin { what, name, total: Some(total) } => {
                let bar = self.all.add(ProgressBar::new(*total));
                if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {bytes}/{total_bytes}") {
                    bar.set_style(style);
                }
                bar.set_message(format!("{what} {}", name.chars().take(19).collect::<String>()));
                open.insert((*name).to_owned(), bar);
            }
            Event::Advance { name, by } => {
                if let Some(bar) = open.get(*name) {
                    bar.inc(*by);
                }
            }
            Event::Done { name } => {
                if let Some(bar) = open.remove(*name) {
                    bar.finish();
                }
            }
            Event::Skipped { what, name } => {
                let _ = self.all.println(format!("already have {what} {name}"));
            }
            Event::Warning { text } => {
                let _ = self.all.println(format!("warning: {text}"));
            }
            _ => {}
        }
    }
}
