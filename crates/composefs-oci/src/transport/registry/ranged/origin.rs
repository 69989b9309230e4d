//! Where a blob comes from, as a transfer sees it: asked for a range, it answers with that or with everything.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use reqwest::{Response, Url};

use crate::digest::Digest;

use super::super::{
    client::{self, ByteRange, Client},
    fault::{Asked, Failure},
};

/// What came of asking for a blob or a part of it.
pub(in super::super) enum Answer<B> {
    /// Everything from the first byte, whatever was asked for.
    Whole { body: B, total: Option<u64>, etag: Option<String> },
    /// From the byte that was asked for up to `end`, which is the one behind the last.
    Part { body: B, end: u64, total: Option<u64>, etag: Option<String> },
    /// The first byte asked for is behind the end.
    Beyond { total: Option<u64> },
}

impl<B> Answer<B> {
    pub(super) fn etag(&self) -> Option<&str> {
        match self {
            Self::Whole { etag, .. } | Self::Part { etag, .. } => etag.as_deref(),
            Self::Beyond { .. } => None,
        }
    }
}

/// A blob that can be asked for.
pub(in super::super) trait Origin: Send + Sync + 'static {
    /// How its bytes arrive.
    type Body: Body;

    /// Asks for all of it, or for a range of which the last byte may be open; `if_range` is what names the version
    /// of which the other parts are.
    fn get(
        &self,
        range: Option<ByteRange>,
        if_range: Option<&str>,
    ) -> impl Future<Output = Result<Answer<Self::Body>, Failure>> + Send;

    /// Tells whether this is the last place to ask, which is asked more patiently than one that others stand behind.
    fn is_last(&self) -> bool {
        true
    }

    /// Turns from a place that failed like this to the next one; false if there is none.
    fn elsewhere(&self, _failure: &Failure) -> bool {
        false
    }

    /// Returns the failure of an answer that makes no sense.
    fn senseless(&self, reason: &str) -> Failure;

    /// Returns the failure of a body that ended before it should.
    fn early(&self) -> Failure;
}

/// Bytes that arrive.
pub(in super::super) trait Body: Send + 'static {
    /// Returns the next ones; `None` at the end.
    fn piece(&mut self) -> impl Future<Output = Result<Option<Bytes>, Failure>> + Send;
}

/// A blob that several places may have.
pub(in super::super) struct BlobOrigin {
    first: Arc<Client>,
    behind: Vec<Arc<Client>>,
    /// The one that is asked; 0 is the first.
    at: AtomicUsize,
    digest: Digest,
    asked: Asked,
    foreign: Option<Url>,
}

impl BlobOrigin {
    /// Makes the origin of a blob: `client`, and after it what stands behind it.
    pub(in super::super) fn new(client: Arc<Client>, behind: Vec<Arc<Client>>, digest: &Digest) -> Self {
        let asked = Asked::Blob(digest.to_string());
        Self { first: client, behind, at: AtomicUsize::new(0), digest: digest.clone(), asked, foreign: None }
    }

    /// Makes the origin of a blob at an address outside of the registry.
    pub(in super::super) fn foreign(client: Arc<Client>, digest: &Digest, url: Url) -> Self {
        Self { foreign: Some(url), ..Self::new(client, Vec::new(), digest) }
    }

    fn client(&self) -> &Arc<Client> {
        let behind = self.at.load(Ordering::Relaxed).checked_sub(1);
        behind.and_then(|at| self.behind.get(at)).unwrap_or(&self.first)
    }
}

/// The body of an answer of a registry.
pub(in super::super) struct BlobBody {
    response: Response,
    client: Arc<Client>,
    asked: Asked,
    host: String,
}

impl Origin for BlobOrigin {
    type Body = BlobBody;

    async fn get(
        &self,
        range: Option<ByteRange>,
        if_range: Option<&str>,
    ) -> Result<Answer<BlobBody>, Failure> {
        let client = self.client();
        let answer = match &self.foreign {
            None => client.blob(&self.digest, range, if_range).await?,
            Some(url) => client.foreign_blob(&self.digest, url, range, if_range).await?,
        };
        let body = |response, host| BlobBody {
            response,
            client: Arc::clone(client),
            asked: self.asked.clone(),
            host,
        };
        Ok(match answer {
            client::Answer::Whole { response, total, etag, host } => {
                Answer::Whole { body: body(response, host), total, etag }
            }
            client::Answer::Part { response, end, total, etag, host, .. } => {
                Answer::Part { body: body(response, host), end: end.saturating_add(1), total, etag }
            }
            client::Answer::Unsatisfiable { total } => Answer::Beyond { total },
        })
    }

    fn is_last(&self) -> bool {
        self.at.load(Ordering::Relaxed) >= self.behind.len()
    }

    fn elsewhere(&self, failure: &Failure) -> bool {
        // Another connection to the place that failed may have said so before.
        if self.client().name() != failure.error.name {
            return true;
        }
        if self.is_last() {
            return false;
        }
        tracing::debug!(fault = %failure.error.fault, place = self.client().name(), "the rest from elsewhere");
        self.at.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn senseless(&self, reason: &str) -> Failure {
        self.client().senseless(&self.asked, reason)
    }

    fn early(&self) -> Failure {
        self.client().early(&self.asked)
    }
}

impl Body for BlobBody {
    async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        self.response
            .chunk()
            .await
            .map_err(|error| self.client.subject(&self.asked, &self.host).broken(error))
    }
}
