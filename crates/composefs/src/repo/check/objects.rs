//! Checking the contents of objects, several at once.

use std::{
    ffi::CString,
    os::fd::BorrowedFd,
    sync::{Mutex, PoisonError},
};

use rustix::fs::FileType;

use super::{
    CheckOptions, CheckReport, Count, Reason, Subject,
    finding::{Fault, Finding},
    names::detail,
};
use crate::{
    digest::ObjectId,
    disk::beneath::{self, Listed},
    error::{Error, Result, Step},
    progress::{Event, Observer},
    repo::{Repository, fan_out, layout},
};

/// Checks all objects, a directory at a time on each thread; memory is one buffer for each.
pub(super) fn check(
    repository: &Repository,
    options: &CheckOptions,
    observer: &dyn Observer,
    report: &mut CheckReport,
) -> Result<()> {
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
    observer.event(&Event::Begin {
        what: "objects",
        name: "objects",
        total: u64::try_from(prefixes.len()).ok(),
    });
    let found = Mutex::new((Count::default(), Vec::new()));
    let outcome = fan_out::each(&prefixes, options.threads, |prefix| {
        let mut count = Count::default();
        let mut findings = Vec::new();
        let result = check_prefix(repository, objects, prefix, &mut count, &mut findings);
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.0.checked = found.0.checked.saturating_add(count.checked);
        found.0.corrupted = found.0.corrupted.saturating_add(count.corrupted);
        found.1.append(&mut findings);
        drop(found);
        result.inspect(|()| observer.event(&Event::Advance { name: "objects", by: 1 }))
    });
    observer.event(&Event::Done { name: "objects" });
    let (count, mut findings) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    // The order must not depend on the threads.
    findings.sort_by_cached_key(|finding| finding.subject.to_string());
    report.objects = count;
    report.findings.append(&mut findings);
    outcome
}

fn check_prefix(
    repository: &Repository,
    objects: BorrowedFd<'_>,
    prefix: &CString,
    count: &mut Count,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let path = repository.path_of(layout::OBJECTS);
    let Some(directory) = beneath::open_directory(objects, &path, [prefix.as_bytes()])? else {
        return Ok(());
    };
    let path = path.join(beneath::os(prefix.as_bytes()));
    for listed in beneath::list(directory).map_err(Error::io(Step::List, &path))? {
        let hex = [prefix.as_bytes(), listed.name.as_bytes()].concat();
        let stray = || Subject::Stray {
            name: format!("{}/{}", prefix.to_string_lossy(), listed.name.to_string_lossy()),
        };
        let finding = match ObjectId::from_hex(repository.algorithm(), &hex) {
            Err(error) => Some(Finding::new(stray(), Fault::ObjectInvalidName(error.to_string()))),
            Ok(id) if id.to_hex().as_bytes() != hex => {
                Some(Finding::new(stray(), Fault::ObjectInvalidName("not in lower case".to_owned())))
            }
            Ok(id) => fault_of(repository, &id).map(|fault| Finding::new(Subject::Object(id), fault)),
        };
        count.add(finding.is_none());
        findings.extend(finding);
    }
    Ok(())
}

fn fault_of(repository: &Repository, id: &ObjectId) -> Option<Fault> {
    Some(match repository.check_object(id) {
        Ok(_) => return None,
        Err(Error::ObjectMismatch { actual, .. }) => Fault::ObjectDigestMismatch(actual),
        Err(Error::VerityMissing { .. }) => Fault::ObjectVerityMissing,
        Err(error @ Error::VerityAlgorithm { .. }) => Fault::ObjectVerity(Reason::of(&error)),
        Err(error @ Error::Io { step: Step::MeasureVerity | Step::Read, .. }) => {
            Fault::ObjectVerity(detail(&error))
        }
        Err(error) => Fault::ObjectOpen(detail(&error)),
    })
}
