//! The same work on many things, several at once.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use crate::error::Result;

/// Calls `work` with each of `list` on up to `threads` threads, of which the caller's is one.
///
/// # Errors
/// The first that `work` gives; what was begun is finished then, and nothing else is begun. Where no thread can be
/// started, there are fewer.
pub fn each<T: Sync>(list: &[T], threads: usize, work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let outcome = Mutex::new(Ok(()));
    let run = || {
        while let Some(one) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(one) {
                // Past the end: the others take no more.
                next.store(list.len(), Ordering::Relaxed);
                let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                if outcome.is_ok() {
                    *outcome = Err(error);
                }
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(list.len()) {
            if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, run) {
                tracing::debug!(%error, "going on with fewer threads");
                break;
            }
        }
        run();
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Returns how many threads the processors can use.
#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::error::{Category, Error};

    fn failure() -> Error {
        Error::NotFound { category: Category::Streams, name: "x".to_owned() }
    }

    #[test]
    fn each_once() {
        let list: Vec<u64> = (1..=1000).collect();
        for threads in [0, 1, 3, 2000] {
            let sum = AtomicU64::new(0);
            each(&list, threads, |one| {
                sum.fetch_add(*one, Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
            assert_eq!(sum.into_inner(), 500_500);
        }
        each(&[0; 0], 4, |_| Err(failure())).unwrap();
    }

    #[test]
    fn an_error_ends_it() {
        let list: Vec<u64> = (0..100_000).collect();
        let count = AtomicU64::new(0);
        let result = each(&list, 2, |_| match count.fetch_add(1, Ordering::Relaxed) {
            5 => Err(failure()),
            _ => Ok(()),
        });
        assert!(matches!(result, Err(Error::NotFound { .. })));
        assert!(count.into_inner() < 100_000);
    }
}
