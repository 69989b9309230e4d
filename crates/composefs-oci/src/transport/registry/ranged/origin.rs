//! Where a blob comes from, as a transfer sees it: asked for a range, it answers with that or with everything.

use std::{future::Future, sync::Arc};

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

/// A blob of a registry, or one outside that a descriptor names.
pub(in super::super) struct BlobOrigin {
    client: Arc<Client>,
    digest: Digest,
    asked: Asked,
    foreign: Option<Url>,
}

impl BlobOrigin {
    /// Makes the origin of a blob; `foreign` is its address outside of the registry.
    pub(in super::super) fn new(client: Arc<Client>, digest: &Digest, foreign: Option<Url>) -> Self {
        Self { client, digest: digest.clone(), asked: Asked::Blob(digest.to_string()), foreign }
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
        let answer = match &self.foreign {
            None => self.client.blob(&self.digest, range, if_range).await?,
            Some(url) => self.client.foreign_blob(&self.digest, url, range, if_range).await?,
        };
        let body = |response, host| BlobBody {
            response,
            client: Arc::clone(&self.client),
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

    fn senseless(&self, reason: &str) -> Failure {
        self.client.senseless(&self.asked, reason)
    }

    fn early(&self) -> Failure {
        self.client.early(&self.asked)
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
