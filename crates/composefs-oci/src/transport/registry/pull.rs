//! Manifests and other documents out of a registry.
//!
//! # Format
//! `docs/formats/transports.md`, section 2.

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};

use crate::{
    digest::Digest,
    error::Error,
    model::{MANIFEST_MAX, media_type},
    transport::Root,
};

use super::{
    client::{Client, Request},
    fault::{Asked, read_bounded},
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
        let (bytes, content_type) = document(client, &request, retries).await?;
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
        let media_type = media_type::of_document(content_type.as_deref(), &bytes)
            .map_err(|source| Error::model(&digest, source))?;
        return Ok(Root { bytes, digest, media_type });
    }
}

/// Gets an answer whole, of at most the size of a manifest, with its `Content-Type`; a body that breaks off is tried
/// again as a request is.
pub(super) async fn document(
    client: &Client,
    request: &Request,
    retries: &RetryOptions,
) -> Result<(Vec<u8>, Option<String>), Error> {
    let mut budget = Budget::new(retries);
    loop {
        let failure = match client.send(request).await {
            Ok(reply) => {
                let content_type = reply.response.headers().get(CONTENT_TYPE);
                let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
                let subject = client.subject(&request.asked, &reply.host);
                let max = usize::try_from(MANIFEST_MAX).unwrap_or(usize::MAX);
                match read_bounded(reply.response, max).await {
                    Ok(Some(bytes)) => return Ok((bytes, content_type)),
                    Ok(None) => {
                        return Err(subject.senseless(format!("more than {MANIFEST_MAX} bytes")).into());
                    }
                    Err(error) => subject.broken(error),
                }
            }
            Err(failure) => failure,
        };
        budget.wait(failure).await?;
    }
}
