//! Storing many objects: plain threads behind a bounded queue of batches.
//!
//! In: batches of small files that share a buffer, each file with its digest. Out: objects. Memory is the
//! queue's: producers wait while it is full, and buffers go round. One pool serves all layers of a pull, each
//! of which has a [`Lane`] with its own count and its own error.

use std::{
    collections::VecDeque,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use super::{Writer, fan_out};
use crate::{
    digest::ObjectId,
    error::{Error, Result, Step},
};

/// A batch should have at most so many files …
pub const BATCH_FILES: usize = 64;
/// … and about so many bytes; one file may have up to 1 MiB.
pub const BATCH_BYTES: usize = 128 * 1024;

/// So many batches may wait at the most, however many threads store them: a bound on memory, not on speed.
pub const QUEUE_MAX: usize = 32;
/// … and so many bytes: batches are as large as the files in them.
const QUEUE_BYTES: usize = 8 << 20;

/// Files that share a buffer.
#[derive(Debug, Default)]
pub struct Batch {
    /// Their contents.
    pub buffer: Vec<u8>,
    /// Each file's digest and where it is in the buffer.
    pub items: Vec<(ObjectId, Range<usize>)>,
}

impl Batch {
    /// Tells whether the batch should be submitted before more is put into it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.items.len() >= BATCH_FILES || self.buffer.len() >= BATCH_BYTES
    }

    /// Tells whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.items.clear();
        // A batch that held one large file should not hold its memory for ever.
        self.buffer.shrink_to(BATCH_BYTES.saturating_mul(2));
    }
}

/// How many objects and bytes were stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IngestStats {
    /// Objects that were not there before.
    pub new: u64,
    /// Objects that were.
    pub present: u64,
    /// Bytes of the new ones.
    pub new_bytes: u64,
    /// Bytes of those that were present.
    pub present_bytes: u64,
    /// Those of the new ones that share the blocks of files that were there.
    pub shared: u64,
    /// Bytes of these.
    pub shared_bytes: u64,
}

impl IngestStats {
    /// Counts one object.
    pub const fn count(&mut self, size: u64, new: bool) {
        let (objects, bytes) = if new {
            (&mut self.new, &mut self.new_bytes)
        } else {
            (&mut self.present, &mut self.present_bytes)
        };
        *objects = objects.saturating_add(1);
        *bytes = bytes.saturating_add(size);
    }

    /// Counts one object that shares a file's blocks, if it is new.
    pub const fn count_shared(&mut self, size: u64, new: bool) {
        self.count(size, new);
        if new {
            self.shared = self.shared.saturating_add(1);
            self.shared_bytes = self.shared_bytes.saturating_add(size);
        }
    }

    /// Adds another count.
    pub const fn add(&mut self, other: &Self) {
        self.new = self.new.saturating_add(other.new);
        self.present = self.present.saturating_add(other.present);
        self.new_bytes = self.new_bytes.saturating_add(other.new_bytes);
        self.present_bytes = self.present_bytes.saturating_add(other.present_bytes);
        self.shared = self.shared.saturating_add(other.shared);
        self.shared_bytes = self.shared_bytes.saturating_add(other.shared_bytes);
    }
}

/// How a pool works.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PoolOptions {
    /// How many threads store objects; at least one.
    pub threads: usize,
    /// How many batches may wait for each thread; [`QUEUE_MAX`] together.
    pub queue_per_thread: usize,
}

impl Default for PoolOptions {
    fn default() -> Self {
        let threads = fan_out::processors();
        Self { threads, queue_per_thread: 4 }
    }
}

impl PoolOptions {
    /// Sets the number of threads.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets how many batches may wait for each thread.
    #[must_use]
    pub const fn queue_per_thread(mut self, batches: usize) -> Self {
        self.queue_per_thread = batches;
        self
    }
}

/// Threads that store objects. Dropped without [`StorePool::finish`], they stop after the batch at hand.
#[derive(Debug)]
pub struct StorePool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    writer: Writer,
    capacity: usize,
    queue: Mutex<Queue>,
    /// Something was queued, or no more will be.
    filled: Condvar,
    /// Something was taken from the queue.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<(Batch, Arc<LaneState>)>,
    /// Bytes in them.
    bytes: usize,
    /// Who waits for room. Without them nobody is woken: each time is a system call.
    waiting: usize,
    spare: Vec<Batch>,
    closed: bool,
    total: IngestStats,
}

#[derive(Debug, Default)]
struct LaneState {
    work: Mutex<LaneWork>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct LaneWork {
    /// Batches submitted and not yet stored.
    pending: usize,
    stats: IngestStats,
    error: Option<Error>,
    failed: bool,
}

impl LaneState {
    fn has_failed(&self) -> bool {
        lock(&self.work).failed
    }

    /// Counts a batch as done; `None` if it was not stored and nobody knows why.
    fn settle(&self, outcome: Option<Result<()>>, stats: IngestStats) {
        let mut work = lock(&self.work);
        work.stats.add(&stats);
        work.pending = work.pending.saturating_sub(1);
        match outcome {
            Some(Ok(())) => {}
            Some(Err(error)) if !work.failed => {
                work.failed = true;
                work.error = Some(error);
            }
            _ => work.failed = true,
        }
        let settled = work.pending == 0 || work.failed;
        drop(work);
        if settled {
            self.done.notify_all();
        }
    }
}

/// Settles a batch when it is dropped, whatever happened.
struct Settle<'a> {
    lane: &'a LaneState,
    outcome: Option<Result<()>>,
    stats: IngestStats,
}

impl Drop for Settle<'_> {
    fn drop(&mut self) {
        self.lane.settle(self.outcome.take(), self.stats);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StorePool {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`Error::Io`] if not one thread can be started.
    pub fn new(writer: &Writer, options: PoolOptions) -> Result<Self> {
        let count = options.threads.max(1);
        let shared = Arc::new(Shared {
            writer: writer.clone(),
            capacity: count.saturating_mul(options.queue_per_thread.max(1)).min(QUEUE_MAX),
            queue: Mutex::default(),
            filled: Condvar::new(),
            drained: Condvar::new(),
        });
        let mut threads = Vec::new();
        for _ in 0..count {
            let worker = Arc::clone(&shared);
            let name = "store".to_owned();
            match std::thread::Builder::new().name(name).spawn(move || worker.run()) {
                Ok(thread) => threads.push(thread),
                Err(error) if threads.is_empty() => {
                    return Err(Error::io(Step::StartThread, writer.path())(error));
                }
                Err(error) => {
                    tracing::debug!(%error, threads = threads.len(), "going on with fewer threads");
                    break;
                }
            }
        }
        Ok(Self { shared, threads })
    }

    /// Returns the writer that stores.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.shared.writer
    }

    /// Returns an empty batch, with the memory of one that was stored if there is any.
    #[must_use]
    pub fn batch(&self) -> Batch {
        lock(&self.shared.queue).spare.pop().unwrap_or_default()
    }

    /// Starts a series of batches with a count and an error of their own: a layer.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane { shared: Arc::clone(&self.shared), state: Arc::default() }
    }

    /// Waits for everything submitted and returns the count over all lanes.
    ///
    /// Errors are those lanes' that submitted the batches; finish each lane to see them.
    #[must_use]
    pub fn finish(mut self) -> IngestStats {
        self.stop(false);
        lock(&self.shared.queue).total
    }

    fn stop(&mut self, discard: bool) {
        {
            let mut queue = lock(&self.shared.queue);
            queue.closed = true;
            if discard {
                queue.bytes = 0;
                for (_, lane) in queue.batches.drain(..) {
                    lane.settle(None, IngestStats::default());
                }
            }
        }
        self.shared.filled.notify_all();
        self.shared.drained.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; its lane's batch stays pending and is reported there.
            let _ = thread.join();
        }
    }
}

impl Drop for StorePool {
    fn drop(&mut self) {
        self.stop(true);
    }
}

impl Shared {
    fn run(&self) {
        while let Some((mut batch, lane)) = self.take() {
            let mut guard = Settle { lane: &lane, outcome: None, stats: IngestStats::default() };
            // After an error the rest of a lane is dropped: the layer will not be committed.
            let result = match lane.has_failed() {
                true => Ok(()),
                // Should storing panic, the lane fails, and the thread goes on: without it others would wait for ever.
                false => {
                    let store = AssertUnwindSafe(|| self.store(&batch, &mut guard.stats));
                    let Ok(result) = catch_unwind(store) else { continue };
                    result
                }
            };
            batch.clear();
            {
                let mut queue = lock(&self.queue);
                queue.total.add(&guard.stats);
                if queue.spare.len() < self.capacity {
                    queue.spare.push(batch);
                }
            }
            guard.outcome = Some(result);
        }
    }

    /// Tells whether a batch of so many bytes must wait; an empty queue takes any.
    fn is_full(&self, queue: &Queue, bytes: usize) -> bool {
        let full = queue.batches.len() >= self.capacity || queue.bytes.saturating_add(bytes) > QUEUE_BYTES;
        full && !queue.batches.is_empty()
    }

    fn take(&self) -> Option<(Batch, Arc<LaneState>)> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(work) = queue.batches.pop_front() {
                queue.bytes = queue.bytes.saturating_sub(work.0.buffer.len());
                let waiting = queue.waiting > 0;
                drop(queue);
                // All of them: what is too large for one that waits may do for another.
                if waiting {
                    self.drained.notify_all();
                }
                return Some(work);
            }
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn store(&self, batch: &Batch, stats: &mut IngestStats) -> Result<()> {
        for (id, range) in &batch.items {
            #[cfg(test)]
            assert_ne!(batch.buffer.get(range.clone()), Some(&b"panic"[..]), "as the test asks for");
            let contents = batch.buffer.get(range.clone()).ok_or_else(|| {
                let error =
                    std::io::Error::new(std::io::ErrorKind::InvalidInput, "batch names bytes it has not");
                self.writer.object_error(Step::Write, id, error)
            })?;
            let stored = self.writer.store_prepared(*id, contents)?;
            stats.count(stored.size, stored.new);
        }
        Ok(())
    }
}

/// A series of batches with a count and an error of their own.
#[derive(Debug)]
pub struct Lane {
    shared: Arc<Shared>,
    state: Arc<LaneState>,
}

impl Lane {
    /// Queues a batch, waiting while the queue is full.
    ///
    /// # Errors
    /// What befell an earlier batch of this lane; the batch is dropped then.
    pub fn submit(&self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        {
            let mut work = lock(&self.state.work);
            if work.failed {
                return Err(self.take_error(&mut work));
            }
            work.pending = work.pending.saturating_add(1);
        }
        let bytes = batch.buffer.len();
        let mut queue = lock(&self.shared.queue);
        while !queue.closed && self.shared.is_full(&queue, bytes) {
            queue.waiting = queue.waiting.saturating_add(1);
            queue = self.shared.drained.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.waiting = queue.waiting.saturating_sub(1);
        }
        if queue.closed {
            drop(queue);
            let mut work = lock(&self.state.work);
            work.pending = work.pending.saturating_sub(1);
            work.failed = true;
            return Err(self.take_error(&mut work));
        }
        queue.bytes = queue.bytes.saturating_add(bytes);
        queue.batches.push_back((batch, Arc::clone(&self.state)));
        drop(queue);
        self.shared.filled.notify_one();
        Ok(())
    }

    /// Returns an empty batch; see [`StorePool::batch`].
    #[must_use]
    pub fn batch(&self) -> Batch {
        lock(&self.shared.queue).spare.pop().unwrap_or_default()
    }

    /// Counts an object stored without the pool, a large one, with this lane.
    pub fn count(&self, size: u64, new: bool) {
        lock(&self.state.work).stats.count(size, new);
        lock(&self.shared.queue).total.count(size, new);
    }

    /// Counts an object stored without the pool that shares a file's blocks.
    pub fn count_shared(&self, size: u64, new: bool) {
        lock(&self.state.work).stats.count_shared(size, new);
        lock(&self.shared.queue).total.count_shared(size, new);
    }

    /// Waits until everything submitted through this lane is stored.
    ///
    /// # Errors
    /// What befell the first batch that failed.
    pub fn finish(self) -> Result<IngestStats> {
        let mut work = lock(&self.state.work);
        while work.pending > 0 && !work.failed {
            work = self.state.done.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
        if work.failed {
            return Err(self.take_error(&mut work));
        }
        Ok(work.stats)
    }

    fn take_error(&self, work: &mut LaneWork) -> Error {
        work.error.take().unwrap_or_else(|| {
            let error = std::io::Error::other("an earlier object of this series was not stored");
            Error::Io { step: Step::Write, path: self.shared.writer.path().to_owned(), source: error }
        })
    }
}

#[cfg(test)]
mod tests;
