//! What can be made to go wrong, and for which requests.

use std::time::Duration;

use super::http::Request;

/// One way to misbehave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is closed after this many bytes of the body, whatever the header promised.
    CutAfter(u64),
    /// The body ends after this many bytes, and the header says so: a short answer that looks whole.
    Truncate(u64),
    /// This status, with a body of one OCI error of this code; headers as `(name, value)`.
    Status(u16, &'static str, Vec<(String, String)>),
    /// A redirect to this address.
    Redirect(String),
    /// `Range` is ignored: 200 and everything.
    IgnoreRange,
    /// 206, but `Content-Range` says that it starts this many bytes later than it does.
    ShiftContentRange(u64),
    /// 206, but from a start so many bytes later than asked; `Content-Range` tells that truly.
    StartLater(u64),
    /// 206, but `Content-Range` gives a total larger by so much.
    ShiftTotal(u64),
    /// 206 without `Content-Range`.
    NoContentRange,
    /// 206 for no more than so many bytes of what was asked; `Content-Range` tells that truly.
    ShortRange(u64),
    /// The byte at this offset of the whole document or blob is flipped.
    FlipByte(u64),
    /// After so many bytes of the body nothing more comes, for this time or until released or dropped.
    Stall(u64, Option<Duration>),
    /// `Content-Length` is larger by so much than the body, after which the connection is closed.
    LongLength(u64),
    /// After the body blanks follow for ever (cut at 256 MiB), in chunks, so without a length.
    Endless,
    /// The validator is this, and `If-Range` is compared with it.
    Etag(String),
    /// The header of this name (lower case) is this.
    Header(String, String),
    /// The connection is closed without an answer.
    Close,
    /// No answer comes, until released or dropped; then the connection is closed.
    Silence,
    /// These bytes instead of an answer; then the connection is closed.
    Raw(Vec<u8>),
}

impl Fault {
    /// A status with `Retry-After`, in the form of the caller's choice.
    #[must_use]
    pub fn busy(status: u16, retry_after: &str) -> Self {
        Self::Status(status, "TOOMANYREQUESTS", vec![("Retry-After".to_owned(), retry_after.to_owned())])
    }

    /// A status with an error code and nothing else.
    #[must_use]
    pub const fn status(status: u16, code: &'static str) -> Self {
        Self::Status(status, code, Vec::new())
    }
}

/// A fault and the requests it hits: by default every one whose path contains the pattern, for ever.
#[derive(Clone, Debug)]
pub struct Rule {
    path: String,
    method: Option<&'static str>,
    after: usize,
    times: Option<usize>,
    ranged: Option<bool>,
    fault: Fault,
}

impl Rule {
    /// Makes a rule for paths that contain `path`: `/blobs/`, `/manifests/latest`, `/token`, a digest; storage paths
    /// begin with `/storage/`. The empty string is in every path.
    #[must_use]
    pub fn new(path: &str, fault: Fault) -> Self {
        Self { path: path.to_owned(), method: None, after: 0, times: None, ranged: None, fault }
    }

    /// Hits only requests of this method.
    #[must_use]
    pub const fn method(mut self, method: &'static str) -> Self {
        self.method = Some(method);
        self
    }

    /// Lets so many matching requests through first.
    #[must_use]
    pub const fn after(mut self, requests: usize) -> Self {
        self.after = requests;
        self
    }

    /// Hits only so many requests.
    #[must_use]
    pub const fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// Hits only requests with a `Range`, or only those without.
    #[must_use]
    pub const fn ranged(mut self, ranged: bool) -> Self {
        self.ranged = Some(ranged);
        self
    }

    /// Returns the fault if this request is hit, and counts it.
    pub(super) fn take(&mut self, request: &Request) -> Option<Fault> {
        let hit = request.target.contains(&self.path)
            && self.method.is_none_or(|method| method == request.method)
            && self.ranged.is_none_or(|ranged| ranged == request.header("range").is_some());
        if !hit || self.times == Some(0) {
            return None;
        }
        if self.after > 0 {
            self.after -= 1;
            return None;
        }
        self.times = self.times.map(|times| times - 1);
        Some(self.fault.clone())
    }
}
