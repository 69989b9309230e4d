//! Fetching once more what came wrong.

use std::time::Duration;

use composefs::progress::{Event, Observer};

use crate::{digest::Digest, error::Error, transport::Source};

/// Runs an attempt at a blob, and once more if the blob came wrong from a medium where it may come right.
///
/// Nothing of a blob that came wrong has a name. What is wrong twice is wrong there.
pub(crate) fn once_more<T>(
    source: &dyn Source,
    digest: &Digest,
    observer: &dyn Observer,
    mut attempt: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    match attempt() {
        Err(Error::BlobMismatch { digest: wrong, fault }) if wrong == *digest && source.gives_afresh() => {
            let reason = format!("blob {wrong}: {fault}");
            observer.event(&Event::Retry { name: digest.as_str(), reason: &reason, delay: Duration::ZERO });
            attempt()
        }
        result => result,
    }
}
