//! The threads of one layer: a reader that checks the blob, and one that inflates it, ahead of the caller.
//!
//! Buffers of a fixed size go round between two stages, so that the memory of a layer is a constant.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{Scope, ScopedJoinHandle},
};

use composefs::progress::{Event, Observer};

use crate::{
    decompress::{BUFFER, Decompressor},
    digest::{BlobFault, Digest, VerifyingReader},
    error::{Error, Step},
    model::media_type::Compression,
};

/// Buffers on their way between two stages.
const DEPTH: usize = 3;
/// Blobs up to this size are read and inflated by the caller's thread.
const SMALL: u64 = 256 * 1024;

/// A blob to be imported: where its bytes come from and what they must be.
pub(super) struct Blob<'a, R> {
    pub(super) reader: R,
    pub(super) digest: &'a Digest,
    pub(super) size: Option<u64>,
    pub(super) observer: &'a dyn Observer,
}

/// Why the consumer of a blob's uncompressed bytes stopped.
pub(super) enum Stop {
    /// The bytes are not what they should be, or could not be read: perhaps the blob itself is wrong.
    Bytes(Error),
    /// Something else; what the blob is doesn't matter any more.
    Other(Error),
}

impl Stop {
    fn into_error(self) -> Error {
        match self {
            Self::Bytes(error) | Self::Other(error) => error,
        }
    }
}

/// Runs `consume` over the uncompressed bytes of a blob while other threads read, check and inflate.
///
/// Returns only after the whole blob was read and found to be what its descriptor says. If the bytes are wrong in
/// a way that the consumer notices first, the rest of the blob is still read: the fault of the blob is the better error.
pub(super) fn with_contents<T, R: Read + Send>(
    blob: Blob<'_, R>,
    consume: impl FnOnce(&mut dyn Chunks, Compression) -> Result<T, Stop>,
) -> Result<T, Error> {
    let Blob { reader, digest, size, observer } = blob;
    let counted = Counted { inner: reader, name: digest.as_str(), observer };
    let checked = VerifyingReader::new(counted, digest, size).map_err(|fault| Error::blob(digest, fault))?;
    let read_error = |error: io::Error| Error::blob_io(digest, error);
    if size.is_some_and(|size| size <= SMALL) {
        let mut keep = KeepFault { inner: checked, fault: None };
        let result = Decompressor::new(&mut keep).map_err(|error| Stop::Bytes(read_error(error))).and_then(
            |contents| {
                let compression = contents.compression();
                consume(&mut Direct { contents, buffer: vec![0; 64 * 1024] }, compression)
            },
        );
        return match result {
            Ok(value) => Ok(value),
            Err(Stop::Bytes(error)) => Err(keep.verdict().map_or(error, |fault| Error::blob(digest, fault))),
            Err(Stop::Other(error)) => Err(error),
        };
    }
    std::thread::scope(|scope| {
        let spawn_error = |source| Error::source(Step::Spawn, digest, source);
        let (blob, reading) = Ahead::spawn(scope, "read", checked).map_err(spawn_error)?;
        let drain = Arc::clone(&blob.drain);
        // Said before the near end goes away: what is left of the blob is read only for its digest.
        let settle = |result: &Result<T, Stop>| {
            if matches!(result, Err(Stop::Bytes(_))) {
                drain.store(true, Ordering::Relaxed);
            }
        };
        let result = match Decompressor::new(blob) {
            Err(error) => Err(Stop::Bytes(read_error(error))),
            Ok(contents) if contents.compression() == Compression::None => {
                let mut direct = Direct { contents, buffer: vec![0; BUFFER] };
                let result = consume(&mut direct, Compression::None);
                settle(&result);
                result
            }
            Ok(contents) => {
                let compression = contents.compression();
                let (mut inflated, inflating) =
                    Ahead::spawn(scope, "inflate", contents).map_err(spawn_error)?;
                let result = consume(&mut inflated, compression);
                settle(&result);
                drop(inflated);
                joined(inflating);
                result
            }
        };
        match (result, joined(reading)) {
            (Err(Stop::Bytes(_)), Some(fault)) => Err(Error::blob(digest, fault)),
            (result, _) => result.map_err(Stop::into_error),
        }
    })
}

/// Waits for a thread; one that panicked must not look like one that came to the end of its input.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The uncompressed bytes in pieces.
pub(super) trait Chunks {
    /// Returns the next piece; `None` at the end.
    fn next(&mut self) -> io::Result<Option<&[u8]>>;
}

struct Direct<R> {
    contents: R,
    buffer: Vec<u8>,
}

impl<R: Read> Chunks for Direct<R> {
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let got = read_some(&mut self.contents, &mut self.buffer)?;
        Ok(if got == 0 { None } else { self.buffer.get(..got) })
    }
}

/// Fills the buffer as far as the reader gives: many short reads become one piece.
fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

struct Counted<'a, R> {
    inner: R,
    name: &'a str,
    observer: &'a dyn Observer,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        if got > 0 {
            self.observer.event(&Event::Advance { name: self.name, by: got as u64 });
        }
        Ok(got)
    }
}

/// A checked reader that remembers its fault, and can be read on to find it.
struct KeepFault<R> {
    inner: R,
    fault: Option<BlobFault>,
}

impl<R: Read> KeepFault<R> {
    fn verdict(self) -> Option<BlobFault> {
        self.fault.or_else(|| fault_in_rest(self.inner))
    }
}

impl<R: Read> Read for KeepFault<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(buffer);
        if let Err(error) = &result {
            self.fault = fault_of(error).or(self.fault.take());
        }
        result
    }
}

/// The near end of a thread that reads ahead.
struct Ahead {
    full: Receiver<io::Result<(Vec<u8>, usize)>>,
    empty: SyncSender<Vec<u8>>,
    current: Option<(Vec<u8>, usize)>,
    taken: usize,
    drain: Arc<AtomicBool>,
}

impl Ahead {
    /// Starts a thread that reads `reader` into buffers. Its result is the fault of the blob, if it met one.
    fn spawn<'scope, 'env, R: Read + Send + 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        name: &str,
        reader: R,
    ) -> io::Result<(Self, ScopedJoinHandle<'scope, Option<BlobFault>>)> {
        let (to_caller, full) = sync_channel(DEPTH);
        let (empty, from_caller) = sync_channel(DEPTH + 2);
        let drain = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&drain);
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, move || read_ahead(reader, &to_caller, &from_caller, &flag))?;
        Ok((Self { full, empty, current: None, taken: 0, drain }, handle))
    }

    /// Makes `current` a buffer with bytes left in it; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        if self.current.as_ref().is_some_and(|(_, length)| self.taken < *length) {
            return Ok(true);
        }
        if let Some((buffer, _)) = self.current.take() {
            let _ = self.empty.try_send(buffer);
        }
        self.taken = 0;
        match self.full.recv() {
            Ok(Ok(next)) => {
                self.current = Some(next);
                Ok(true)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }
}

fn read_ahead(
    mut reader: impl Read,
    to_caller: &SyncSender<io::Result<(Vec<u8>, usize)>>,
    from_caller: &Receiver<Vec<u8>>,
    drain: &AtomicBool,
) -> Option<BlobFault> {
    let mut made = 0;
    loop {
        let mut buffer = match from_caller.try_recv() {
            Ok(buffer) => buffer,
            Err(_) if made < DEPTH + 2 => {
                made += 1;
                vec![0; BUFFER]
            }
            // Every buffer is on its way: wait for one to come back. With nobody at the other end, none does.
            Err(_) => from_caller.recv().unwrap_or_else(|_| vec![0; BUFFER]),
        };
        match read_some(&mut reader, &mut buffer) {
            Ok(0) => return None,
            Ok(got) => {
                if to_caller.send(Ok((buffer, got))).is_err() {
                    return if drain.load(Ordering::Relaxed) { fault_in_rest(reader) } else { None };
                }
            }
            Err(error) => {
                let fault = fault_of(&error);
                let _ = to_caller.send(Err(error));
                return fault;
            }
        }
    }
}

fn fault_of(error: &io::Error) -> Option<BlobFault> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<BlobFault>()).cloned()
}

/// Reads on to the end, for what the checks say there.
fn fault_in_rest(mut reader: impl Read) -> Option<BlobFault> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return None,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return fault_of(&error),
            _ => {}
        }
    }
}

impl Chunks for Ahead {
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.taken = self.current.as_ref().map_or(0, |(_, length)| *length);
        if !self.advance()? {
            return Ok(None);
        }
        Ok(self.current.as_ref().and_then(|(buffer, length)| buffer.get(..*length)))
    }
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || !self.advance()? {
            return Ok(0);
        }
        let Some((current, length)) = &self.current else { return Ok(0) };
        let rest = current.get(self.taken..*length).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        self.taken += count;
        Ok(count)
    }
}
