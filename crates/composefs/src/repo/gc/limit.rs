//! Making the store fit: which images go besides, the least recently used first.
//!
//! The order is fixed before, so what must go is the shortest beginning of the list that makes the rest fit; it is
//! searched for by halves, with a mark of everything that stays for each step.

use std::{
    collections::{BTreeSet, HashSet},
    time::SystemTime,
};

use serde::{Serialize, Serializer};

use super::{GcOptions, Names, Now, RefLink, garbage};
use crate::{
    digest::ObjectId,
    error::{Category, Result},
    repo::{Repository, layout, reach::Reach},
};

/// The most the store may have, and what may go for that.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limit {
    /// Bytes of all objects together.
    pub bytes: u64,
    /// What may go, the first to go first. Those without a ref stay if they need not go.
    pub candidates: Vec<Candidate>,
}

impl Limit {
    /// Makes a limit.
    #[must_use]
    pub const fn new(bytes: u64, candidates: Vec<Candidate>) -> Self {
        Self { bytes, candidates }
    }
}

/// An image that may go.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What people call it.
    pub name: String,
    /// The entry of its stream.
    pub stream: String,
    /// The refs that go with it, below `streams/refs/`, and the entries they lead to.
    pub refs: Vec<(String, String)>,
    /// Its EROFS images: while one is mounted it stays.
    pub images: Vec<ObjectId>,
    /// When it was used last.
    pub used: SystemTime,
}

/// An image that goes so that the rest fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// What people call it.
    pub name: String,
    /// When it was used last, in seconds since 1970.
    #[serde(serialize_with = "as_seconds")]
    pub used: SystemTime,
    /// Whether it had a name.
    pub named: bool,
}

fn as_seconds<S: Serializer>(time: &SystemTime, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// What the store has, and what it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fit {
    /// Bytes of all objects that stay.
    pub bytes: u64,
    /// The most they may have.
    pub limit: u64,
}

impl Fit {
    /// Tells whether the limit was reached.
    #[must_use]
    pub const fn fits(&self) -> bool {
        self.bytes <= self.limit
    }
}

/// What is kept though no ref leads to it, and what goes though one does.
#[derive(Debug, Default)]
pub(super) struct Choice {
    /// Entries that are roots.
    pub(super) roots: BTreeSet<String>,
    /// Refs below `streams/refs/` that go if they still lead to these entries.
    pub(super) refs: HashSet<(String, String)>,
    /// The candidates that go.
    going: Vec<Candidate>,
}

impl Choice {
    /// Chooses what goes, and says what stays then.
    pub(super) fn make(
        repository: &Repository,
        options: &GcOptions,
        names: &Names,
        now: &Now,
    ) -> Result<(Self, Option<Fit>)> {
        let mut choice = Self::default();
        choice.keep_newer(repository, names, now)?;
        let Some(limit) = &options.limit else { return Ok((choice, None)) };
        let mounted = names.mounted(now);
        let (stays, may_go): (Vec<_>, Vec<_>) = limit.candidates.iter().partition(|candidate| {
            candidate.images.iter().any(|image| mounted.contains(&image.to_hex()))
                || now.keep_since.is_some_and(|since| candidate.used >= since)
        });
        choice.roots.extend(stays.iter().map(|candidate| candidate.stream.clone()));
        let all = garbage::find(repository, &Reach::default(), None)?.objects;
        let spare = now.spare_since();
        let old = match spare {
            Some(_) => garbage::find(repository, &Reach::default(), spare)?.objects,
            None => Vec::new(),
        };
        let sum = |list: &[super::Garbage]| list.iter().map(|one| one.size).fold(0, u64::saturating_add);
        let spared = if spare.is_some() { sum(&all).saturating_sub(sum(&old)) } else { 0 };
        let counted = if spare.is_some() { &old } else { &all };
        let try_with = |gone: usize| -> Result<(Self, u64)> {
            let mut tried = Self { roots: choice.roots.clone(), ..Self::default() };
            for (at, candidate) in may_go.iter().enumerate() {
                if at < gone {
                    tried.refs.extend(candidate.refs.iter().cloned());
                    tried.going.push((*candidate).clone());
                } else {
                    tried.roots.insert(candidate.stream.clone());
                }
            }
            let mut reach = Reach::default();
            names.mark(repository, options, now, &tried, &mut reach);
            // Nobody knows how much must stay then.
            if let Some(one) = reach.take_unreadable().into_iter().next().filter(|_| !options.force) {
                return Err(one.error);
            }
            let live = counted.iter().filter(|one| reach.is_live(&one.id)).map(|one| one.size);
            Ok((tried, live.fold(spared, u64::saturating_add)))
        };
        let (mut least, mut most) = (0, may_go.len());
        while least < most {
            let middle = least.saturating_add(most.saturating_sub(least) / 2);
            match try_with(middle)?.1 <= limit.bytes {
                true => most = middle,
                false => least = middle.saturating_add(1),
            }
        }
        let (choice, bytes) = try_with(least)?;
        Ok((choice, Some(Fit { bytes, limit: limit.bytes })))
    }

    /// Makes roots of entries that were made, or used, since.
    fn keep_newer(&mut self, repository: &Repository, names: &Names, now: &Now) -> Result<()> {
        let Some(since) = now.keep_since else { return Ok(()) };
        let uses = repository.last_uses();
        for category in Category::ALL {
            for name in names.entries(category).iter().filter_map(super::EntryLink::name_str) {
                let used = uses.get(name).is_some_and(|used| *used >= since);
                if used || repository.entry_time(category, name)?.is_some_and(|made| made >= since) {
                    self.roots.insert(name.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Takes back what has been mounted or used since the choice was made.
    pub(super) fn spare_used(&mut self, repository: &Repository, names: &Names, now: &Now) {
        if self.going.is_empty() {
            return;
        }
        let (mounted, uses) = (names.mounted(now), repository.last_uses());
        let is_used = |candidate: &Candidate| {
            let mut entries: Vec<String> = candidate.images.iter().map(ObjectId::to_hex).collect();
            let is_mounted = entries.iter().any(|image| mounted.contains(image));
            entries.push(candidate.stream.clone());
            is_mounted
                || entries.iter().any(|entry| uses.get(entry).is_some_and(|used| *used > candidate.used))
        };
        let (used, going): (Vec<_>, Vec<_>) = self.going.drain(..).partition(is_used);
        self.going = going;
        for candidate in used {
            for pair in &candidate.refs {
                self.refs.remove(pair);
            }
            self.roots.insert(candidate.stream);
        }
    }

    /// Tells whether a ref goes though it leads somewhere.
    pub(super) fn drops(&self, category: Category, link: &RefLink) -> bool {
        category == Category::Streams
            && !self.refs.is_empty()
            && match (link.name_str(), &link.target) {
                (Some(name), Ok(target)) => self.refs.contains(&(name.to_owned(), target.clone())),
                _ => false,
            }
    }

    /// Returns what goes. An image without a name that something else needs does not.
    pub(super) fn dropped(&self, names: &Names, reach: &Reach) -> Vec<Dropped> {
        let goes = |candidate: &&Candidate| {
            let entry = names.entry(Category::Streams, &candidate.stream);
            !candidate.refs.is_empty()
                || entry.is_some_and(|entry| entry.target.is_ok_and(|id| !reach.is_live(&id)))
        };
        let text = |candidate: &Candidate| Dropped {
            name: candidate.name.clone(),
            used: candidate.used,
            named: !candidate.refs.is_empty(),
        };
        self.going.iter().filter(goes).map(text).collect()
    }
}

impl Names {
    /// Returns the entries of images that are mounted.
    fn mounted(&self, now: &Now) -> HashSet<String> {
        let prefix = format!("{}/", layout::MOUNTS);
        self.refs(Category::Images)
            .iter()
            .filter(|link| link.name_str().is_some_and(|name| name.starts_with(&prefix)))
            .filter(|link| !now.is_stale(Category::Images, link))
            .filter_map(|link| link.target.clone().ok())
            .collect()
    }
}
