//! The names of a repository: what they keep, and which of them go.

use std::collections::HashSet;

use super::{Choice, Doomed, GcOptions, Now, path_text};
use crate::{
    digest::ObjectId,
    error::{Category, Error, LinkFault, Result},
    repo::{Repository, entry::EntryLink, layout, reach::Reach, referrer::Referrer, refs::RefLink},
};

/// All names of a repository as they were at one time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) image_entries: Vec<EntryLink>,
    pub(super) stream_entries: Vec<EntryLink>,
    pub(super) image_refs: Vec<RefLink>,
    pub(super) stream_refs: Vec<RefLink>,
}

impl Names {
    pub(super) fn read(repository: &Repository) -> Result<Self> {
        let refs = |category| {
            let links = repository.ref_links(category, "")?;
            // What lies deeper may be roots, so nothing at all can be said to be garbage.
            match links.iter().find(|link| link.target == Err(LinkFault::TooDeep)) {
                Some(link) => {
                    let directory = format!("{}/{}", category.directory(), layout::REFS);
                    let path = repository.path_of(path_text(&directory, &link.name));
                    Err(Error::BadLink { path, fault: LinkFault::TooDeep })
                }
                None => Ok(links),
            }
        };
        // Refs first: a ref made meanwhile finds its entry in the list read later.
        Ok(Self {
            image_refs: refs(Category::Images)?,
            stream_refs: refs(Category::Streams)?,
            image_entries: repository.entries(Category::Images)?,
            stream_entries: repository.entries(Category::Streams)?,
        })
    }

    pub(super) fn entries(&self, category: Category) -> &[EntryLink] {
        match category {
            Category::Images => &self.image_entries,
            Category::Streams => &self.stream_entries,
        }
    }

    pub(super) fn refs(&self, category: Category) -> &[RefLink] {
        match category {
            Category::Images => &self.image_refs,
            Category::Streams => &self.stream_refs,
        }
    }

    pub(super) fn entry(&self, category: Category, name: &str) -> Option<&EntryLink> {
        let entries = self.entries(category);
        let at = entries.binary_search_by(|entry| entry.name.as_slice().cmp(name.as_bytes())).ok()?;
        entries.get(at)
    }

    /// Marks everything that refs and the roots of the options need.
    pub(super) fn mark(
        &self,
        repository: &Repository,
        options: &GcOptions,
        now: &Now,
        choice: &Choice,
        reach: &mut Reach,
    ) {
        for category in Category::ALL {
            let counts = |link: &&RefLink| {
                !now.is_stale(category, link)
                    && !choice.drops(category, link)
                    && referrer(category, link).is_none()
            };
            let by_ref =
                self.refs(category).iter().filter(counts).filter_map(|link| link.target.as_deref().ok());
            let roots = options.roots.iter().chain(&choice.roots).map(String::as_str);
            for name in by_ref.chain(roots) {
                match self.entry(category, name).map(|entry| &entry.target) {
                    Some(Ok(id)) if category == Category::Images => reach.image(*id),
                    Some(Ok(id)) => reach.stream(*id),
                    // No entry: nothing to keep. A bad entry stays, and leads to no object.
                    _ => {}
                }
            }
        }
        // A name that is not text cannot be said in a plan, so it stays with what it leads to.
        for category in Category::ALL {
            for entry in self.entries(category).iter().filter(|entry| entry.name_str().is_none()) {
                match entry.target {
                    Ok(id) if category == Category::Images => reach.image(id),
                    Ok(id) => reach.stream(id),
                    Err(_) => {}
                }
            }
        }
        let streams: HashSet<ObjectId> =
            self.stream_entries.iter().filter_map(|entry| entry.target.ok()).collect();
        let is_entry = |id: &ObjectId| streams.contains(id);
        reach.walk(repository, &is_entry);
        self.mark_referrers(repository, &is_entry, reach);
    }

    /// Marks artifacts whose subject stays, artifacts about these, and so on.
    fn mark_referrers(
        &self,
        repository: &Repository,
        is_entry: &dyn Fn(&ObjectId) -> bool,
        reach: &mut Reach,
    ) {
        let id_of = |name: &str| self.entry(Category::Streams, name)?.target.as_ref().ok().copied();
        let mut waiting: Vec<([Option<ObjectId>; 2], ObjectId)> = Vec::new();
        for link in &self.stream_refs {
            let Some(referrer) = referrer(Category::Streams, link) else { continue };
            let Some(artifact) = link.target.as_deref().ok().and_then(id_of) else { continue };
            waiting.push((referrer.subjects().map(|name| id_of(&name)), artifact));
        }
        loop {
            let before = waiting.len();
            waiting.retain(|(subjects, artifact)| {
                let stays = subjects.iter().flatten().any(|id| reach.is_live(id));
                if stays {
                    reach.stream(*artifact);
                }
                !stays
            });
            if waiting.len() == before {
                return;
            }
            reach.walk(repository, is_entry);
        }
    }

    /// Decides which names go, once everything is marked.
    pub(super) fn doomed(
        &self,
        repository: &Repository,
        now: &Now,
        choice: &Choice,
        reach: &Reach,
        sweep: bool,
    ) -> Result<Doomed> {
        let mut doomed = Doomed::default();
        for category in Category::ALL {
            let mut entries = Vec::new();
            let mut broken = 0_usize;
            let mut gone = HashSet::new();
            for entry in self.entries(category) {
                let (Ok(id), Some(_)) = (&entry.target, entry.name_str()) else { continue };
                let dangling = !repository.has_object(id)?;
                if dangling {
                    broken = broken.saturating_add(1);
                    gone.insert(entry.name.as_slice());
                }
                // What a ref leads to stays for repair, however damaged, unless all is swept by force.
                let goes = if reach.is_live(id) { dangling && sweep } else { dangling || sweep };
                if goes {
                    entries.push(path_text(category.directory(), &entry.name));
                }
            }
            let mut refs = Vec::new();
            for link in self.refs(category) {
                let path = || path_text(&format!("{}/{}", category.directory(), layout::REFS), &link.name);
                if now.is_stale(category, link) {
                    match category {
                        Category::Images => doomed.mounts.push(path()),
                        Category::Streams => doomed.pulls.push(path()),
                    }
                    continue;
                }
                if choice.drops(category, link) {
                    if sweep {
                        doomed.dropped_refs.push(path());
                    }
                    continue;
                }
                let (Ok(target), Some(_)) = (&link.target, link.name_str()) else { continue };
                if let (Some(_), Some(EntryLink { target: Ok(id), .. })) =
                    (referrer(category, link), self.entry(category, target))
                    && !reach.is_live(id)
                {
                    // An entry that leads nowhere goes at once, and a ref never outlives its entry.
                    if sweep || gone.contains(target.as_bytes()) {
                        doomed.referrers.push(path());
                    }
                    continue;
                }
                let absent = self.entry(category, target).is_none();
                if absent || gone.contains(target.as_bytes()) {
                    broken = broken.saturating_add(1);
                    if absent || sweep {
                        refs.push(path());
                    }
                }
            }
            match category {
                Category::Images => {
                    (doomed.images, doomed.image_refs, doomed.broken_images) = (entries, refs, broken);
                }
                Category::Streams => {
                    (doomed.streams, doomed.stream_refs, doomed.broken_streams) = (entries, refs, broken);
                }
            }
        }
        Ok(doomed)
    }
}

/// Reads a ref as that of an artifact about something.
pub(super) fn referrer(category: Category, link: &RefLink) -> Option<Referrer> {
    let (Some(name), Ok(target)) = (link.name_str(), &link.target) else { return None };
    Referrer::parse(name, target).filter(|_| category == Category::Streams)
}
