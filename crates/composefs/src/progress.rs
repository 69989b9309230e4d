//! Progress of long work, told to whoever asked for it; and the word to stop it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Receives events while work goes on; called from several threads.
///
/// The libraries print nothing: a caller that wants bars, lines or a count implements this.
pub trait Observer: Send + Sync {
    /// Takes one event. Must return quickly: the work waits.
    fn event(&self, event: &Event<'_>);
}

/// An observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event<'_>) {}
}

/// Asks work to stop. Clones ask the same work.
///
/// What was finished before is kept, nothing half-done is named, and the work returns an error soon.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    asked: Arc<AtomicBool>,
}

impl Cancel {
    /// Takes a flag that somebody else sets, such as a signal handler.
    #[must_use]
    pub const fn when(asked: Arc<AtomicBool>) -> Self {
        Self { asked }
    }

    /// Asks the work to stop; it cannot be taken back.
    pub fn cancel(&self) {
        self.asked.store(true, Ordering::Release);
    }

    /// Tells whether the work shall stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// What is to come in all, said before the first piece of it begins.
    Plan {
        /// What kind of work: `layer`, …
        what: &'static str,
        /// Pieces that will begin.
        pieces: u64,
        /// Bytes of all these pieces.
        bytes: u64,
    },
    /// A named piece of work begins; `total` is its size in bytes (or items), if known.
    Begin {
        /// What kind of work: `manifest`, `config`, `layer`, `image`, `objects`, …
        what: &'static str,
        /// Which one: a digest, a path.
        name: &'a str,
        /// Its size, if known.
        total: Option<u64>,
    },
    /// So much more of it is done.
    Advance {
        /// As in `Begin`.
        name: &'a str,
        /// Bytes (or items) since the last event.
        by: u64,
    },
    /// It is done.
    Done {
        /// As in `Begin`.
        name: &'a str,
    },
    /// It was not needed, being here already.
    Skipped {
        /// What kind of work.
        what: &'static str,
        /// Which one.
        name: &'a str,
    },
    /// Something about it did not work and is tried again after a while.
    Retry {
        /// As in `Begin`; or what else is tried again, such as a token or a manifest.
        name: &'a str,
        /// Why, without secrets and without full stop.
        reason: &'a str,
        /// How long it waits.
        delay: Duration,
    },
    /// Something a user should know and can act on.
    Warning {
        /// A sentence without full stop.
        text: &'a str,
    },
}
