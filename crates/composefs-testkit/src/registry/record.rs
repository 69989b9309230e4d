//! What was asked, for tests to look at.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU16, AtomicU64, Ordering},
};

use super::{http::Request, lock};

/// Which listener a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The registry.
    Registry,
    /// The storage that blobs may be redirected to.
    Storage,
    /// The token service, where it is not the registry's own.
    Tokens,
}

/// A request and what became of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Recorded {
    /// Where it came to.
    pub place: Place,
    /// The connection, counted from 1 over all listeners.
    pub connection: u64,
    /// `GET` say.
    pub method: String,
    /// Path and query as they came.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The status of the answer; 0 while there is none.
    pub status: u16,
    /// Bytes of the answer's body that went out, without framing.
    pub sent: u64,
}

impl Recorded {
    /// Returns the first header of that name, which is given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }
}

/// A request in the log, and the counters that its answer moves.
#[derive(Debug)]
pub(super) struct Entry {
    request: Recorded,
    pub(super) status: AtomicU16,
    pub(super) sent: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Vec<Arc<Entry>>>);

impl Log {
    pub(super) fn add(&self, place: Place, connection: u64, request: &Request) -> Arc<Entry> {
        let request = Recorded {
            place,
            connection,
            method: request.method.clone(),
            path: request.target.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
            status: 0,
            sent: 0,
        };
        let entry = Arc::new(Entry { request, status: AtomicU16::new(0), sent: AtomicU64::new(0) });
        lock(&self.0).push(Arc::clone(&entry));
        entry
    }

    pub(super) fn all(&self) -> Vec<Recorded> {
        let now = |entry: &Arc<Entry>| Recorded {
            status: entry.status.load(Ordering::SeqCst),
            sent: entry.sent.load(Ordering::SeqCst),
            ..entry.request.clone()
        };
        lock(&self.0).iter().map(now).collect()
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }
}
