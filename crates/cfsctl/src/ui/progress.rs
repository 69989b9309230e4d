//! Progress of long work on stderr: bars, lines or JSON documents.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use composefs::progress::{Event, Observer, Silent};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{
    args::{Global, ProgressMode},
    ui::size,
};

/// Chooses how progress is shown.
pub(crate) fn observer(global: &Global) -> Box<dyn Observer> {
    let mode = match global.progress {
        ProgressMode::Auto if super::is_capable_terminal() => ProgressMode::Bar,
        ProgressMode::Auto => ProgressMode::Plain,
        mode => mode,
    };
    match mode {
        ProgressMode::Json => Box::new(Json::default()),
        ProgressMode::None => Box::new(Warnings),
        _ if global.quiet => Box::new(Warnings),
        ProgressMode::Bar => Box::new(Bars::default()),
        _ => Box::new(Lines::default()),
    }
}

fn warn(text: &str) {
    eprintln!("warning: {text}");
}

/// Only what a user must know.
struct Warnings;

impl Observer for Warnings {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Warning { text } => warn(text),
            _ => Silent.event(event),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bar for each layer.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

impl Observer for Bars {
    fn event(&self, event: &Event<'_>) {
        let mut bars = lock(&self.bars);
        match event {
            Event::Begin { what, name, total } => {
                let template = match total {
                    // Only layers are counted in bytes.
                    Some(_) if *what != "layer" => {
                        "{prefix:>8} {msg:22!} [{wide_bar}] {human_pos}/{human_len} {eta}"
                    }
                    Some(_) => {
                        "{prefix:>8} {msg:22!} [{wide_bar}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"
                    }
                    None => "{prefix:>8} {msg} {spinner}",
                };
                let style =
                    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = self.all.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
                bar.set_style(style.progress_chars("=> "));
                bar.set_prefix((*what).to_owned());
                bar.set_message((*name).to_owned());
                bars.insert((*name).to_owned(), bar);
            }
            Event::Advance { name, by } => {
                if let Some(bar) = bars.get(*name) {
                    bar.inc(*by);
                }
            }
            Event::Done { name } => {
                if let Some(bar) = bars.remove(*name) {
                    bar.finish();
                }
            }
            Event::Skipped { what, name } => {
                let _ = self.all.println(format!("{what:>8} {name} is here already"));
            }
            Event::Warning { text } => self.all.suspend(|| warn(text)),
            _ => {}
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for bar in lock(&self.bars).values() {
            bar.abandon();
        }
    }
}

/// A line when a layer is done.
#[derive(Default)]
struct Lines {
    running: Mutex<HashMap<String, (&'static str, Option<u64>)>>,
}

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Begin { what, name, total } => {
                lock(&self.running).insert((*name).to_owned(), (what, *total));
            }
            Event::Done { name } => match lock(&self.running).remove(*name) {
                Some((what @ "layer", Some(total))) => {
                    eprintln!("{what} {name} done, {}", size::human(total));
                }
                Some((what @ ("layer" | "image"), _)) => eprintln!("{what} {name} done"),
                // The rest is for bars: it is over in a moment, or counts things and not bytes.
                _ => {}
            },
            Event::Skipped { what, name } => eprintln!("{what} {name} is here already"),
            Event::Warning { text } => warn(text),
            _ => {}
        }
    }
}

/// A document for each event.
#[derive(Default)]
struct Json {
    running: Mutex<HashMap<String, (&'static str, Option<u64>, u64)>>,
}

impl Json {
    fn line(what: &str, name: &str, state: &str, bytes: u64, total: Option<u64>) {
        let document = serde_json::json!({"event": what, "digest": name, "state": state, "bytes": bytes, "total": total});
        eprintln!("{document}");
    }
}

impl Observer for Json {
    fn event(&self, event: &Event<'_>) {
        let mut running = lock(&self.running);
        match event {
            Event::Begin { what, name, total } => {
                running.insert((*name).to_owned(), (what, *total, 0));
                Self::line(what, name, "fetching", 0, *total);
            }
            Event::Advance { name, by } => {
                if let Some((what, total, bytes)) = running.get_mut(*name) {
                    let before = *bytes >> 20;
                    *bytes += by;
                    // A line for each MiB is as much as anybody wants to read.
                    if *bytes >> 20 != before {
                        Self::line(what, name, "fetching", *bytes, *total);
                    }
                }
            }
            Event::Done { name } => {
                if let Some((what, total, bytes)) = running.remove(*name) {
                    Self::line(what, name, "done", bytes, total);
                }
            }
            Event::Skipped { what, name } => Self::line(what, name, "present", 0, None),
            Event::Warning { text } => eprintln!("{}", serde_json::json!({"event": "warning", "text": text})),
            _ => {}
        }
    }
}
