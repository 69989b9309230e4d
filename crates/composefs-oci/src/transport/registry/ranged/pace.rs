//! How many lanes are worth it: one more is tried, measured, and kept if everything got markedly faster.

use std::time::{Duration, Instant};

/// Bytes a second of one lane that nothing on the way holds back, as on loopback: whatever a second one is measured to bring
/// is noise.
const FAST: f64 = (128 << 20) as f64;
/// The share of a measurement that lanes may wait for the reader before it is the reader that is slow.
const HELD_MAX: f64 = 0.1;

/// What to do after bytes have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Go,
    /// Open another lane.
    Widen,
    /// The last lane was none too many, but close it.
    Narrow,
}

/// A measurement in steps: some bytes to get going, then some to measure by.
#[derive(Debug)]
pub(super) struct Pace {
    most: usize,
    piece: u64,
    gain: f64,
    /// Lanes there should be.
    lanes: usize,
    /// No more changes.
    settled: bool,
    /// Bytes a second with one lane less.
    before: f64,
    /// Bytes of this step so far.
    bytes: u64,
    /// When measuring began, and what all transfers had received then.
    begun: Option<(Instant, u64)>,
    /// How long lanes have waited for the reader since.
    held: Duration,
}

impl Pace {
    pub(super) const fn new(most: usize, piece: u64, gain: f64) -> Self {
        Self {
            most,
            piece,
            gain,
            lanes: 1,
            settled: most < 2,
            before: 0.0,
            bytes: 0,
            begun: None,
            held: Duration::ZERO,
        }
    }

    /// Returns how many lanes there should be.
    pub(super) const fn lanes(&self) -> usize {
        self.lanes
    }

    /// Tells whether that will not change any more.
    pub(super) const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Leaves it at this number of lanes.
    pub(super) fn settle(&mut self, lanes: usize) {
        (self.lanes, self.settled) = (lanes.max(1), true);
    }

    /// Notes that a lane waited for the reader.
    pub(super) fn held(&mut self, time: Duration) {
        self.held = self.held.saturating_add(time);
    }

    /// Notes bytes that came; `total` is what all transfers have received.
    pub(super) fn received(&mut self, bytes: u64, now: Instant, total: u64) -> Verdict {
        if self.settled {
            return Verdict::Go;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let lanes = self.lanes as u64;
        // Half a piece for each lane gets connections up to speed, a whole one is the measure.
        let start = self.piece.saturating_mul(lanes) / 2;
        let Some((begun, before)) = self.begun else {
            if self.bytes >= start {
                (self.begun, self.held) = (Some((now, total)), Duration::ZERO);
            }
            return Verdict::Go;
        };
        if self.bytes < start.saturating_add(self.piece.saturating_mul(lanes)) {
            return Verdict::Go;
        }
        let time = now.saturating_duration_since(begun).as_secs_f64().max(1e-6);
        let rate = total.saturating_sub(before) as f64 / time;
        let slow_reader = self.held.as_secs_f64() > HELD_MAX * time * self.lanes as f64;
        let pays = self.lanes == 1 || rate >= self.before * self.gain;
        tracing::debug!(lanes, rate, before = self.before, slow_reader, "measured");
        (self.bytes, self.begun, self.before) = (0, None, rate);
        if !pays {
            self.settle(self.lanes.saturating_sub(1));
            return Verdict::Narrow;
        }
        let fast = self.lanes == 1 && rate >= FAST;
        if slow_reader || fast || self.lanes >= self.most {
            self.settle(self.lanes);
            return Verdict::Go;
        }
        self.lanes += 1;
        Verdict::Widen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets bytes come at the rate that `rate` gives for a number of lanes; returns where that ends.
    fn run(rate: impl Fn(usize) -> f64, held: f64) -> (usize, bool) {
        let mut pace = Pace::new(4, 1000, 1.2);
        let (mut now, mut total) = (Instant::now(), 0);
        for _ in 0..2000 {
            let time = 100.0 / rate(pace.lanes());
            now += Duration::from_secs_f64(time);
            total += 100;
            pace.held(Duration::from_secs_f64(time * held * pace.lanes() as f64));
            pace.received(100, now, total);
        }
        (pace.lanes(), pace.is_settled())
    }

    #[test]
    fn lanes_stay_while_they_pay() {
        let each = |lanes: usize| 1000.0 * lanes as f64;
        assert_eq!(run(each, 0.0), (4, true));
        let shared = |_: usize| 1000.0;
        assert_eq!(run(shared, 0.0), (1, true));
        let two = |lanes: usize| 1000.0 * lanes.min(2) as f64;
        assert_eq!(run(two, 0.0), (2, true));
    }

    #[test]
    fn what_is_fast_stays_alone() {
        assert_eq!(run(|lanes| FAST * lanes as f64, 0.0), (1, true));
    }

    #[test]
    fn a_slow_reader_needs_one() {
        assert_eq!(run(|lanes| 1000.0 * lanes as f64, 0.5), (1, true));
    }
}
