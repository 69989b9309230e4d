//! Files and directories: opening them without leaving the repository, and what survives a crash.
//!
//! For callers there are [`outside`] and [`folder`]; the rest is the repository's own business.
//!
//! `publish` and `barrier` alone link, rename and sync, so the promise each makes after a power cut is
//! written there and nowhere else.

pub(crate) mod beneath;
pub(crate) mod barrier;
pub(crate) mod publish;
pub(crate) mod verity;
pub(crate) mod lock;
pub mod outside;
pub mod folder;

#[cfg(test)]
pub(crate) mod trace {
    //! What reached the disk in which order, for tests of the commit order.

    use std::cell::RefCell;

    thread_local! {
        static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// Notes one step of this thread.
    pub(crate) fn note(what: impl Into<String>) {
        LOG.with(|log| log.borrow_mut().push(what.into()));
    }

    /// Takes the steps noted so far by this thread.
    pub(crate) fn take() -> Vec<String> {
        LOG.with(|log| log.take())
    }
}
