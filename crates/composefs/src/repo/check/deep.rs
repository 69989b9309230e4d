//! Rebuilding streams: do all their parts decode, and are they what the identifier promises.

use std::{
    collections::HashSet,
    io,
    sync::{Mutex, PoisonError},
};

use super::{
    CheckOptions, CheckReport, ContentDigest, Reason, Subject,
    finding::{Fault, Finding},
    names::detail,
};
use crate::{
    digest::{Algorithm, ObjectId, hash::Hasher, object_id::push_hex},
    error::{Category, Result},
    progress::{Event, Observer},
    repo::{Repository, fan_out},
};

/// Rebuilds every stream that can be opened, several at once.
pub(super) fn check(
    repository: &Repository,
    options: &CheckOptions,
    observer: &dyn Observer,
    report: &mut CheckReport,
) -> Result<()> {
    let streams = repository.stream_entries()?;
    observer.event(&Event::Begin {
        what: "streams",
        name: "streams",
        total: u64::try_from(streams.len()).ok(),
    });
    let found = Mutex::new(Vec::new());
    fan_out::each(&streams, options.threads, |(name, id)| {
        let faults = rebuild(repository, name.as_str(), id);
        let subject = Subject::Entry { category: Category::Streams, name: name.to_string(), id: Some(*id) };
        found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(faults.into_iter().map(|fault| Finding::new(subject.clone(), fault)));
        observer.event(&Event::Advance { name: "streams", by: 1 });
        Ok(())
    })?;
    observer.event(&Event::Done { name: "streams" });
    let mut findings = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Most of what cannot be opened was found before, but reading can fail now and have been good a moment ago.
    let known: HashSet<&Subject> = report.findings.iter().map(|finding| &finding.subject).collect();
    findings.retain(|finding| {
        !matches!(finding.fault, Fault::StreamOpen(_)) || !known.contains(&finding.subject)
    });
    findings.sort_by(|a, b| a.subject.cmp(&b.subject));
    let bad = findings.iter().filter(|finding| matches!(finding.fault, Fault::StreamContents { .. })).count();
    report.streams.corrupted =
        report.streams.corrupted.saturating_add(u64::try_from(bad).unwrap_or(u64::MAX));
    report.findings.append(&mut findings);
    Ok(())
}

/// Returns the digest that an identifier promises: its last 64 or 128 digits, alone or after `ALGORITHM:`.
fn promised(name: &str) -> Option<(Algorithm, &str)> {
    let (before, hex) = name.rsplit_once(':').unwrap_or(("sha256", name));
    let algorithm = Algorithm::from_hex_length(hex.len())?;
    let known = before == algorithm.name() || before.ends_with(&format!("-{algorithm}"));
    (known && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((algorithm, hex))
}

fn rebuild(repository: &Repository, name: &str, id: &ObjectId) -> Vec<Fault> {
    let stream = match repository.open_stream(id) {
        Ok(stream) => stream,
        // Reported as a missing object.
        Err(error) if error.is_missing() => return Vec::new(),
        Err(error) => return vec![Fault::StreamOpen(detail(&error))],
    };
    let promised = promised(name);
    let mut output = Sink(promised.map(|(algorithm, _)| Hasher::new(algorithm)));
    let mut faults = Vec::new();
    match repository.replay_stream(id, &stream, &mut output) {
        // Reported as a missing object.
        Err(error) if error.is_missing() => return faults,
        Err(error) => faults.push(Fault::StreamRead(Reason::of(&error))),
        Ok(replayed) => {
            if let Some(stated) = replayed.stated.filter(|_| !replayed.agrees()) {
                faults.push(Fault::StreamSize { stated, actual: replayed.size });
            }
            if let (Some((algorithm, hex)), Some(mut hasher)) = (promised, output.0) {
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
        }
    }
    faults
}

/// Hashes what is written, if anybody wants to know.
struct Sink(Option<Hasher>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(hasher) = &mut self.0 {
            hasher.update(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
