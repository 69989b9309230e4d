//! What all checks need: what to read, how many at once, whom to tell, and when to stop.

use std::{
    io::{self, Read},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::CheckOptions;
use crate::{
    error::Result,
    progress::{Cancel, Event, Observer},
    repo::{Repository, fan_out},
};

/// What all checks need.
pub(super) struct Work<'a> {
    pub(super) repository: &'a Repository,
    pub(super) options: &'a CheckOptions,
    observer: &'a dyn Observer,
    stopped: AtomicBool,
}

impl<'a> Work<'a> {
    pub(super) const fn new(
        repository: &'a Repository,
        options: &'a CheckOptions,
        observer: &'a dyn Observer,
    ) -> Self {
        Self { repository, options, observer, stopped: AtomicBool::new(false) }
    }

    /// Tells whether something shall be left out, since somebody asked to stop; from then on it is known that
    /// something was.
    pub(super) fn must_stop(&self) -> bool {
        let stop = self.options.cancel.is_cancelled();
        if stop {
            self.stopped.store(true, Ordering::Relaxed);
        }
        stop
    }

    /// Tells whether something was left out.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Does the same with each of a list, several at once, and returns the outcomes in the list's order; those of what
    /// was left out are missing.
    pub(super) fn each<T: Sync, O: Send>(
        &self,
        what: &'static str,
        list: &[T],
        work: impl Fn(&T) -> Result<O> + Sync,
    ) -> Result<Vec<O>> {
        self.observer.event(&Event::Begin { what, name: what, total: u64::try_from(list.len()).ok() });
        let outcomes = Mutex::new(Vec::new());
        let numbered: Vec<(usize, &T)> = list.iter().enumerate().collect();
        let result = fan_out::each(&numbered, self.options.threads, |(number, one)| {
            if self.must_stop() {
                return Ok(());
            }
            let outcome = work(one)?;
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((*number, outcome));
            self.observer.event(&Event::Advance { name: what, by: 1 });
            Ok(())
        });
        self.observer.event(&Event::Done { name: what });
        result?;
        let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        outcomes.sort_unstable_by_key(|(number, _)| *number);
        Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    }

    /// Hands a file's contents on, piece by piece. Tells whether it came to the end.
    pub(super) fn read(
        &self,
        mut file: impl Read,
        buffer: &mut [u8],
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<bool> {
        loop {
            if self.must_stop() {
                return Ok(false);
            }
            match file.read(buffer) {
                Ok(0) => return Ok(true),
                Ok(read) => each(buffer.get(..read).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What work was asked to stop by.
pub(super) fn stopped(cancel: &Cancel) -> io::Result<()> {
    match cancel.is_cancelled() {
        true => Err(io::Error::other("it was asked to stop")),
        false => Ok(()),
    }
}
