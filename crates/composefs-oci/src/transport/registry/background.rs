//! The thread on which a registry is talked to.

use std::{fmt, future::Future};

use tokio::runtime::{Handle, Runtime};

use crate::error::{Error, Step};

/// A runtime with one thread. It ends in the background, so it may be dropped where another runtime runs.
pub(super) struct Background(Option<Runtime>);

impl Background {
    /// Starts the thread; `who` is for the error's text.
    ///
    /// # Errors
    /// [`Error::Source`] if it does not start.
    pub(super) fn start(who: impl fmt::Display) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(|source| Error::source(Step::Spawn, who, source))?;
        Ok(Self(Some(runtime)))
    }

    /// Returns what tasks are spawned with.
    ///
    /// # Errors
    /// [`Error::Connections`], never before the drop.
    pub(super) fn handle(&self) -> Result<&Handle, Error> {
        self.0.as_ref().map(Runtime::handle).ok_or_else(|| Error::Connections("closed".to_owned()))
    }

    /// Runs something asynchronous to its end on the caller's thread.
    ///
    /// # Errors
    /// What `work` gives.
    pub(super) fn block_on<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Error>
    where
        Error: From<E>,
    {
        Ok(self.handle()?.block_on(work)?)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
