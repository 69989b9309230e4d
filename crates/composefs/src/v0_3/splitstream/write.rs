//! Parts to a stream and its objects.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::{
    digest::ObjectId,
    error::{Error, Result},
    repo::Writer,
    splitstream::{Builder, ContentType, SplitstreamError},
    v0_3::{
        fsverity::{self, FsVerityHashValue},
        splitstream::DigestMap,
        util::{Sha256Digest, hex},
    },
};

/// Writes a stream: inline bytes go into it, the others into objects.
///
/// What cannot be started is told when the stream is done, as 0.3's calls that start one cannot fail.
pub struct SplitStreamWriter<ObjectID: FsVerityHashValue> {
    state: Result<State>,
    /// The running hash of everything written, and the digest it must end in.
    pub sha256: Option<(Sha256, Sha256Digest)>,
    ids: std::marker::PhantomData<ObjectID>,
}

struct State {
    writer: Writer,
    builder: Builder,
}

impl<ObjectID: FsVerityHashValue> SplitStreamWriter<ObjectID> {
    pub(in crate::v0_3) fn new(
        writer: Result<Writer>,
        refs: Option<&DigestMap<ObjectID>>,
        sha256: Option<Sha256Digest>,
        content_type: ContentType,
    ) -> Self {
        let state = writer.and_then(|writer| {
            let build = || -> Result<Builder, SplitstreamError> {
                let mut builder = Builder::new(fsverity::algorithm::<ObjectID>(), content_type)?;
                for entry in refs.into_iter().flat_map(|refs| &refs.map) {
                    builder.named_ref(&format!("sha256:{}", hex(&entry.body)), &entry.verity.to_native())?;
                }
                Ok(builder)
            };
            let builder = build().map_err(broken::<ObjectID>)?;
            Ok(State { writer, builder })
        });
        Self { state, sha256: sha256.map(|digest| (Sha256::new(), digest)), ids: std::marker::PhantomData }
    }

    /// Adds inline bytes. A failure shows when the stream is done.
    pub fn write_inline(&mut self, data: &[u8]) {
        if let Some((sha256, _)) = &mut self.sha256 {
            sha256.update(data);
        }
        if let Ok(state) = &mut self.state
            && let Err(error) = state.builder.inline(data)
        {
            self.state = Err(broken::<ObjectID>(error));
        }
    }

    /// Adds contents as an object, and inline what pads them.
    ///
    /// # Errors
    /// What storing gives, and what kept the stream from being started.
    #[allow(clippy::needless_pass_by_value)]
    pub fn write_external(&mut self, data: &[u8], padding: Vec<u8>) -> Result<()> {
        if let Some((sha256, _)) = &mut self.sha256 {
            sha256.update(data);
        }
        let state = match &mut self.state {
            Ok(state) => state,
            Err(_) => return Err(self.take_error()),
        };
        let id = state.writer.store_bytes(data)?.id;
        state.builder.external(&id, data.len() as u64).map_err(broken::<ObjectID>)?;
        self.write_inline(&padding);
        Ok(())
    }

    /// As [`SplitStreamWriter::write_external`], and on the calling thread: the core has no runtime.
    ///
    /// # Errors
    /// As [`SplitStreamWriter::write_external`].
    #[allow(clippy::unused_async)]
    pub async fn write_external_async(&mut self, data: Vec<u8>, padding: Vec<u8>) -> Result<()> {
        self.write_external(&data, padding)
    }

    /// Stores the stream as an object and returns its id. Nothing names it yet.
    ///
    /// # Errors
    /// [`Error::ContentMismatch`] if what was written does not have the promised digest; what storing gives.
    pub fn done(mut self) -> Result<ObjectID> {
        if let Some((sha256, expected)) = self.sha256.take() {
            let actual: Sha256Digest = sha256.finalize().into();
            if actual != expected {
                return Err(Error::ContentMismatch { expected: hex(&expected), actual: hex(&actual) });
            }
        }
        let State { writer, builder } = self.state?;
        let bytes =
            builder.finish().and_then(crate::splitstream::Built::into_bytes).map_err(broken::<ObjectID>)?;
        let id = writer.store_bytes(&bytes)?.id;
        ObjectID::from_native(&id).map_err(Error::caller)
    }

    /// Takes what went wrong; later calls say so only in short.
    fn take_error(&mut self) -> Error {
        let again = Err(Error::caller("the stream could not be written"));
        match std::mem::replace(&mut self.state, again) {
            Err(error) => error,
            Ok(_) => Error::caller("the stream could not be written"),
        }
    }
}

/// A stream that has no id yet failed.
fn broken<ObjectID: FsVerityHashValue>(source: SplitstreamError) -> Error {
    let id: ObjectId = ObjectID::EMPTY.to_native();
    Error::Stream { id, source: Box::new(source) }
}

impl<ObjectID: FsVerityHashValue> fmt::Debug for SplitStreamWriter<ObjectID> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitStreamWriter")
            .field("sha256", &self.sha256.as_ref().map(|(_, expected)| hex(expected)))
            .finish_non_exhaustive()
    }
}
