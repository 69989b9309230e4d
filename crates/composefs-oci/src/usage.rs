//! What each image takes in a repository: what would go with it, and what it shares.
//!
//! Reads only, under the shared lock, every stream once. What a ref keeps is accounted for ref by ref, so that it can be
//! said of any of them together what a collection would free if they went.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use composefs::{
    digest::ObjectId,
    error::{Category, chain},
    repo::{
        Repository,
        layout::MOUNTS,
        referrer::Referrer,
        usage::{Accounting, Amount, Root, Share, Standing, Totals, Usage},
    },
};

use crate::{
    digest::{Digest, ManifestDigest},
    error::Error,
    find::Name,
    ident,
    stored::StoredImage,
};

/// What keeps something, or would if it had a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Holder {
    /// An image or artifact with tags.
    Tagged(ManifestDigest),
    /// An artifact kept with what it is about.
    Referrer(ManifestDigest),
    /// The target of other refs to streams.
    Stream(String),
    /// An EROFS image that refs lead to.
    Image(ObjectId),
    /// An EROFS image that is mounted.
    Mounted(ObjectId),
    /// An image without a tag, which the next collection takes.
    Untagged(ManifestDigest),
    /// An index without a tag, which the next collection takes.
    UntaggedIndex(Digest),
    /// An EROFS image without a name, which the next collection takes.
    Unnamed(ObjectId),
}

impl Holder {
    /// Returns the manifest, where it is one.
    #[must_use]
    pub const fn manifest(&self) -> Option<&ManifestDigest> {
        match self {
            Self::Tagged(digest) | Self::Referrer(digest) | Self::Untagged(digest) => Some(digest),
            _ => None,
        }
    }

    /// Tells whether a collection leaves it.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        !matches!(self, Self::Untagged(_) | Self::UntaggedIndex(_) | Self::Unnamed(_))
    }
}

/// One image and what it takes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImageUsage {
    /// What it is.
    pub holder: Holder,
    /// Its tags; or refs, records of mounts.
    pub names: Vec<String>,
    /// What it needs of the store.
    pub share: Share,
    /// The bytes of its files together, one with several names once; of an artifact, of its blobs. `None` for a
    /// container image without EROFS image, and for what could not be read.
    pub apparent_bytes: Option<u64>,
}

/// What everything in a repository takes.
#[derive(Debug)]
pub struct RepositoryUsage {
    images: Vec<ImageUsage>,
    problems: Vec<Error>,
    usage: Usage,
    by_tag: BTreeMap<String, Vec<Root>>,
    about: Vec<About>,
}

/// A root that is kept for as long as one of the subjects is.
#[derive(Debug)]
struct About {
    root: Root,
    artifact: ObjectId,
    subjects: Vec<ObjectId>,
}

/// What is collected while refs are read.
#[derive(Debug, Default)]
struct Draft {
    names: Vec<String>,
    roots: Vec<Root>,
}

struct Reader<'r> {
    repo: &'r Repository,
    accounting: Accounting<'r>,
    entries: [HashMap<Vec<u8>, ObjectId>; 2],
    drafts: BTreeMap<Holder, Draft>,
    by_tag: BTreeMap<String, Vec<Root>>,
    tagged: HashMap<String, Holder>,
    about: Vec<About>,
    problems: Vec<Error>,
}

const fn at(category: Category) -> usize {
    match category {
        Category::Streams => 0,
        Category::Images => 1,
    }
}

/// Finds out what everything takes.
///
/// # Errors
/// What listing the names and the store gives. What else cannot be read is among [`RepositoryUsage::problems`].
pub fn measure(repo: &Repository) -> Result<RepositoryUsage, Error> {
    let mut reader = Reader {
        repo,
        accounting: Accounting::new(repo)?,
        entries: [HashMap::new(), HashMap::new()],
        drafts: BTreeMap::new(),
        by_tag: BTreeMap::new(),
        tagged: HashMap::new(),
        about: Vec::new(),
        problems: Vec::new(),
    };
    // As a collection: refs before entries.
    let refs = [reader.accounting.refs(Category::Streams)?, reader.accounting.refs(Category::Images)?];
    let mut nameless = Vec::new();
    for category in [Category::Streams, Category::Images] {
        for entry in repo.entries(category)? {
            let Ok(id) = entry.target else { continue };
            if entry.name_str().is_none() {
                nameless.push((category, String::from_utf8_lossy(&entry.name).into_owned(), id));
            }
            if let Some(entries) = reader.entries.get_mut(at(category)) {
                entries.insert(entry.name, id);
            }
        }
    }
    let mut referrers = Vec::new();
    for (category, links) in [Category::Streams, Category::Images].into_iter().zip(refs) {
        for link in links {
            let name = String::from_utf8_lossy(&link.name).into_owned();
            let Ok(target) = link.target else { continue };
            match Referrer::parse(&name, &target).filter(|_| category == Category::Streams) {
                Some(referrer) => referrers.push((name, target, referrer)),
                None => reader.reference(category, name, &target),
            }
        }
    }
    // Collections keep what they cannot name.
    for (category, name, id) in nameless {
        let root = reader.accounting.root(Standing::Kept, category, id);
        let holder = match category {
            Category::Streams => Holder::Stream(name),
            Category::Images => Holder::Image(id),
        };
        reader.drafts.entry(holder).or_default().roots.push(root);
    }
    reader.referrers(referrers);
    reader.garbage();
    reader.finish()
}

impl Reader<'_> {
    fn entry(&self, category: Category, name: &str) -> Option<ObjectId> {
        self.entries.get(at(category))?.get(name.as_bytes()).copied()
    }

    /// Takes artifacts whose subject is kept, artifacts about these, and so on. The others are garbage.
    fn referrers(&mut self, mut waiting: Vec<(String, String, Referrer)>) {
        let mut found = true;
        while std::mem::take(&mut found) {
            for (name, target, referrer) in std::mem::take(&mut waiting) {
                let (Some(artifact), Some(digest)) =
                    (self.entry(Category::Streams, &target), ident::parse_manifest(&target))
                else {
                    self.reference(Category::Streams, name, &target);
                    continue;
                };
                let subjects: Vec<ObjectId> = referrer
                    .subjects()
                    .iter()
                    .filter_map(|subject| self.entry(Category::Streams, subject))
                    .collect();
                // A ref to what is kept anyway stays, and keeps nothing.
                if !subjects.iter().chain([&artifact]).any(|id| self.accounting.reaches(id)) {
                    waiting.push((name, target, referrer));
                    continue;
                }
                found = true;
                let root = self.accounting.root(Standing::Kept, Category::Streams, artifact);
                let draft = self.drafts.entry(Holder::Referrer(digest)).or_default();
                draft.names.push(name);
                draft.roots.push(root);
                self.about.push(About { root, artifact, subjects });
            }
        }
    }

    /// Takes a ref.
    fn reference(&mut self, category: Category, name: String, target: &str) {
        let Some(id) = self.entry(category, target) else {
            let subject = format!("{}/refs/{name}", category.directory());
            let reason = format!("it leads to `{target}`, which is not there");
            self.problems.push(Error::Damaged { subject, reason });
            return;
        };
        let root = self.accounting.root(Standing::Kept, category, id);
        let (directory, rest) = name.split_once('/').unwrap_or(("", &name));
        let tag = || composefs::name::decode_component(rest);
        let manifest = ident::parse_manifest(target);
        let (holder, name) = match (category, directory, manifest) {
            (Category::Images, MOUNTS, _) => (Holder::Mounted(id), rest.to_owned()),
            (Category::Images, ..) => (Holder::Image(id), name),
            (_, ident::TAGS, Some(digest)) => {
                self.by_tag.entry(tag()).or_default().push(root);
                self.tagged.insert(tag(), Holder::Tagged(digest.clone()));
                (Holder::Tagged(digest), tag())
            }
            (_, ident::INDEXES, _) => {
                self.by_tag.entry(tag()).or_default().push(root);
                // The refs are in order, so the tag was met before.
                match self.tagged.get(&tag()).and_then(|holder| self.drafts.get_mut(holder)) {
                    Some(draft) => return draft.roots.push(root),
                    None => (Holder::Stream(target.to_owned()), name),
                }
            }
            _ => (Holder::Stream(target.to_owned()), name),
        };
        let draft = self.drafts.entry(holder).or_default();
        draft.names.push(name);
        draft.roots.push(root);
    }

    /// Takes what has no name and is not part of something that has: indexes, then manifests, then EROFS images.
    fn garbage(&mut self) {
        let mut loose: Vec<(Holder, Category, ObjectId)> = Vec::new();
        for (category, entries) in [Category::Streams, Category::Images].into_iter().zip(&self.entries) {
            for (name, id) in entries {
                let Ok(name) = std::str::from_utf8(name) else { continue };
                let holder = match (category, ident::parse_index(name), ident::parse_manifest(name)) {
                    (Category::Images, ..) => Holder::Unnamed(*id),
                    (_, Some(digest), _) => Holder::UntaggedIndex(digest),
                    (_, _, Some(digest)) => Holder::Untagged(digest),
                    _ => continue,
                };
                if !self.accounting.reaches(id) {
                    loose.push((holder, category, *id));
                }
            }
        }
        let rank = |holder: &Holder| match holder {
            Holder::UntaggedIndex(_) => 0,
            Holder::Untagged(_) => 1,
            _ => 2,
        };
        loose.sort_by(|a, b| (rank(&a.0), &a.0).cmp(&(rank(&b.0), &b.0)));
        for (holder, category, id) in loose {
            if !self.accounting.reaches(&id) {
                let root = self.accounting.root(Standing::Garbage, category, id);
                self.drafts.entry(holder).or_default().roots.push(root);
            }
        }
    }

    fn finish(self) -> Result<RepositoryUsage, Error> {
        let Self { repo, accounting, drafts, by_tag, about, mut problems, .. } = self;
        let usage = accounting.finish()?;
        let groups: Vec<Vec<Root>> = drafts.values().map(|draft| draft.roots.clone()).collect();
        let mut shares = usage.shares(&groups);
        for (group, share) in groups.iter().zip(&mut shares) {
            let all = with_referrers(&usage, &about, group);
            if all.len() > group.len() {
                share.own = usage.shares(&[all]).first().map(|share| share.own).unwrap_or_default();
            }
        }
        let mut images = Vec::new();
        for ((holder, draft), share) in drafts.into_iter().zip(shares) {
            let apparent_bytes = match apparent(repo, &holder, &usage) {
                Ok(bytes) => bytes,
                Err(error) => {
                    problems.push(error);
                    None
                }
            };
            images.push(ImageUsage { holder, names: draft.names, share, apparent_bytes });
        }
        // By kind, then by name.
        let kind = |image: &ImageUsage| std::mem::discriminant(&image.holder);
        for run in images.chunk_by_mut(|a, b| kind(a) == kind(b)) {
            run.sort_by(|a, b| a.names.cmp(&b.names));
        }
        Ok(RepositoryUsage { images, problems, usage, by_tag, about })
    }
}

/// Adds to roots that go the artifacts that go with them.
fn with_referrers(usage: &Usage, about: &[About], roots: &[Root]) -> Vec<Root> {
    let mut gone: HashSet<Root> = roots.iter().copied().collect();
    let mut waiting: Vec<&About> = about.iter().filter(|one| !gone.contains(&one.root)).collect();
    gone.extend(waiting.iter().map(|one| one.root));
    loop {
        let before = waiting.len();
        waiting.retain(|one| {
            let is_needed =
                one.subjects.iter().chain([&one.artifact]).any(|id| usage.is_needed_without(id, &gone));
            if is_needed {
                gone.remove(&one.root);
            }
            !is_needed
        });
        if waiting.len() == before {
            return gone.into_iter().collect();
        }
    }
}

fn apparent(repo: &Repository, holder: &Holder, usage: &Usage) -> Result<Option<u64>, Error> {
    let manifest = match holder {
        Holder::Image(id) | Holder::Mounted(id) | Holder::Unnamed(id) => return Ok(usage.file_bytes(id)),
        Holder::Stream(_) | Holder::UntaggedIndex(_) => return Ok(None),
        Holder::Tagged(digest) | Holder::Referrer(digest) | Holder::Untagged(digest) => digest,
    };
    let image = StoredImage::open(repo, manifest)?;
    if !image.is_container() {
        let sizes = image.manifest().layers().iter().map(oci_spec::image::Descriptor::size);
        return Ok(Some(sizes.fold(0, u64::saturating_add)));
    }
    let is_root = |key: &str| ident::is_image_key(key) && !key.contains(".boot");
    let mut ids = image.config().refs().iter().filter(|(key, _)| is_root(key)).map(|(_, id)| id);
    Ok(ids.find_map(|id| usage.file_bytes(id)))
}

impl RepositoryUsage {
    /// Returns the images: tagged ones first, then what else is kept, last what is garbage; by name.
    #[must_use]
    pub fn images(&self) -> &[ImageUsage] {
        &self.images
    }

    /// Finds an image by a tag, a manifest's digest, or one of the other names.
    #[must_use]
    pub fn image(&self, name: &Name) -> Option<&ImageUsage> {
        let digest = match name {
            Name::Digest(digest) => Some(digest.clone()),
            Name::Text(text) => {
                if let Some(found) = self.images.iter().find(|image| image.names.contains(text)) {
                    return Some(found);
                }
                text.parse().ok()
            }
        };
        let digest = digest?;
        self.images.iter().find(|image| image.holder.manifest().is_some_and(|of| *of.digest() == digest))
    }

    /// Returns what there is in all.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        self.usage.totals()
    }

    /// Returns what could not be read, in words, each once. What only that needs counts for nobody.
    #[must_use]
    pub fn problems(&self) -> BTreeSet<String> {
        let of_streams = self.usage.problems().iter().map(|error| chain(error));
        of_streams.chain(self.problems.iter().map(|error| chain(error))).collect()
    }

    /// Returns what a collection would free if these tags went, with the indexes kept beside them and the artifacts about
    /// what is not kept then.
    #[must_use]
    pub fn freed_without(&self, tags: &[String]) -> Amount {
        self.usage.shares(&[self.roots(tags)]).first().map(|share| share.own).unwrap_or_default()
    }

    /// Tells whether a collection would free nothing, since something cannot be read that would still be needed if these
    /// tags went.
    #[must_use]
    pub fn is_held_back_without(&self, tags: &[String]) -> bool {
        self.usage.is_held_back_without(&self.roots(tags))
    }

    fn roots(&self, tags: &[String]) -> Vec<Root> {
        let roots: Vec<Root> =
            tags.iter().filter_map(|tag| self.by_tag.get(tag)).flatten().copied().collect();
        with_referrers(&self.usage, &self.about, &roots)
    }
}
