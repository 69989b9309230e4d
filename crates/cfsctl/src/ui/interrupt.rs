//! Ctrl-C and SIGTERM during long work: the first asks it to stop, the second ends the program.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use composefs::progress::Cancel;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level,
};

/// So long the work has to end. What is finished is durable well before; a server that says nothing must not
/// keep anybody here.
const GRACE: Duration = Duration::from_secs(3);

/// The signal that came.
static CAME: AtomicI32 = AtomicI32::new(SIGINT);

/// From here to the end of the program signals stop the work and not the program.
pub(crate) fn watch() -> anyhow::Result<Cancel> {
    let asked = Arc::new(AtomicBool::new(false));
    let context = "watch for signals";
    let mut signals = Signals::new([SIGINT, SIGTERM]).context(context)?;
    for signal in [SIGINT, SIGTERM] {
        // In the handler itself: a helper that dies of the same Ctrl-C must not be the first to say so.
        signal_hook::flag::register(signal, Arc::clone(&asked)).context(context)?;
    }
    let watch = move || {
        let mut before = false;
        for signal in signals.forever() {
            CAME.store(signal, Ordering::Relaxed);
            if std::mem::replace(&mut before, true) {
                low_level::exit(128 + signal);
            }
            std::thread::spawn(move || {
                std::thread::sleep(GRACE);
                crate::ui::say!("interrupted; what was finished is kept");
                low_level::exit(128 + signal);
            });
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).context(context)?;
    Ok(Cancel::when(asked))
}

/// The exit status of work that a signal has stopped, as a shell would give it.
pub(crate) fn status() -> u8 {
    u8::try_from(128 + CAME.load(Ordering::Relaxed)).unwrap_or(130)
}
