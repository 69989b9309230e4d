//! Whose the bytes of a repository are: what each root needs alone, what it shares, and what nothing needs.
//!
//! An [`Accounting`] is told one root after the other and reads every stream and image once. For each object it keeps
//! 32 bytes of its id and a number that stands for the streams and images naming it; what whole sets of these have in
//! common is worked out at the end, when the store is looked at. Nothing is written.

mod sets;
mod store;

use std::collections::{HashMap, HashSet};

use super::{
    Repository,
    gc::Now,
    reach::{Job, Met},
    refs::RefLink,
};
use crate::{
    digest::ObjectId,
    error::{Category, Error, Result},
};

use sets::Sets;

/// A number of objects with what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub objects: u64,
    /// Their lengths together, in bytes.
    pub bytes: u64,
    /// The blocks they take on the disk, in bytes. Blocks that files have in common are counted for each of them.
    pub disk_bytes: u64,
}

impl Amount {
    /// Adds another amount.
    pub const fn add(&mut self, other: &Self) {
        self.objects = self.objects.saturating_add(other.objects);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.disk_bytes = self.disk_bytes.saturating_add(other.disk_bytes);
    }

    const fn without(&self, part: &Self) -> Self {
        Self {
            objects: self.objects.saturating_sub(part.objects),
            bytes: self.bytes.saturating_sub(part.bytes),
            disk_bytes: self.disk_bytes.saturating_sub(part.disk_bytes),
        }
    }
}

/// Whether a root keeps what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A ref leads to it.
    Kept,
    /// The next collection takes it.
    Garbage,
}

/// What some roots need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// What no other root needs. Of roots that are kept: what a collection would free if only these went. Of garbage: what
    /// neither a root that is kept nor other garbage needs.
    pub own: Amount,
    /// What others need, too.
    pub shared: Amount,
    /// Objects that are named and not there.
    pub missing: u64,
    /// Streams among what is needed.
    pub streams: u64,
    /// EROFS images among what is needed.
    pub images: u64,
}

/// What there is in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// All objects.
    pub objects: Amount,
    /// Those that no root needs which is kept, and that a collection frees now.
    pub garbage: Amount,
    /// Those besides that it spares, since pulls at work may have stored them.
    pub spared: Amount,
    /// Objects that roots which are kept need, and that are not there.
    pub missing: u64,
    /// Entries of streams.
    pub streams: u64,
    /// Entries of images.
    pub images: u64,
    /// Temporary files that have names, of processes at work and of others.
    pub temporaries: u64,
    /// Their lengths together, in bytes.
    pub temporary_bytes: u64,
    /// Whether something that is kept cannot be read. Collections free no object then unless told to.
    pub is_held_back: bool,
}

/// Stands for a root of an [`Accounting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root(usize);

/// A stream or image that was read.
#[derive(Debug)]
struct Node {
    met: Option<Met>,
    /// What it names, by number.
    names: Vec<u32>,
    roots: Vec<u32>,
}

/// Takes roots and finds out what they need.
#[derive(Debug)]
pub struct Accounting<'r> {
    repository: &'r Repository,
    /// Where stream entries lead to.
    entries: HashSet<ObjectId>,
    totals: Totals,
    numbers: HashMap<ObjectId, u32>,
    nodes: Vec<Node>,
    standings: Vec<Standing>,
    sets: Sets,
    problems: Vec<Error>,
    now: Now,
}

impl<'r> Accounting<'r> {
    /// Begins without roots.
    ///
    /// # Errors
    /// [`Error::Io`] if entries cannot be listed.
    pub fn new(repository: &'r Repository) -> Result<Self> {
        let streams = repository.entries(Category::Streams)?;
        let totals = Totals {
            streams: streams.len() as u64,
            images: repository.entries(Category::Images)?.len() as u64,
            ..Totals::default()
        };
        Ok(Self {
            repository,
            entries: streams.iter().filter_map(|entry| entry.target.ok()).collect(),
            totals,
            numbers: HashMap::new(),
            nodes: Vec::new(),
            standings: Vec::new(),
            sets: Sets::default(),
            problems: Vec::new(),
            now: Now::read(repository, None)?,
        })
    }

    /// Lists the refs that keep something: all but the records of mounts and pulls that are over.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn refs(&self, category: Category) -> Result<Vec<RefLink>> {
        let mut links = self.repository.ref_links(category, "")?;
        links.retain(|link| !self.now.is_stale(category, link));
        Ok(links)
    }

    /// Adds a root that needs a stream or an image, and reads what has not been read yet.
    pub fn root(&mut self, standing: Standing, category: Category, id: ObjectId) -> Root {
        let job = match category {
            Category::Streams => Job::Stream(id),
            Category::Images => Job::Image(id),
        };
        let first = self.read(job);
        let root = self.standings.len();
        self.standings.push(standing);
        let number = u32::try_from(root).unwrap_or(u32::MAX);
        let mut pending = vec![first];
        while let Some(node) = pending.pop().and_then(|at| self.nodes.get_mut(at as usize)) {
            if node.roots.last() != Some(&number) {
                node.roots.push(number);
                pending.extend(&node.names);
            }
        }
        Root(root)
    }

    /// Tells whether a root that was added needs this stream or image.
    #[must_use]
    pub fn reaches(&self, id: &ObjectId) -> bool {
        self.numbers.contains_key(id)
    }

    /// Reads a stream or image and what it leads to; returns its number.
    fn read(&mut self, job: Job) -> u32 {
        let mut pending = Vec::new();
        let first = self.number(job, &mut pending);
        while let Some((at, job)) = pending.pop() {
            let id = job.id();
            let mut jobs = Vec::new();
            let sets = &mut self.sets;
            sets.begin(at);
            sets.add(&id);
            let met = job.read(
                self.repository,
                &|id| self.entries.contains(id),
                &mut |id| sets.add(&id),
                &mut jobs,
            );
            let names = jobs.into_iter().map(|job| self.number(job, &mut pending)).collect();
            if let Some(node) = self.nodes.get_mut(at as usize) {
                node.names = names;
                match met {
                    Ok(met) => node.met = Some(met),
                    Err(error) => self.problems.push(error),
                }
            }
        }
        first
    }

    /// Returns the number of a stream or image; what has none yet gets one, and is to be read.
    fn number(&mut self, job: Job, pending: &mut Vec<(u32, Job)>) -> u32 {
        let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(job.id()).or_insert(next);
        if number == next {
            self.nodes.push(Node { met: None, names: Vec::new(), roots: Vec::new() });
            pending.push((number, job));
        }
        number
    }

    /// Looks at the store and works out whose everything is.
    ///
    /// # Errors
    /// [`Error::Io`] if the directories cannot be listed. What else cannot be read is among [`Usage::problems`].
    pub fn finish(mut self) -> Result<Usage> {
        let found = store::look(self.repository, &self.sets, self.now.sessions.since)?;
        self.problems.extend(found.problems);
        let mut totals = Totals {
            temporaries: found.temporaries,
            temporary_bytes: found.temporary_bytes,
            is_held_back: self.nodes.iter().any(|node| node.met.is_none() && self.is_kept(&node.roots)),
            ..self.totals
        };
        let expected = self.sets.counts();
        let mut parts = Vec::new();
        for (set, expected) in expected.into_iter().enumerate() {
            let amount = found.amounts.get(set).copied().unwrap_or_default();
            let mut roots: Vec<u32> = Vec::new();
            for node in self.sets.members(set) {
                roots.extend(self.nodes.get(node as usize).into_iter().flat_map(|node| &node.roots));
            }
            roots.sort_unstable();
            roots.dedup();
            let missing = expected.saturating_sub(amount.objects);
            totals.objects.add(&amount);
            match self.is_kept(&roots) {
                true => totals.missing = totals.missing.saturating_add(missing),
                false => {
                    let spared = found.recent.get(set).copied().unwrap_or_default();
                    totals.garbage.add(&amount.without(&spared));
                    totals.spared.add(&spared);
                }
            }
            if amount.objects > 0 || missing > 0 {
                parts.push(Part { amount, missing, roots });
            }
        }
        let Self { nodes, numbers, standings, problems, .. } = self;
        Ok(Usage { totals, problems, parts, nodes, numbers, standings })
    }

    fn is_kept(&self, roots: &[u32]) -> bool {
        is_kept(&self.standings, roots)
    }
}

fn is_kept(standings: &[Standing], roots: &[u32]) -> bool {
    roots.iter().any(|root| standings.get(*root as usize) == Some(&Standing::Kept))
}

/// Objects that the same roots need.
#[derive(Debug)]
struct Part {
    amount: Amount,
    missing: u64,
    roots: Vec<u32>,
}

/// Whose everything is.
#[derive(Debug)]
pub struct Usage {
    totals: Totals,
    problems: Vec<Error>,
    parts: Vec<Part>,
    nodes: Vec<Node>,
    numbers: HashMap<ObjectId, u32>,
    standings: Vec<Standing>,
}

impl Usage {
    /// Returns what there is in all.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Returns what could not be read. What only that needs counts for nobody.
    #[must_use]
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }

    /// Tells whether something that is kept cannot be read, even if these roots went.
    #[must_use]
    pub fn is_held_back_without(&self, gone: &[Root]) -> bool {
        let stays = |root: &u32| {
            self.standings.get(*root as usize) == Some(&Standing::Kept)
                && gone.iter().all(|gone| gone.0 != *root as usize)
        };
        self.nodes.iter().any(|node| node.met.is_none() && node.roots.iter().any(stays))
    }

    /// Tells whether a root that is kept needs this stream or image, even if these roots went.
    #[must_use]
    pub fn is_needed_without(&self, id: &ObjectId, gone: &HashSet<Root>) -> bool {
        let node = self.numbers.get(id).and_then(|at| self.nodes.get(*at as usize));
        node.is_some_and(|node| {
            node.roots.iter().any(|root| {
                self.standings.get(*root as usize) == Some(&Standing::Kept)
                    && !gone.contains(&Root(*root as usize))
            })
        })
    }

    /// Returns the bytes of all files of an image together, one with several names once; `None` if it was not read.
    #[must_use]
    pub fn file_bytes(&self, image: &ObjectId) -> Option<u64> {
        match self.nodes.get(*self.numbers.get(image)? as usize)?.met? {
            Met::Image(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns what each of several groups of roots needs. No root is in two groups; one may be in none.
    #[must_use]
    pub fn shares(&self, groups: &[Vec<Root>]) -> Vec<Share> {
        let mut shares = vec![Share::default(); groups.len()];
        let mut group_of = vec![None; self.standings.len()];
        for (group, roots) in groups.iter().enumerate() {
            for root in roots {
                if let Some(of) = group_of.get_mut(root.0) {
                    *of = Some(group);
                }
            }
        }
        let groups_of = |roots: &[u32]| {
            let mut groups: Vec<Option<usize>> =
                roots.iter().map(|root| group_of.get(*root as usize).copied().flatten()).collect();
            groups.sort_unstable();
            groups.dedup();
            groups
        };
        for part in &self.parts {
            let kept = is_kept(&self.standings, &part.roots);
            // Garbage does not keep what a root needs that is kept.
            let counted: Vec<u32> = part
                .roots
                .iter()
                .copied()
                .filter(|root| !kept || self.standings.get(*root as usize) == Some(&Standing::Kept))
                .collect();
            let owners = groups_of(&counted);
            for group in groups_of(&part.roots).into_iter().flatten() {
                let Some(share) = shares.get_mut(group) else { continue };
                match owners.as_slice() {
                    [Some(only)] if *only == group => share.own.add(&part.amount),
                    _ => share.shared.add(&part.amount),
                }
                share.missing = share.missing.saturating_add(part.missing);
            }
        }
        for node in &self.nodes {
            for group in groups_of(&node.roots).into_iter().flatten() {
                let Some(share) = shares.get_mut(group) else { continue };
                match node.met {
                    Some(Met::Stream) => share.streams = share.streams.saturating_add(1),
                    Some(Met::Image(_)) => share.images = share.images.saturating_add(1),
                    Some(Met::Plain) | None => {}
                }
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests;
