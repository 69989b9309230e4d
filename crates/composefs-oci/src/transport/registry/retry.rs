//! What is tried again, how often, and after which pause.
//!
//! # Format
//! `docs/formats/transports.md`, section 2, retries and resume.

use std::{fmt, sync::Arc, time::Duration};

use composefs::progress::{Event, Observer};

use super::fault::{Asked, Failure};

/// How often something is tried again, and how long is waited before.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RetryOptions {
    /// How often in a row without progress.
    pub limit: u32,
    /// The first pause; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// The longest pause a registry can ask for.
    pub longest_asked: Duration,
    /// Who is told, if anybody.
    pub observer: Told,
}

/// Who is told of what is tried again.
#[derive(Clone, Default)]
pub struct Told(Option<Arc<dyn Observer>>);

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "somebody" } else { "nobody" })
    }
}

impl Told {
    fn retry(&self, failure: &Failure, delay: Duration) {
        let Some(observer) = &self.0 else { return };
        let error = &failure.error;
        // A blob goes by its digest, as in the other events.
        let name = match &error.asked {
            Asked::Blob(digest) => digest.clone(),
            asked => format!("{asked} {}", error.name),
        };
        observer.event(&Event::Retry { name: &name, reason: &error.fault.to_string(), delay });
    }

    /// Tells of something that went wrong and that something else has to make good.
    pub(super) fn warn(&self, text: &str) {
        if let Some(observer) = &self.0 {
            observer.event(&Event::Warning { text });
        }
    }
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            limit: 5,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            longest_asked: Duration::from_secs(60),
            observer: Told::default(),
        }
    }
}

impl RetryOptions {
    /// Sets how often something is tried again; 0: never.
    #[must_use]
    pub const fn limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the first and the longest pause.
    #[must_use]
    pub const fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_pause, self.longest_pause) = (first, longest);
        self
    }

    /// Sets who is told when something is tried again, as [`Event::Retry`].
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Told(Some(observer));
        self
    }

    /// Sets the longest pause a registry can ask for.
    #[must_use]
    pub const fn longest_asked(mut self, longest: Duration) -> Self {
        self.longest_asked = longest;
        self
    }
}

impl RetryOptions {
    /// Returns what is right for a place that others stand behind.
    pub(super) fn of_mirror(&self) -> Self {
        self.clone().limit(self.limit.min(MIRROR_LIMIT))
    }
}

/// How often a place is tried again that others stand behind.
const MIRROR_LIMIT: u32 = 1;

/// The tries that are left for one thing, whatever fails on the way to it.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    options: RetryOptions,
    spent: u32,
}

impl Budget {
    pub(super) fn new(options: &RetryOptions) -> Self {
        Self { options: options.clone(), spent: 0 }
    }

    /// As [`Budget::new`]; for a place that others stand behind, with fewer tries.
    pub(super) fn at_place(options: &RetryOptions, is_last: bool) -> Self {
        Self::new(&if is_last { options.clone() } else { options.of_mirror() })
    }

    /// Gives all tries back, since there was progress.
    pub(super) fn renew(&mut self) {
        self.spent = 0;
    }

    /// Takes a try, if trying again may help; returns how long to wait before it.
    pub(super) fn pause(&mut self, failure: &Failure) -> Option<Duration> {
        if !failure.transient || self.spent >= self.options.limit {
            return None;
        }
        let options = &self.options;
        let doubled = options.first_pause.saturating_mul(1_u32.checked_shl(self.spent).unwrap_or(u32::MAX));
        self.spent += 1;
        let pause = match failure.retry_after {
            Some(asked) => asked.min(options.longest_asked),
            // Between half and all of it, so that many clients don't come back at once.
            None => doubled.min(options.longest_pause).mul_f64(0.5 + fastrand::f64() / 2.0),
        };
        options.observer.retry(failure, pause);
        Some(pause)
    }

    /// As [`Budget::pause`], and waits.
    ///
    /// # Errors
    /// The failure, if trying again won't help or was tried often enough.
    pub(super) async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        let Some(pause) = self.pause(&failure) else { return Err(failure) };
        tracing::debug!(error = %failure.error, ?pause, "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::registry::fault::{Fault, RegistryError};

    fn failure(transient: bool, retry_after: Option<Duration>) -> Failure {
        let fault = Fault::TimedOut { host: "x".to_owned() };
        let asked = Asked::Blob("sha256:0".to_owned());
        let error = RegistryError { asked, name: "x/y".to_owned(), by_hand: false, fault };
        Failure { transient, retry_after, ..Failure::fatal(error) }
    }

    #[test]
    fn pauses_grow_and_end() {
        let options = RetryOptions::default().limit(7);
        let mut budget = Budget::new(&options);
        for longest in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            let pause = budget.pause(&failure(true, None)).unwrap().as_secs_f64();
            assert!((longest / 2.0..=longest).contains(&pause), "{pause} of {longest}");
        }
        assert_eq!(budget.pause(&failure(true, None)), None);
        budget.renew();
        assert!(budget.pause(&failure(true, None)).unwrap() <= Duration::from_secs(1));
        assert_eq!(budget.pause(&failure(false, None)), None);
    }

    #[test]
    fn what_a_registry_asks_for_counts() {
        let mut budget = Budget::new(&RetryOptions::default());
        let asked = |seconds| failure(true, Some(Duration::from_secs(seconds)));
        assert_eq!(budget.pause(&asked(7)), Some(Duration::from_secs(7)));
        assert_eq!(budget.pause(&asked(3600)), Some(Duration::from_secs(60)));
        assert_eq!(budget.pause(&asked(0)), Some(Duration::ZERO));
    }
}
