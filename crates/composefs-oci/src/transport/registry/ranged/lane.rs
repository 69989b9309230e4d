//! One lane of a transfer: takes a piece, asks for it, and again for what is missing of it when that breaks off.

use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes};

use super::{
    Budget, Failure, PROGRESS, Shared, State,
    origin::{Answer, Body, Origin},
    pace::Verdict,
    window::{Pushed, Span},
};

/// Bytes that are rather read again than asked for without what came before.
const SKIP_MAX: u64 = 1 << 20;
/// The least of a part that is asked for again at once, when an origin gives less than was asked for.
const PART_MIN: u64 = 64 * 1024;

/// What a transfer begins with: the piece, whether a range was asked for, and the answer.
pub(super) type First<B> = (u64, bool, Answer<B>);

/// Starts a lane.
pub(super) fn spawn<O: Origin>(shared: &Arc<Shared<O>>, first: Option<First<O::Body>>) {
    let mut state = shared.lock();
    state.running += 1;
    let mut lane = Lane { shared: Arc::clone(shared), counted: true };
    let task = shared.runtime.spawn(async move { lane.run(first).await });
    state.tasks.push(task.abort_handle());
}

struct Lane<O> {
    shared: Arc<Shared<O>>,
    /// It is one of those that run.
    counted: bool,
}

impl<O> Lane<O> {
    /// Counts the lane out, while whoever decided that still has the lock.
    fn leave(&mut self, state: &mut State) {
        if std::mem::take(&mut self.counted) {
            state.running = state.running.saturating_sub(1);
        }
    }
}

impl<O> Drop for Lane<O> {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        self.leave(&mut state);
        shared.wake_reader(&mut state);
        shared.room.notify_waiters();
    }
}

impl<O: Origin> Lane<O> {
    async fn run(&mut self, mut first: Option<First<O::Body>>) {
        loop {
            let (start, answer) = match first.take() {
                Some((start, ranged, answer)) => (start, Some((ranged, answer))),
                None => match self.next().await {
                    Some(start) => (start, None),
                    None => return,
                },
            };
            if !self.fetch(start, answer).await {
                return;
            }
        }
    }

    /// Waits for a piece; `None` if there is no use for this lane any more.
    async fn next(&mut self) -> Option<u64> {
        let shared = Arc::clone(&self.shared);
        loop {
            let mut room = pin!(shared.room.notified());
            room.as_mut().enable();
            {
                let mut state = shared.lock();
                if state.error.is_some() || state.running > state.pace.lanes() {
                    self.leave(&mut state);
                    return None;
                }
                let single = state.pace.lanes() == 1 && state.pace.is_settled();
                if let Some(span) = state.window.take(if single { u64::MAX } else { shared.plan.split.piece })
                {
                    return Some(span.start);
                }
                if state.window.is_all_taken() {
                    self.leave(&mut state);
                    return None;
                }
                state.lanes_wait = true;
            }
            held(&shared, room).await;
        }
    }

    /// Gets a piece, whatever happens on the way; false if the lane is to end.
    async fn fetch(&mut self, start: u64, answer: Option<(bool, Answer<O::Body>)>) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut answer = answer;
        loop {
            let Err(failure) = self.attempt(start, answer.take()).await else { return true };
            let pause = {
                let mut state = shared.lock();
                match state.window.missing(start) {
                    Some(missing) if missing.start < missing.end => {}
                    // All is there; what failed was to see its end.
                    Some(_) => {
                        state.window.finish(start);
                        shared.wake_reader(&mut state);
                        return true;
                    }
                    None => return true,
                }
                if state.running > 1 && !state.window.is_front(start) {
                    // One lane too many for this origin, perhaps. The others take the rest of the piece.
                    tracing::debug!(error = %failure.error, fault = %failure.error.fault, "a lane gives up");
                    state.window.give_back(start);
                    let lanes = state.pace.lanes().min(state.running - 1);
                    state.pace.settle(lanes);
                    self.leave(&mut state);
                    shared.room.notify_waiters();
                    return false;
                }
                if failure.is_senseless() && !state.whole {
                    // It cannot give parts, but perhaps everything.
                    state.whole = true;
                    Duration::ZERO
                } else if let Some(pause) = state.budget.pause(&failure) {
                    pause
                } else if shared.origin.elsewhere(&failure) {
                    state.budget = Budget::at_place(&shared.plan.retries, shared.origin.is_last());
                    (state.etag, state.whole) = (None, false);
                    Duration::ZERO
                } else {
                    state.error = Some(failure.error);
                    shared.wake_reader(&mut state);
                    shared.room.notify_waiters();
                    return false;
                }
            };
            tracing::debug!(error = %failure.error, fault = %failure.error.fault, ?pause, "going on after a fault");
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks for what is missing of a piece until it is there or something fails.
    async fn attempt(&self, start: u64, answer: Option<(bool, Answer<O::Body>)>) -> Result<(), Failure> {
        let shared = &self.shared;
        let size = shared.plan.size;
        let mut given = answer;
        loop {
            let (missing, whole, etag) = {
                let mut state = shared.lock();
                let Some(missing) = state.window.missing(start) else { return Ok(()) };
                (missing, state.whole, state.etag.clone())
            };
            let (ranged, answer) = match given.take() {
                Some(given) => given,
                None => {
                    let last = (missing.end < size).then(|| missing.end.saturating_sub(1));
                    let all = whole || (missing.start == 0 && last.is_none());
                    let range = (!all).then_some((missing.start, last));
                    (range.is_some(), shared.origin.get(range, etag.as_deref()).await?)
                }
            };
            let (body, part_end, total, skip) = match answer {
                Answer::Beyond { total } => {
                    if total.is_some_and(|total| total > missing.start) {
                        return Err(shared.origin.senseless("it refuses a part of the blob that it has"));
                    }
                    // So it is shorter than its descriptor says, which whoever checks the blob will find.
                    shared.lock().window.end_at(start);
                    return Ok(());
                }
                Answer::Part { body, end, total, .. } => {
                    if total.is_some_and(|total| total != size) || end <= missing.start || end > missing.end {
                        return Err(shared
                            .origin
                            .senseless("it gives a part of another blob than was asked for"));
                    }
                    (body, Some(end), total, 0)
                }
                Answer::Whole { body, total, etag: now } => {
                    if ranged && etag.is_some() && now != etag {
                        // Another copy, on another machine perhaps. The digest will tell whether it is the same blob.
                        shared.lock().etag = None;
                        if missing.start > SKIP_MAX {
                            continue;
                        }
                    }
                    if !self.alone(start) {
                        return Ok(());
                    }
                    (body, None, total, missing.start)
                }
            };
            let told = total == Some(size) || part_end.is_some();
            let got = self.receive(start, body, part_end, skip, told).await?;
            match got {
                Received::All => return Ok(()),
                Received::Part(count) if count >= PART_MIN => {}
                Received::Part(_) => return Err(shared.origin.early()),
            }
        }
    }

    /// Makes this the only lane, since everything comes over it; false if it works on another piece than the reader
    /// waits for, which is then left to that lane.
    fn alone(&self, start: u64) -> bool {
        let mut state = self.shared.lock();
        state.pace.settle(1);
        let front = state.window.is_front(start);
        if front {
            state.window.take_all_behind(start);
        } else {
            state.window.give_back(start);
        }
        self.shared.room.notify_waiters();
        front
    }

    /// Takes in a body: without its first `skip` bytes, and not beyond `part_end`. `told` means that the origin has
    /// said how much comes, so that nobody need wait for the end of it.
    async fn receive(
        &self,
        start: u64,
        mut body: O::Body,
        part_end: Option<u64>,
        mut skip: u64,
        told: bool,
    ) -> Result<Received, Failure> {
        let mut count = 0;
        while let Some(mut bytes) = body.piece().await? {
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes.advance(skipped);
            skip = skip.saturating_sub(skipped as u64);
            if bytes.is_empty() {
                continue;
            }
            count += bytes.len() as u64;
            let Some(missing) = self.push(start, bytes, part_end).await else { return Ok(Received::All) };
            if missing.start >= missing.end && (told || missing.start > missing.end) {
                break;
            }
            if part_end.is_some_and(|end| missing.start >= end) {
                break;
            }
        }
        let mut state = self.shared.lock();
        let Some(missing) = state.window.missing(start) else { return Ok(Received::All) };
        if missing.start < missing.end {
            return Ok(Received::Part(if part_end == Some(missing.start) { count } else { 0 }));
        }
        state.window.finish(start);
        self.shared.wake_reader(&mut state);
        Ok(Received::All)
    }

    /// Puts bytes into the window once there is room; returns what is missing of the piece then, or `None` if the
    /// piece is no longer wanted.
    async fn push(&self, start: u64, mut bytes: Bytes, part_end: Option<u64>) -> Option<Span> {
        let shared = &self.shared;
        loop {
            let mut room = pin!(shared.room.notified());
            room.as_mut().enable();
            {
                let mut state = shared.lock();
                let missing = state.window.missing(start)?;
                if !state.window.is_beyond(missing.start) {
                    if let Some(end) = part_end {
                        let left = end.saturating_sub(missing.start);
                        bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    }
                    let count = bytes.len() as u64;
                    if state.window.push(start, bytes) == Pushed::Gone {
                        return None;
                    }
                    if state.window.is_front(start) {
                        shared.wake_reader(&mut state);
                    }
                    let widen = self.account(&mut state, count);
                    let missing = state.window.missing(start);
                    drop(state);
                    if widen {
                        spawn(shared, None);
                    }
                    return missing;
                }
                state.lanes_wait = true;
            }
            held(shared, room).await;
        }
    }

    /// Notes that bytes came, for the budget and for the number of lanes; true if there is to be one more.
    fn account(&self, state: &mut State, count: u64) -> bool {
        let shared = &self.shared;
        state.progress = state.progress.saturating_add(count);
        if state.progress >= PROGRESS {
            state.progress = 0;
            state.budget.renew();
        }
        let received = &shared.plan.traffic.received;
        let total = received.fetch_add(count, Ordering::Relaxed).saturating_add(count);
        match state.pace.received(count, Instant::now(), total) {
            Verdict::Go => false,
            Verdict::Narrow => {
                shared.room.notify_waiters();
                false
            }
            Verdict::Widen => {
                if state.permit.is_none() {
                    state.permit = Arc::clone(&shared.plan.traffic.splitting).try_acquire_owned().ok();
                }
                if state.permit.is_none() || state.window.is_all_taken() {
                    let lanes = state.running;
                    state.pace.settle(lanes);
                    return false;
                }
                state.window.widen(shared.plan.split.window);
                true
            }
        }
    }
}

/// What a body brought.
enum Received {
    /// All that was missing of the piece.
    All,
    /// So many bytes, as it had said, but less than was asked for; 0 if it broke off.
    Part(u64),
}

/// Waits until there may be room; that counts as waiting for the reader.
async fn held<O>(shared: &Shared<O>, room: impl Future<Output = ()>) {
    let since = Instant::now();
    room.await;
    shared.lock().pace.held(since.elapsed());
}
