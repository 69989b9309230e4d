//! A blob that arrives whole though connections break, over several of them where that is faster.
//!
//! What comes in: an `Origin` that can be asked for a blob from any byte on. What goes out: a `Download`, which
//! plain threads read; every byte comes once and in order, so that whoever hashes never starts again. What was
//! delivered is never asked for again unless the origin cannot do otherwise. Nothing here checks a digest.
//!
//! A transfer is one or more *lanes*, each a task with a connection of its own, that fill the pieces of a bounded
//! `window` ahead of the reader; `pace` decides how many lanes are worth it.
//!
//! # Format
//! `docs/formats/transports.md`, section 2, retries and resume.

mod lane;
mod origin;
mod pace;
#[cfg(test)]
mod tests;
mod window;

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
};

use super::{
    fault::{Failure, RegistryError},
    retry::{Budget, RetryOptions},
};

pub(super) use origin::{BlobOrigin, Origin};

use pace::Pace;
use window::Window;

const MIB: u64 = 1 << 20;
/// How long a read waits before it is interrupted, for whoever has been asked to stop.
const PATIENCE: Duration = Duration::from_millis(200);
/// New bytes after which all tries are given back.
const PROGRESS: u64 = MIB;

/// When and how a blob is split over several connections.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SplitOptions {
    /// The most connections of one blob; 1: never split.
    pub lanes: usize,
    /// Smaller blobs come over one connection; in bytes.
    pub blob_min: u64,
    /// Bytes of a part.
    pub piece: u64,
    /// Bytes that may wait for the reader.
    pub window: u64,
    /// How much faster it must get by one more connection for that to stay, 1.2 say.
    pub gain: f64,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self { lanes: 4, blob_min: 32 * MIB, piece: 4 * MIB, window: 16 * MIB, gain: 1.2 }
    }
}

impl SplitOptions {
    /// Sets the most connections of one blob.
    #[must_use]
    pub const fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes;
        self
    }

    /// Sets from which size on blobs are split, and into parts of which, in bytes; four of them may wait for the reader.
    #[must_use]
    pub const fn sizes(mut self, blob_min: u64, piece: u64) -> Self {
        (self.blob_min, self.piece, self.window) = (blob_min, piece, piece.saturating_mul(4));
        self
    }
}

/// What the transfers from one registry share.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    /// Bytes of all of them: a lane that only takes from other blobs what it gives to its own is no gain.
    received: Arc<AtomicU64>,
    /// One blob at a time is split, so that memory has a bound.
    splitting: Arc<Semaphore>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { received: Arc::default(), splitting: Arc::new(Semaphore::new(1)) }
    }
}

/// How a blob is fetched.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The size its descriptor gives, in bytes.
    pub(super) size: u64,
    pub(super) retries: RetryOptions,
    pub(super) split: SplitOptions,
    pub(super) traffic: Traffic,
}

/// What the lanes and the reader of a transfer share.
struct Shared<O> {
    origin: O,
    plan: Plan,
    runtime: Handle,
    state: Mutex<State>,
    /// Something to read, or the end.
    readable: Condvar,
    /// Room in the window, or a piece to take.
    room: Notify,
}

struct State {
    window: Window,
    pace: Pace,
    budget: Budget,
    /// New bytes since the budget was renewed.
    progress: u64,
    /// What names this version of the blob, as the first answer said; none once it proved not to.
    etag: Option<String>,
    /// Ranges are ignored or answered wrongly: one connection, from the first byte.
    whole: bool,
    error: Option<RegistryError>,
    /// Lanes that run.
    running: usize,
    reader_waits: bool,
    /// Some lane waits for room.
    lanes_wait: bool,
    /// What was read when they were last woken.
    woken_at: u64,
    tasks: Vec<AbortHandle>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<O> Shared<O> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the lanes that wait for room.
    fn wake_lanes(&self, state: &mut State) {
        if std::mem::take(&mut state.lanes_wait) {
            state.woken_at = state.window.read_bytes();
            self.room.notify_waiters();
        }
    }

    /// Wakes the reader if it waits.
    fn wake_reader(&self, state: &mut State) {
        if std::mem::take(&mut state.reader_waits) {
            self.readable.notify_one();
        }
    }
}

/// Opens a blob; returns when it begins to come.
///
/// # Errors
/// [`Failure`] if it does not.
pub(super) async fn open<O: Origin>(runtime: &Handle, origin: O, plan: Plan) -> Result<Download<O>, Failure> {
    let splits = plan.split.lanes > 1 && plan.size >= plan.split.blob_min;
    // No more than a part ahead at first: then it shows whether it is the reader that is slow.
    let ahead = if splits { plan.split.piece.min(window::SINGLE) } else { window::SINGLE };
    let mut window = Window::new(plan.size, ahead);
    // One part to measure by, where there may be more than one connection.
    let first_end = if splits { plan.split.piece.saturating_mul(2) } else { plan.size };
    let first = window.take(first_end).unwrap_or_default();
    let mut budget = Budget::at_place(&plan.retries, origin.is_last());
    let range = (splits && first.end < plan.size).then(|| (0, Some(first.end.saturating_sub(1))));
    let mut whole = false;
    let answer = loop {
        match origin.get(range.filter(|_| !whole), None).await {
            Ok(answer) => break answer,
            Err(failure) if failure.is_senseless() && range.is_some() && !whole => whole = true,
            Err(failure) => {
                if let Err(failure) = budget.wait(failure).await {
                    if !origin.elsewhere(&failure) {
                        return Err(failure);
                    }
                    (budget, whole) = (Budget::at_place(&plan.retries, origin.is_last()), false);
                }
            }
        }
    };
    let pace = Pace::new(if splits { plan.split.lanes } else { 1 }, plan.split.piece, plan.split.gain);
    let state = State {
        window,
        pace,
        budget,
        progress: 0,
        etag: answer.etag().map(str::to_owned),
        whole,
        error: None,
        running: 0,
        reader_waits: false,
        lanes_wait: false,
        woken_at: 0,
        tasks: Vec::new(),
        permit: None,
    };
    let shared = Arc::new(Shared {
        origin,
        plan,
        runtime: runtime.clone(),
        state: Mutex::new(state),
        readable: Condvar::new(),
        room: Notify::new(),
    });
    lane::spawn(&shared, Some((first.start, range.is_some() && !whole, answer)));
    Ok(Download { shared, taken: VecDeque::new(), current: Bytes::new() })
}

/// A blob as it comes. Dropping it ends the transfer. While nothing comes, reading is
/// [interrupted](io::ErrorKind::Interrupted) from time to time; the next read goes on.
pub(super) struct Download<O> {
    shared: Arc<Shared<O>>,
    /// Taken out of the window, not read yet.
    taken: VecDeque<Bytes>,
    current: Bytes,
}

impl<O> fmt::Debug for Download<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download").finish_non_exhaustive()
    }
}

impl<O> Download<O> {
    /// Waits until there is something to read; false at the end.
    fn refill(&mut self) -> io::Result<bool> {
        let mut state = self.shared.lock();
        loop {
            if state.window.read(&mut self.taken) {
                if state.window.has_room_since(state.woken_at) {
                    self.shared.wake_lanes(&mut state);
                }
                return Ok(true);
            }
            self.shared.wake_lanes(&mut state);
            if let Some(error) = state.error.take() {
                // Whoever reads on in spite of it gets no further.
                for task in state.tasks.drain(..) {
                    task.abort();
                }
                return Err(io::Error::other(error));
            }
            if state.window.is_finished() {
                return Ok(false);
            }
            if state.running == 0 {
                return Err(io::Error::other("the transfer ended before the blob"));
            }
            state.reader_waits = true;
            let waited =
                self.shared.readable.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner);
            if waited.1.timed_out() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            state = waited.0;
        }
    }
}

impl<O> Read for Download<O> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.taken.pop_front() {
                Some(next) => self.current = next,
                None if buffer.is_empty() || !self.refill()? => return Ok(0),
                None => {}
            }
        }
        let piece = self.current.split_to(self.current.len().min(buffer.len()));
        if let Some(to) = buffer.get_mut(..piece.len()) {
            to.copy_from_slice(&piece);
        }
        Ok(piece.len())
    }
}

impl<O> Drop for Download<O> {
    fn drop(&mut self) {
        for task in self.shared.lock().tasks.drain(..) {
            task.abort();
        }
    }
}
