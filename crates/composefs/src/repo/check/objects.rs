//! Checking the contents of objects, several at once, and small ones together on each thread.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _},
    ops::Range,
    os::fd::BorrowedFd,
};

use rustix::fs::FileType;

use super::{
    CheckReport, Count, Reason, Subject,
    deep::{self, Seen},
    finding::{Fault, Finding},
    names::detail,
    work::Work,
};
use crate::{
    digest::{Algorithm, ObjectId, object_ids_of},
    disk::beneath::{self, Listed},
    error::{Error, Result, Step},
    repo::layout,
};

/// Checks all objects, a directory at a time on each thread; memory is a buffer or two for each.
pub(super) fn check(work: &Work<'_>, seen: &Seen, report: &mut CheckReport) -> Result<()> {
    let repository = work.repository;
    let Some(objects) = repository.objects()? else { return Ok(()) };
    let listed =
        beneath::list(objects).map_err(Error::io(Step::List, repository.path_of(layout::OBJECTS)))?;
    let prefixes: Vec<CString> = listed
        .into_iter()
        .filter(|Listed { name, kind }| {
            let name = name.as_bytes();
            *kind == FileType::Directory && name.len() == 2 && name.iter().all(u8::is_ascii_hexdigit)
        })
        .map(|listed| listed.name)
        .collect();
    // In the order of the directories, whatever the threads do.
    for (count, mut findings) in
        work.each("objects", &prefixes, |prefix| check_prefix(work, seen, objects, prefix))?
    {
        report.objects.checked = report.objects.checked.saturating_add(count.checked);
        report.objects.corrupted = report.objects.corrupted.saturating_add(count.corrupted);
        report.findings.append(&mut findings);
    }
    Ok(())
}

fn check_prefix(
    work: &Work<'_>,
    seen: &Seen,
    objects: BorrowedFd<'_>,
    prefix: &CString,
) -> Result<(Count, Vec<Finding>)> {
    let repository = work.repository;
    // A place for each name: some wait for others to be hashed with them.
    let mut outcomes: Vec<Option<Finding>> = Vec::new();
    let mut small = Together::default();
    let path = repository.path_of(layout::OBJECTS);
    let Some(directory) = beneath::open_directory(objects, &path, [prefix.as_bytes()])? else {
        return Ok((Count::default(), Vec::new()));
    };
    let path = path.join(beneath::os(prefix.as_bytes()));
    for listed in beneath::list(directory).map_err(Error::io(Step::List, &path))? {
        if work.must_stop() {
            break;
        }
        let hex = [prefix.as_bytes(), listed.name.as_bytes()].concat();
        let stray = || Subject::Stray {
            name: format!("{}/{}", prefix.to_string_lossy(), listed.name.to_string_lossy()),
        };
        let finding = match ObjectId::from_hex(repository.algorithm(), &hex) {
            Err(error) => Some(Finding::new(stray(), Fault::ObjectInvalidName(error.to_string()))),
            Ok(id) if id.to_hex().as_bytes() != hex => {
                Some(Finding::new(stray(), Fault::ObjectInvalidName("not in lower case".to_owned())))
            }
            Ok(id) => fault_of(work, seen, &id, &mut small, outcomes.len())
                .map(|fault| Finding::new(Subject::Object(id), fault)),
        };
        outcomes.push(finding);
        if small.is_full() {
            small.hash(repository.algorithm(), &mut outcomes);
        }
    }
    small.hash(repository.algorithm(), &mut outcomes);
    let mut count = Count::default();
    outcomes.iter().for_each(|finding| count.add(finding.is_none()));
    Ok((count, outcomes.into_iter().flatten().collect()))
}

/// Finds what is wrong with an object, or puts it with those that are hashed together; its place among the outcomes
/// is `place`.
fn fault_of(
    work: &Work<'_>,
    seen: &Seen,
    id: &ObjectId,
    small: &mut Together,
    place: usize,
) -> Option<Fault> {
    if let Some(fault) = seen.fault(id) {
        return Some(fault);
    }
    let checked = work.repository.open_measured(id).and_then(|opened| {
        let read = !opened.measured || work.options.deep;
        match read && !seen.is_good(id) {
            true if !opened.measured && opened.size <= SMALL => small
                .add(File::from(opened.fd), opened.size, *id, place)
                .map_err(|error| work.repository.object_error(Step::Read, id, error)),
            true => deep::contents(work, id, opened.measured, File::from(opened.fd), opened.size),
            false => Ok(()),
        }
    });
    Some(match checked {
        Ok(()) => return None,
        Err(Error::ObjectMismatch { actual, .. }) => Fault::ObjectDigestMismatch(actual),
        Err(Error::VerityMissing { .. }) => Fault::ObjectVerityMissing,
        Err(error @ Error::VerityAlgorithm { .. }) => Fault::ObjectVerity(Reason::of(&error)),
        Err(error @ Error::Io { step: Step::MeasureVerity | Step::Read, .. }) => {
            Fault::ObjectVerity(detail(&error))
        }
        Err(error) => Fault::ObjectOpen(detail(&error)),
    })
}

/// Objects up to this size are hashed together with others.
const SMALL: u64 = 64 * 1024;
/// So many at a time at most, and about so many bytes.
const TOGETHER: (usize, usize) = (64, 256 * 1024);

/// Small objects that were read and are not hashed yet: several at once take less time than one after the other.
#[derive(Default)]
struct Together {
    buffer: Vec<u8>,
    objects: Vec<(usize, ObjectId, Range<usize>)>,
}

impl Together {
    /// Reads an object. If its file has grown since, it is as wrong as it would be with the rest of it.
    fn add(&mut self, file: File, size: u64, id: ObjectId, place: usize) -> io::Result<()> {
        let start = self.buffer.len();
        let read = file.take(size.saturating_add(1)).read_to_end(&mut self.buffer);
        if read.is_err() {
            self.buffer.truncate(start);
        }
        read?;
        self.objects.push((place, id, start..self.buffer.len()));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.objects.len() >= TOGETHER.0 || self.buffer.len() >= TOGETHER.1
    }

    /// Hashes them, and puts what is wrong in its place.
    fn hash(&mut self, algorithm: Algorithm, outcomes: &mut [Option<Finding>]) {
        let contents =
            self.objects.iter().map(|(_, _, range)| self.buffer.get(range.clone()).unwrap_or_default());
        let contents: Vec<&[u8]> = contents.collect();
        for (actual, (place, id, _)) in object_ids_of(algorithm, &contents).into_iter().zip(&self.objects) {
            if actual != *id
                && let Some(outcome) = outcomes.get_mut(*place)
            {
                *outcome = Some(Finding::new(Subject::Object(*id), Fault::ObjectDigestMismatch(actual)));
            }
        }
        self.buffer.clear();
        self.objects.clear();
    }
}
