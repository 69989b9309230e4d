//! Manifests and other documents out of a registry.
//!
//! # Format
//! `docs/formats/transports.md`, section 2.

use reqwest::{
    Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue},
};

use crate::{
    digest::Digest,
    error::Error,
    model::{MANIFEST_MAX, media_type},
    transport::Root,
};

use super::{
    client::{Client, Request},
    fault::{Asked, Failure, read_bounded},
    redirect::Reply,
    retry::{Budget, RetryOptions},
};

/// What we take for a manifest; the last two only to say that nobody takes them any more.
const ACCEPTED: &[&str] = &[
    media_type::OCI_MANIFEST,
    media_type::OCI_INDEX,
    media_type::DOCKER_MANIFEST,
    media_type::DOCKER_LIST,
    media_type::DOCKER_SCHEMA1_SIGNED,
    media_type::DOCKER_SCHEMA1,
];

/// Gets a manifest or index by tag or digest; checks it against the digest, if it is one.
///
/// # Errors
/// [`Error::Registry`]; [`Error::BlobMismatch`] if it came wrong twice; [`Error::TooLarge`]; [`Error::Model`] for what
/// is neither manifest nor index.
pub(super) async fn manifest(client: &Client, wanted: &str, retries: &RetryOptions) -> Result<Root, Error> {
    let expected = wanted.contains(':').then(|| Digest::new(wanted)).transpose();
    let expected = expected.map_err(|source| Error::model(wanted, source.into()))?;
    let asked = Asked::Manifest(wanted.to_owned());
    let mut request = Request::get(asked, format!("manifests/{wanted}"));
    for accepted in ACCEPTED {
        request = request.header(ACCEPT, HeaderValue::from_static(accepted));
    }
    let mut once_more = true;
    loop {
        let Whole { body: bytes, headers, .. } = whole(client, &request, retries).await?;
        let digest = match &expected {
            None => Digest::sha256(&bytes),
            Some(expected) => {
                let actual = expected.of_same_algorithm(&bytes).ok_or_else(|| {
                    let algorithm = expected.algorithm().to_owned();
                    Error::blob(expected, crate::digest::BlobFault::Algorithm(algorithm))
                })?;
                if actual != *expected {
                    if std::mem::take(&mut once_more) {
                        continue;
                    }
                    return Err(Error::blob(expected, crate::digest::BlobFault::Digest { actual }));
                }
                actual
            }
        };
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type =
            media_type::of_document(content_type, &bytes).map_err(|source| Error::model(&digest, source))?;
        return Ok(Root { bytes, digest, media_type });
    }
}

/// An answer, whole.
pub(super) struct Whole {
    pub(super) body: Vec<u8>,
    pub(super) headers: HeaderMap,
    /// Where it came from.
    pub(super) url: Url,
    /// It is the registry's own.
    pub(super) home: bool,
}

/// Gets an answer whole, of at most the size of a manifest; a body that breaks off is tried again as a request is.
pub(super) async fn whole(
    client: &Client,
    request: &Request,
    retries: &RetryOptions,
) -> Result<Whole, Failure> {
    let mut budget = Budget::new(retries);
    loop {
        let failure = match client.send(request).await {
            Ok(Reply { response, host, home, .. }) => {
                let (headers, url) = (response.headers().clone(), response.url().clone());
                let subject = client.subject(&request.asked, &host);
                let max = usize::try_from(MANIFEST_MAX).unwrap_or(usize::MAX);
                match read_bounded(response, max).await {
                    Ok(Some(body)) => return Ok(Whole { body, headers, url, home }),
                    Ok(None) => return Err(subject.senseless(format!("more than {MANIFEST_MAX} bytes"))),
                    Err(error) => subject.broken(error),
                }
            }
            Err(failure) => failure,
        };
        budget.wait(failure).await?;
    }
}
