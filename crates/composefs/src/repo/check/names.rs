//! Checking entries, what they lead to, and refs.

use std::fs::File;

use rustix::fs::FileType;

use super::{
    CheckReport, Count, Reason, Subject,
    finding::{Fault, Finding},
    work::Work,
};
use crate::{
    digest::ObjectId,
    disk::beneath::{self, Listed},
    erofs::{self, Image, ReadLimits},
    error::{Category, Error, LinkFault, Result, Step, chain},
    repo::{Repository, entry::EntryLink, layout},
    splitstream::{Limits, SplitStream},
};

/// What was found about one name.
#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
    broken_links: u64,
    missing_objects: u64,
}

impl Found {
    fn find(&mut self, subject: Subject, fault: Fault) {
        self.findings.push(Finding::new(subject, fault));
    }

    fn broken(&mut self, subject: Subject) -> bool {
        self.broken_links = self.broken_links.saturating_add(1);
        self.find(subject, Fault::BrokenSymlink);
        false
    }

    fn add_to(mut self, report: &mut CheckReport) {
        report.findings.append(&mut self.findings);
        report.broken_links = report.broken_links.saturating_add(self.broken_links);
        report.missing_objects = report.missing_objects.saturating_add(self.missing_objects);
    }
}

/// Checks the first-level names of a category and what they lead to, several at once.
pub(super) fn check_entries(work: &Work<'_>, category: Category, report: &mut CheckReport) -> Result<()> {
    let entries = work.repository.entries(category)?;
    let checked = work.each(category.directory(), &entries, |entry| {
        let mut found = Found::default();
        let good = check_entry(work.repository, category, entry, &mut found);
        Ok((good, found))
    })?;
    for (good, found) in checked {
        let count: &mut Count = match category {
            Category::Streams => &mut report.streams,
            Category::Images => &mut report.images,
        };
        count.add(good);
        found.add_to(report);
    }
    Ok(())
}

fn check_entry(repository: &Repository, category: Category, entry: &EntryLink, found: &mut Found) -> bool {
    let subject = Subject::Entry {
        category,
        name: String::from_utf8_lossy(&entry.name).into_owned(),
        id: entry.target.as_ref().ok().copied(),
    };
    let id = match &entry.target {
        Ok(id) => id,
        Err(LinkFault::NotASymlink) => {
            found.find(subject, Fault::EntryNotSymlink);
            return false;
        }
        Err(_) => return found.broken(subject),
    };
    match (repository.has_object(id), category) {
        (Err(error), _) => {
            found.find(subject, Fault::Stat(detail(&error)));
            false
        }
        (Ok(false), _) => found.broken(subject),
        (Ok(true), Category::Streams) => check_stream(repository, &subject, id, found),
        (Ok(true), Category::Images) => {
            let named = ObjectId::from_hex(repository.algorithm(), &entry.name);
            check_image(repository, &subject, id, named.ok(), found)
        }
    }
}

/// Returns what the system said, without the path, which is the subject.
pub(super) fn detail(error: &Error) -> Reason {
    let text = match error {
        Error::Io { source, .. } => source.to_string(),
        Error::Stream { source, .. } => chain(source.as_ref()),
        Error::Image { source, .. } => chain(source.as_ref()),
        other => chain(other),
    };
    Reason::of(error).with_text(text)
}

/// Looks for an object that something needs; tells whether it is missing.
fn is_missing(repository: &Repository, subject: &Subject, id: &ObjectId, found: &mut Found) -> bool {
    match repository.has_object(id) {
        Ok(true) => false,
        Ok(false) => {
            found.missing_objects = found.missing_objects.saturating_add(1);
            true
        }
        Err(error) => {
            found.find(subject.clone(), Fault::ObjectCheck { id: *id, detail: detail(&error) });
            false
        }
    }
}

/// Opens a stream without asking whether its contents are what the id says: that is the objects' check.
pub(super) fn open_raw_stream(repository: &Repository, id: &ObjectId) -> Result<SplitStream<File>> {
    let (opened, _) = repository.open_raw(id)?;
    SplitStream::parse(File::from(opened.fd), opened.size, repository.algorithm(), &Limits::default())
        .map_err(|source| Error::Stream { id: *id, source: Box::new(source) })
}

fn check_stream(repository: &Repository, subject: &Subject, id: &ObjectId, found: &mut Found) -> bool {
    let stream = match open_raw_stream(repository, id) {
        Ok(stream) => stream,
        Err(error) => {
            found.find(subject.clone(), Fault::StreamOpen(detail(&error)));
            return false;
        }
    };
    let mut missing = Vec::new();
    let read = stream.for_each_object(&mut |object| {
        if is_missing(repository, subject, &object, found) {
            missing.push(object);
        }
    });
    missing.sort_unstable();
    missing.dedup();
    for object in missing {
        found.find(subject.clone(), Fault::MissingObjectRef(object));
    }
    if let Err(error) = read {
        found.find(subject.clone(), Fault::StreamRead(Reason::of(&error)));
        return false;
    }
    for (name, named) in stream.named_refs() {
        if is_missing(repository, subject, &named, found) {
            found.find(subject.clone(), Fault::MissingNamedRef { name: name.to_owned(), id: named });
        }
    }
    for entry in stream.v03_map() {
        if is_missing(repository, subject, &entry.stream, found) {
            let mut name = String::new();
            crate::digest::object_id::push_hex(&mut name, &entry.body_sha256);
            found.find(subject.clone(), Fault::MissingNamedRef { name, id: entry.stream });
        }
    }
    true
}

fn check_image(
    repository: &Repository,
    subject: &Subject,
    id: &ObjectId,
    named: Option<ObjectId>,
    found: &mut Found,
) -> bool {
    if named != Some(*id) {
        found.find(subject.clone(), Fault::ImageOtherObject(*id));
        return false;
    }
    let limits = ReadLimits::default();
    let opened = match repository.open_raw(id) {
        Ok((opened, _)) => opened,
        Err(error) => {
            found.find(subject.clone(), Fault::ImageOpen(detail(&error)));
            return false;
        }
    };
    let bytes = match beneath::read_all(opened.fd, limits.image_bytes) {
        Ok(bytes) => bytes,
        Err(error) => {
            found.find(subject.clone(), Fault::ImageRead(Reason::of(&error)));
            return false;
        }
    };
    let objects = Image::open(&bytes, &limits).and_then(|image| {
        erofs::check(&image, repository.algorithm())?;
        erofs::object_ids(&image, repository.algorithm())
    });
    match objects {
        Ok(objects) => {
            for object in objects {
                if is_missing(repository, subject, &object, found) {
                    found.find(subject.clone(), Fault::ImageMissingObject(object));
                }
            }
            true
        }
        Err(error) => {
            found.find(subject.clone(), Fault::ImageInvalid(chain(&error)));
            false
        }
    }
}

/// Checks the refs of a category, recursively.
pub(super) fn check_refs(work: &Work<'_>, category: Category, report: &mut CheckReport) -> Result<()> {
    let repository = work.repository;
    let mut found = Found::default();
    for link in repository.ref_links(category, "")? {
        if work.must_stop() {
            break;
        }
        let subject = Subject::Ref {
            category,
            name: String::from_utf8_lossy(&link.name).into_owned(),
            entry: link.target.as_ref().ok().cloned(),
        };
        match &link.target {
            Err(LinkFault::NotASymlink | LinkFault::TooDeep) => {
                let what = file_type(repository, category, &link.name)?;
                found.find(subject, Fault::UnexpectedFileType(what));
            }
            Err(_) => {
                found.broken(subject);
            }
            Ok(entry) => match leads_somewhere(repository, category, entry) {
                Ok(true) => {}
                Ok(false) => {
                    found.broken(subject);
                }
                Err(error) => found.find(subject, Fault::Stat(detail(&error))),
            },
        }
    }
    found.add_to(report);
    Ok(())
}

fn leads_somewhere(repository: &Repository, category: Category, entry: &str) -> Result<bool> {
    match repository.entry(category, entry) {
        Ok(Some(id)) => repository.has_object(&id),
        Ok(None) => Ok(false),
        // Reported where the entry is.
        Err(Error::BadLink { fault: LinkFault::NotASymlink, .. }) => Ok(true),
        Err(Error::BadLink { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn file_type(repository: &Repository, category: Category, name: &[u8]) -> Result<&'static str> {
    let (parent, last) = match name.iter().rposition(|byte| *byte == b'/') {
        Some(at) => {
            (name.get(..at).unwrap_or_default(), name.get(at.saturating_add(1)..).unwrap_or_default())
        }
        None => (&[][..], name),
    };
    let components = [category.directory().as_bytes(), layout::REFS.as_bytes()]
        .into_iter()
        .chain(parent.split(|byte| *byte == b'/').filter(|component| !component.is_empty()));
    let path = repository.path_of(category.directory());
    let Some(directory) = beneath::open_directory(repository.directory(), repository.path(), components)?
    else {
        return Ok("Unknown");
    };
    let listed = beneath::list(directory).map_err(Error::io(Step::List, path))?;
    let kind = listed.iter().find(|Listed { name, .. }| name.as_bytes() == last).map(|listed| listed.kind);
    Ok(match kind {
        Some(FileType::RegularFile) => "RegularFile",
        Some(FileType::Directory) => "Directory",
        Some(FileType::Fifo) => "Fifo",
        Some(FileType::Socket) => "Socket",
        Some(FileType::CharacterDevice) => "CharacterDevice",
        Some(FileType::BlockDevice) => "BlockDevice",
        _ => "Unknown",
    })
}
