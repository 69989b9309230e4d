//! Signals on their way to a container.

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2},
    iterator::{Handle, Signals},
};

/// Those that mean something to a program, and none that the kernel sends about this process.
const SIGNALS: [i32; 8] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT];

/// From here on signals do nothing to this process; those from now on go to `child` with [`Forwarding::to`].
pub(crate) fn forward() -> anyhow::Result<Forwarding> {
    Ok(Forwarding { signals: Signals::new(SIGNALS).context("watch for signals")? })
}

/// Signals that wait for somebody to go to.
pub(crate) struct Forwarding {
    signals: Signals,
}

impl Forwarding {
    /// Hands signals on to a process, those that came meanwhile, too, until the handle is closed.
    pub(crate) fn to(mut self, child: u32) -> anyhow::Result<Handle> {
        let pid = i32::try_from(child).ok().and_then(Pid::from_raw).context("a process has a number")?;
        let handle = self.signals.handle();
        let forward = move || {
            for signal in self.signals.forever() {
                // A key on the terminal reaches all processes there, the runtime, too, which hands it on.
                if matches!(signal, SIGINT | SIGQUIT) && is_in_foreground() {
                    continue;
                }
                if let Some(signal) = Signal::from_named_raw(signal) {
                    let _ = kill_process(pid, signal);
                }
            }
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(forward).context("watch for signals")?;
        Ok(handle)
    }
}

/// Tells whether keys of a terminal make signals for this process.
fn is_in_foreground() -> bool {
    std::fs::File::open("/dev/tty")
        .ok()
        .and_then(|terminal| rustix::termios::tcgetpgrp(&terminal).ok())
        .is_some_and(|group| group == rustix::process::getpgrp())
}
