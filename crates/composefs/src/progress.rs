//! Progress of long work, told to whoever asked for it.

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

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
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
    /// Something a user should know and can act on.
    Warning {
        /// A sentence without full stop.
        text: &'a str,
    },
}
