//! A bar for each piece of work under way, and one for all layers that come.
//!
//! What is done becomes a line above the bars, so these are never more than there are jobs, whatever the image.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use composefs::progress::{Event, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{is_bytes, lines::done_text, lock, retry_text};

/// Below this many columns there is no room for a bar beside the figures.
const NARROW: u16 = 72;
/// How often the total is drawn though nothing comes, so that the time left stays true.
const TICK: Duration = Duration::from_millis(500);

pub(super) struct Bars {
    all: MultiProgress,
    narrow: bool,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    total: Option<ProgressBar>,
    pieces: HashMap<String, Piece>,
}

struct Piece {
    what: &'static str,
    total: Option<u64>,
    bar: ProgressBar,
}

impl Default for Bars {
    fn default() -> Self {
        let width = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| size.ws_col);
        Self::new(ProgressDrawTarget::stderr(), width != 0 && width < NARROW)
    }
}

impl Bars {
    fn new(target: ProgressDrawTarget, narrow: bool) -> Self {
        Self { all: MultiProgress::with_draw_target(target), narrow, shown: Mutex::default() }
    }

    fn style(&self, what: &str, total: Option<u64>) -> ProgressStyle {
        let template = match (total, is_bytes(what) || what == "total", self.narrow) {
            (Some(_), true, false) => {
                "{prefix:>8} {msg:19!} [{wide_bar}] {binary_bytes:>10} of {binary_total_bytes:10} {binary_bytes_per_sec:>12} {eta:>4}"
            }
            (Some(_), true, true) => "{msg:14!} {binary_bytes:>10} {percent:>3}% {eta:>4}",
            // Only layers are counted in bytes.
            (Some(_), false, false) => {
                "{prefix:>8} {msg:19!} [{wide_bar}] {human_pos} of {human_len} {eta:>4}"
            }
            (Some(_), false, true) => "{msg:14!} {human_pos:>10} {percent:>3}% {eta:>4}",
            (None, ..) => "{prefix:>8} {msg:19!} {spinner}",
        };
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
    }

    fn bar(&self, what: &str, name: &str, total: Option<u64>) -> ProgressBar {
        // Nothing is drawn before it has its place among the others.
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        bar.set_style(self.style(what, total));
        bar.set_prefix(if what == "total" { String::new() } else { what.to_owned() });
        bar.set_message(name.to_owned());
        bar
    }

    /// A line above the bars, which stays.
    fn say(&self, line: &str) {
        if self.all.println(crate::ui::path::lines(line)).is_err() || self.all.is_hidden() {
            crate::ui::say!("{line}");
        }
    }
}

impl Observer for Bars {
    fn event(&self, event: &Event<'_>) {
        let mut shown = lock(&self.shown);
        match event {
            // A single layer is its own total.
            Event::Plan { what, pieces, bytes } if *pieces > 1 => {
                let bar = self.bar("total", &format!("{pieces} {what}s"), Some(*bytes));
                let bar = self.all.add(bar);
                bar.enable_steady_tick(TICK);
                shown.total = Some(bar);
            }
            Event::Begin { what, name, total } => {
                // What came wrong begins again.
                if let Some(before) = shown.pieces.remove(*name) {
                    if let (Some(total), "layer") = (&shown.total, before.what) {
                        total.set_position(total.position().saturating_sub(before.bar.position()));
                    }
                    before.bar.finish_and_clear();
                    self.all.remove(&before.bar);
                }
                let bar = self.bar(what, name, *total);
                let bar = match &shown.total {
                    Some(below) => self.all.insert_before(below, bar),
                    None => self.all.add(bar),
                };
                shown.pieces.insert((*name).to_owned(), Piece { what, total: *total, bar });
            }
            Event::Advance { name, by } => {
                if let Some(piece) = shown.pieces.get(*name) {
                    piece.bar.inc(*by);
                    if let (Some(total), "layer") = (&shown.total, piece.what) {
                        total.inc(*by);
                    }
                }
            }
            Event::Done { name } => {
                if let Some(piece) = shown.pieces.remove(*name) {
                    piece.bar.finish_and_clear();
                    self.all.remove(&piece.bar);
                    if let Some(line) = done_text(piece.what, name, piece.total) {
                        self.say(&line);
                    }
                }
            }
            Event::Skipped { what, name } => self.say(&format!("{what} {name} is here already")),
            Event::Retry { name, reason, delay } => self.say(&retry_text(name, reason, *delay)),
            Event::Warning { text } => self.say(&format!("warning: {text}")),
            _ => {}
        }
    }
}

impl Drop for Bars {
    /// What comes after stands where the bars were.
    fn drop(&mut self) {
        let shown = self.shown.get_mut().unwrap_or_else(PoisonError::into_inner);
        for piece in shown.pieces.values() {
            piece.bar.finish_and_clear();
        }
        if let Some(total) = &shown.total {
            total.finish_and_clear();
        }
    }
}
