//! Checking the contents of objects, several at once.

use std::{ffi::CString, fs::File, os::fd::BorrowedFd};

use rustix::fs::FileType;

use super::{
    CheckReport, Count, Reason, Subject,
    deep::{self, Seen},
    finding::{Fault, Finding},
    names::detail,
    work::Work,
};
use crate::{
    digest::ObjectId,
    disk::beneath::{self, Listed},
    error::{Error, Result, Step},
    repo::layout,
};

/// Checks all objects, a directory at a time on each thread; memory is one buffer for each.
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
    let (mut count, mut findings) = (Count::default(), Vec::new());
    let path = repository.path_of(layout::OBJECTS);
    let Some(directory) = beneath::open_directory(objects, &path, [prefix.as_bytes()])? else {
        return Ok((count, findings));
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
            Ok(id) => fault_of(work, seen, &id).map(|fault| Finding::new(Subject::Object(id), fault)),
        };
        count.add(finding.is_none());
        findings.extend(finding);
    }
    Ok((count, findings))
}

fn fault_of(work: &Work<'_>, seen: &Seen, id: &ObjectId) -> Option<Fault> {
    if let Some(fault) = seen.fault(id) {
        return Some(fault);
    }
    let checked = work.repository.open_measured(id).and_then(|opened| {
        let read = !opened.measured || work.options.deep;
        match read && !seen.is_good(id) {
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
