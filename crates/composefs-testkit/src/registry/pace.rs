//! So many bytes a second and no more.

use std::time::{Duration, Instant};

/// The most bytes at once.
const PIECE_MAX: usize = 256 * 1024;

/// Keeps a body to so many bytes a second.
pub(super) struct Pace {
    rate: u64,
    begun: Instant,
}

impl Pace {
    pub(super) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), begun: Instant::now() }
    }

    /// A hundredth of a second's bytes.
    pub(super) fn piece(&self) -> usize {
        usize::try_from(self.rate / 100).unwrap_or(PIECE_MAX).clamp(1, PIECE_MAX)
    }

    /// Waits until so many bytes may have passed in all.
    pub(super) fn keep(&self, bytes: u64) {
        let due = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        std::thread::sleep(due.saturating_sub(self.begun.elapsed()));
    }
}
