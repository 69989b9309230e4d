//! How long a request with a body may take: as long as it goes forward.
//!
//! The library's own timer runs from the first byte of a request to the first of its answer, however much is sent
//! between them. This one begins again with each piece that the connection takes, stands still while the piece to
//! send is still to come from elsewhere, and waits longer for the answer, for which a registry may have to hash the
//! blob and move it.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::Body;
use tokio::time::{Instant, timeout_at};

/// How many times longer the answer to a whole body may take than a piece of it.
const ANSWER_FACTOR: u32 = 5;
/// For ever, as clocks can still tell it.
const PATIENCE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How far a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The connection takes a piece, or is still to come about.
    Taking,
    /// The next piece comes from elsewhere, where somebody else minds how long that takes.
    Fetching,
    /// All of it was taken.
    Whole,
}

/// What a body and whoever waits for the answer share.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<(Stage, Instant)>>);

impl Progress {
    /// Wraps a body such that its way is known.
    pub(super) fn of(body: Option<Body>) -> (Self, Option<Body>) {
        let empty = body.as_ref().is_none_or(http_body::Body::is_end_stream);
        let stage = if empty { Stage::Whole } else { Stage::Taking };
        let progress = Self(Arc::new(Mutex::new((stage, Instant::now()))));
        let body = body.map(|body| Body::wrap(Watched { body, progress: progress.clone() }));
        (progress, body)
    }

    fn set(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (stage, Instant::now());
    }

    /// Returns until when something must happen. It is never earlier than it was.
    fn deadline(&self, patience: Duration) -> Instant {
        let patience = patience.min(PATIENCE_MAX);
        let (stage, since) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match stage {
            Stage::Taking => since + patience,
            Stage::Fetching => Instant::now() + patience,
            Stage::Whole => since + patience * ANSWER_FACTOR,
        }
    }

    /// Waits for the answer; `None` when nothing has gone forward for too long.
    pub(super) async fn wait<T>(&self, patience: Duration, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = pin!(answer);
        loop {
            let deadline = self.deadline(patience);
            match timeout_at(deadline, &mut answer).await {
                Ok(answer) => return Some(answer),
                Err(_) if self.deadline(patience) > deadline => {}
                Err(_) => return None,
            }
        }
    }
}

/// A body that tells how far it is.
struct Watched {
    body: Body,
    progress: Progress,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let polled = http_body::Body::poll_frame(Pin::new(&mut self.body), context);
        self.progress.set(match &polled {
            Poll::Pending => Stage::Fetching,
            Poll::Ready(Some(Ok(_))) if !http_body::Body::is_end_stream(&self.body) => Stage::Taking,
            Poll::Ready(_) => Stage::Whole,
        });
        polled
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }
}
