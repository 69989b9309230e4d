//! Rebuilding streams: do all their parts decode, and are they what the identifier promises.
//!
//! What is read of objects for that is checked on the way, and not read again when the objects' turn comes.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, Read},
    sync::{Mutex, PoisonError},
};

use super::{
    ContentDigest, Reason, Subject,
    finding::{Fault, Finding},
    names::{detail, open_raw_stream},
    work::{Work, stopped},
};
use crate::{
    digest::{Algorithm, ObjectId, VerityHasher, hash::Hasher, object_id::push_hex},
    disk::verity::Measured,
    error::{Category, Error, Result, Step},
    splitstream::{ReplayError, replay},
};

/// The objects whose contents were read: 64 bytes for each that is good.
#[derive(Default)]
pub(super) struct Seen {
    good: Mutex<HashSet<ObjectId>>,
    bad: Mutex<BTreeMap<ObjectId, Fault>>,
}

impl Seen {
    /// Tells whether an object's contents are what its name says, and were read.
    pub(super) fn is_good(&self, id: &ObjectId) -> bool {
        self.good.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Returns what is wrong with an object that was read.
    pub(super) fn fault(&self, id: &ObjectId) -> Option<Fault> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn is_good_now(&self, id: ObjectId) {
        self.good.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    fn is_bad_now(&self, id: ObjectId, fault: Fault) {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).insert(id, fault);
    }
}

/// Rebuilds every stream that can be opened, several at once.
pub(super) fn check(work: &Work<'_>, seen: &Seen) -> Result<Vec<Finding>> {
    let streams = work.repository.stream_entries()?;
    let found = work.each("streams", &streams, |(name, id)| {
        let subject = Subject::Entry { category: Category::Streams, name: name.to_string(), id: Some(*id) };
        let faults = rebuild(work, seen, name.as_str(), id);
        Ok(faults.into_iter().map(|fault| Finding::new(subject.clone(), fault)).collect::<Vec<_>>())
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// Returns the digest that an identifier promises: its last 64 or 128 digits, alone or after `ALGORITHM:`.
fn promised(name: &str) -> Option<(Algorithm, &str)> {
    let (before, hex) = name.rsplit_once(':').unwrap_or(("sha256", name));
    let algorithm = Algorithm::from_hex_length(hex.len())?;
    let known = before == algorithm.name() || before.ends_with(&format!("-{algorithm}"));
    (known && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((algorithm, hex))
}

fn rebuild(work: &Work<'_>, seen: &Seen, name: &str, id: &ObjectId) -> Vec<Fault> {
    let stream = match open_raw_stream(work.repository, id) {
        Ok(stream) => stream,
        // Reported as a missing object.
        Err(error) if error.is_missing() => return Vec::new(),
        Err(error) => return vec![Fault::StreamOpen(detail(&error))],
    };
    let promised = promised(name);
    let mut output = Sink { hasher: promised.map(|(algorithm, _)| Hasher::new(algorithm)), work };
    // What an object's own finding will say is not said of the stream, too.
    let damaged = RefCell::new(false);
    let mut open = |object: &ObjectId| Checked::open(work, seen, &damaged, object);
    let replayed = match replay(&stream, &mut open, &mut output) {
        Ok(replayed) => replayed,
        Err(ReplayError::Write(_)) if work.must_stop() => return Vec::new(),
        Err(ReplayError::Open { source, .. }) if source.is_missing() => return Vec::new(),
        Err(ReplayError::Open { id: object, source }) => {
            seen.is_bad_now(object, Fault::ObjectOpen(detail(&source)));
            return Vec::new();
        }
        Err(ReplayError::Read { id: object, source }) => {
            // With fs-verity, so the kernel says that contents are not what they were.
            seen.is_bad_now(object, Fault::ObjectVerity(Reason::of(&source)));
            return Vec::new();
        }
        Err(ReplayError::Write(source)) => {
            return vec![Fault::StreamRead(Reason::of(&Error::Output { source }))];
        }
        Err(ReplayError::Stream(source)) => {
            let error = Error::Stream { id: *id, source: Box::new(source) };
            return vec![Fault::StreamRead(Reason::of(&error))];
        }
    };
    if damaged.into_inner() {
        return Vec::new();
    }
    let mut faults = Vec::new();
    if let Some(stated) = replayed.stated.filter(|_| !replayed.agrees()) {
        faults.push(Fault::StreamSize { stated, actual: replayed.size });
    }
    if let (Some((algorithm, hex)), Some(mut hasher)) = (promised, output.hasher) {
        let mut digest = Vec::new();
        hasher.finish_into(&mut digest);
        let mut actual = String::new();
        push_hex(&mut actual, &digest);
        if !actual.eq_ignore_ascii_case(hex) {
            faults.push(Fault::StreamContents {
                expected: ContentDigest { algorithm, hex: hex.to_ascii_lowercase() },
                actual: ContentDigest { algorithm, hex: actual },
            });
        }
    }
    faults
}

/// Hashes what is written, if anybody wants to know.
struct Sink<'a> {
    hasher: Option<Hasher>,
    work: &'a Work<'a>,
}

impl io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        stopped(&self.work.options.cancel)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An object whose contents are compared with its name while somebody reads them.
struct Checked<'a> {
    file: File,
    id: ObjectId,
    /// None where the kernel vouches for what is read, or somebody has hashed it.
    hasher: Option<VerityHasher>,
    seen: &'a Seen,
    damaged: &'a RefCell<bool>,
}

impl<'a> Checked<'a> {
    fn open(work: &Work<'_>, seen: &'a Seen, damaged: &'a RefCell<bool>, id: &ObjectId) -> Result<Self> {
        let (opened, measured) = work.repository.open_raw(id)?;
        let vouched = match measured {
            Measured::Digest(actual) => {
                actual == *id || {
                    // The objects' check says so.
                    damaged.replace(true);
                    true
                }
            }
            _ => seen.is_good(id),
        };
        let hasher = (!vouched).then(|| VerityHasher::new(id.algorithm()));
        Ok(Self { file: File::from(opened.fd), id: *id, hasher, seen, damaged })
    }
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        match (&mut self.hasher, read) {
            (None, 0) if !*self.damaged.borrow() => self.seen.is_good_now(self.id),
            (Some(_), 0) => {
                let actual = self.hasher.take().map(VerityHasher::finish);
                match actual {
                    Some(actual) if actual != self.id => {
                        self.damaged.replace(true);
                        self.seen.is_bad_now(self.id, Fault::ObjectDigestMismatch(actual));
                    }
                    _ => self.seen.is_good_now(self.id),
                }
            }
            (Some(hasher), _) => hasher.update(buffer.get(..read).unwrap_or_default()),
            (None, _) => {}
        }
        Ok(read)
    }
}

/// Reads an object and compares its contents with its name; of one that the kernel has measured, only reads it.
pub(super) fn contents(work: &Work<'_>, id: &ObjectId, measured: bool, file: File, size: u64) -> Result<()> {
    let mut hasher = (!measured).then(|| VerityHasher::new(id.algorithm()));
    // Most files are small, and clearing a large buffer costs as much as hashing them.
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(READ_SIZE).clamp(8192, READ_SIZE)];
    let whole = work.read(file, &mut buffer, |bytes| {
        if let Some(hasher) = &mut hasher {
            hasher.update(bytes);
        }
    });
    let whole = whole.map_err(|error| work.repository.object_error(Step::Read, id, error))?;
    match hasher.map(VerityHasher::finish) {
        Some(actual) if whole && actual != *id => Err(Error::ObjectMismatch { id: *id, actual }),
        _ => Ok(()),
    }
}

/// How much of an object is read at a time.
const READ_SIZE: usize = 256 * 1024;
