//! The plan of a repair: from findings to steps, each with where its contents come from, and what cannot be mended.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use composefs::{
    digest::ObjectId,
    progress::Observer,
    repo::{
        CheckOptions, Damage, Harm, Repository,
        check::{self, Fault, Finding, Level, Subject},
    },
};
use serde::{Serialize, Serializer};

use crate::{digest::Digest, error::Error, ident, stored};

use super::{
    RepairOptions,
    donor::{Donors, Sources},
    look::Look,
    subjects::{Index, Subjects},
    unit::{self, Cure, Kind, Unit, Whence, examine},
};

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Action {
    /// Enables fs-verity on objects where they are.
    EnableVerity,
    /// Stores a manifest, config or index.
    Document,
    /// Imports a layer or blob once more, which mends its objects and its stream.
    Layer,
    /// Builds an EROFS image from the layers.
    Image,
    /// Writes the stream of a document anew.
    Stream,
    /// Names something that is here and lost its entry.
    Entry,
    /// Removes something damaged, and names that lead nowhere, unless something needs it.
    Discard,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::EnableVerity => "enable fs-verity",
            Self::Document => "store",
            Self::Layer => "import",
            Self::Image => "build",
            Self::Stream => "rewrite",
            Self::Entry => "name",
            Self::Discard => "discard",
        })
    }
}

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RepairStep {
    /// What is done.
    pub action: Action,
    /// To what: a digest with its kind, a path below the repository.
    pub subject: String,
    /// The images it is part of, by the names that people have for them.
    pub images: Vec<String>,
    /// How many objects are known to be mended by it.
    pub objects: usize,
    /// Where its contents come from; nothing if they are here.
    pub from: Option<String>,
    /// How many bytes come from there.
    pub bytes: u64,
}

impl fmt::Display for RepairStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.action, self.subject)?;
        if !self.images.is_empty() {
            write!(f, " of {}", self.images.join(", "))?;
        }
        match self.objects {
            0 => {}
            1 => f.write_str(": 1 object")?,
            objects => write!(f, ": {objects} objects")?,
        }
        match &self.from {
            Some(from) if self.bytes > 0 => write!(f, ", {} bytes from {from}", self.bytes),
            Some(from) => write!(f, ", from {from}"),
            None => Ok(()),
        }
    }
}

/// Something that is not mended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Left {
    /// What it is about.
    pub subject: String,
    /// Why it is not mended.
    pub reason: String,
    /// What to do next.
    pub next: String,
}

impl Left {
    pub(super) fn new(
        subject: impl Into<String>,
        reason: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { subject: subject.into(), reason: reason.into(), next: next.into() }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.reason)
    }
}

/// What a repair would do. Making it reads only; [`RepairPlan::apply`] acts.
pub struct RepairPlan<'a> {
    /// The steps, in the order in which they are done.
    pub steps: Vec<RepairStep>,
    /// What cannot be mended.
    pub left: Vec<Left>,
    pub(super) damage: Damage,
    pub(super) findings: Vec<Finding>,
    /// The images that something is done for.
    pub(super) work: Vec<Work>,
    pub(super) indexes: BTreeMap<Digest, Index>,
    /// Ids and names that `left` is about.
    pub(super) explained: Explained,
    /// What the images are made of.
    pub(super) covered: Explained,
    pub(super) donors: Donors<'a>,
    pub(super) options: RepairOptions,
}

/// An image that something is done for.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) subject: unit::Subject,
    pub(super) names: Vec<String>,
    /// Its layers that are no good and can be had.
    pub(super) layers: Vec<super::unit::Layer>,
}

/// What is taken care of, or known to be lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Explained {
    pub(super) ids: BTreeSet<ObjectId>,
    pub(super) paths: BTreeSet<String>,
    pub(super) tags: BTreeSet<String>,
}

impl fmt::Debug for RepairPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepairPlan")
            .field("steps", &self.steps)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<'a> RepairPlan<'a> {
    /// Checks the repository, under its shared lock, and finds out what mends what is found. Sources are asked for
    /// documents that are lost, and for nothing else.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name that is not here, [`Error::Cancelled`], what listing directories gives. Damage is
    /// no error, and sources that cannot be read are none.
    pub fn new(
        repo: &Repository,
        sources: &'a Sources<'a>,
        options: &RepairOptions,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let check = CheckOptions::default().threads(options.jobs).deep(options.deep);
        let findings = repo.check(&check, observer)?;
        let damage = Damage::new(repo, &findings, options.jobs)?;
        let findings = findings.findings;
        let look = Look::new(repo, damage, &findings);
        let donors = Donors::new(sources, options.platform.clone());
        let mut planner = Planner {
            look: &look,
            donors,
            options,
            steps: BTreeMap::new(),
            left: Vec::new(),
            covered: Explained::default(),
            lost: Explained::default(),
            work: Vec::new(),
        };
        let subjects = Subjects::of(&look, &mut planner.donors, &options.names)?;
        planner.verity();
        for (subject, names) in &subjects.images {
            if options.cancel.is_cancelled() {
                return Err(Error::Cancelled { kept: 0 });
            }
            let unit = examine(&look, &mut planner.donors, subject, names.clone())?;
            planner.plan(&unit)?;
        }
        for (digest, index) in &subjects.indexes {
            planner.plan_index(digest, index)?;
        }
        if options.names.is_empty() {
            planner.plan_rest(&findings)?;
        }
        let Planner { donors, steps, mut left, covered, lost, work, .. } = planner;
        left.sort();
        left.dedup();
        Ok(Self {
            steps: steps.into_values().collect(),
            left,
            damage: look.damage,
            findings,
            work,
            indexes: subjects.indexes,
            explained: lost,
            covered,
            donors,
            options: options.clone(),
        })
    }

    /// Tells whether there is nothing to do and nothing that cannot be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.left.is_empty()
    }

    /// Returns how many bytes come from sources.
    #[must_use]
    pub fn bytes_to_fetch(&self) -> u64 {
        self.steps.iter().map(|step| step.bytes).fold(0, u64::saturating_add)
    }
}

struct Planner<'p, 'a> {
    look: &'p Look<'p>,
    donors: Donors<'a>,
    options: &'p RepairOptions,
    steps: BTreeMap<(Action, String), RepairStep>,
    left: Vec<Left>,
    /// What images are made of.
    covered: Explained,
    /// Of that, what cannot be mended.
    lost: Explained,
    work: Vec<Work>,
}

impl Planner<'_, '_> {
    fn step(&mut self, action: Action, subject: String, image: Option<&Unit>) -> &mut RepairStep {
        let step = self.steps.entry((action, subject.clone())).or_insert_with(|| RepairStep {
            action,
            subject,
            images: Vec::new(),
            objects: 0,
            from: None,
            bytes: 0,
        });
        if let Some(name) = image.map(Unit::describe).filter(|name| !step.images.contains(name)) {
            step.images.push(name);
        }
        step
    }

    fn verity(&mut self) {
        let without = self.look.damage.iter().filter(|(_, harm)| *harm == Harm::VerityMissing).count();
        if without > 0 && self.options.names.is_empty() {
            self.step(Action::EnableVerity, "objects".to_owned(), None).objects = without;
        }
    }

    /// What to say where nobody has something.
    fn nowhere(&self, image: Option<&Digest>) -> (String, String) {
        let next = FROM.to_owned();
        if !self.donors.failures.is_empty() {
            return (format!("no source has it ({})", self.donors.failures.join("; ")), next);
        }
        match self.donors.are_there_for(self.look.repo, image) {
            true => ("no source has it".to_owned(), next),
            false => ("it cannot be made from what is here, and no source is known".to_owned(), next),
        }
    }

    fn plan(&mut self, unit: &Unit) -> Result<(), Error> {
        let before = (self.steps.len(), self.left.len());
        let image = match &unit.subject {
            unit::Subject::Manifest(digest) => Some(digest.digest()),
            _ => None,
        };
        let mut work = Work { subject: unit.subject.clone(), names: unit.names.clone(), layers: Vec::new() };
        self.cover(unit)?;
        let mut todo = false;
        let documents = [
            unit.manifest.as_ref().map(|(manifest, text)| (format!("manifest {}", manifest.digest()), text)),
            unit.config_digest
                .as_ref()
                .zip(unit.config.as_ref())
                .map(|(digest, text)| (format!("config {digest}"), text)),
        ];
        for (subject, text) in documents.into_iter().flatten() {
            if text.whence == Whence::Place {
                continue;
            }
            let donor = match text.whence {
                Whence::Donor(donor) => Some(self.donors.name(donor).to_owned()),
                _ => None,
            };
            let size = text.bytes.len() as u64;
            let step = self.step(Action::Document, subject, Some(unit));
            step.bytes = if donor.is_some() { size } else { 0 };
            step.from = donor;
            todo = true;
        }
        for layer in &unit.layers {
            let what = if layer.kind == crate::pull::plan::LayerKind::Packed { "blob" } else { "layer" };
            let subject = format!("{what} {}", layer.key);
            let (from, bytes) = match &layer.cure {
                Cure::Whole(_) => continue,
                Cure::None => continue,
                Cure::Packed(_) => ("the copy of its blob".to_owned(), 0),
                Cure::Donor(offer) => (self.donors.name(offer.donor).to_owned(), offer.descriptor.size()),
            };
            let step = self.step(Action::Layer, subject, Some(unit));
            (step.from, step.bytes, step.objects) = (Some(from), bytes, layer.bad.len());
            work.layers.push(layer.clone());
            todo = true;
        }
        for lost in &unit.lost {
            let (reason, next) = self.nowhere(image);
            self.left.push(Left::new(format!("{lost} of {}", unit.describe()), reason, next));
        }
        todo |= self.plan_images(unit);
        todo |= self.plan_names(unit)?;
        if !unit.lost.is_empty() {
            self.lose(unit)?;
        }
        if todo || before != (self.steps.len(), self.left.len()) {
            self.work.push(work);
        }
        Ok(())
    }

    fn plan_images(&mut self, unit: &Unit) -> bool {
        let mut todo = false;
        for image in unit.images.iter().filter(|image| !image.good) {
            if unit.has_layers() {
                let step = self.step(Action::Image, format!("image {}", image.id), Some(unit));
                (step.objects, step.from) = (1, Some("its layers".to_owned()));
                todo = true;
            } else {
                let next = "mend its layers first";
                self.left.push(Left::new(
                    format!("image {} of {}", image.id, unit.describe()),
                    "its layers are not whole",
                    next,
                ));
            }
        }
        let forgotten =
            unit.kind == Kind::Container && unit.config_tables.is_none() && unit.manifest.is_some();
        if forgotten && unit.has_layers() {
            let step = self.step(Action::Image, format!("images of {}", unit.describe()), None);
            step.from = Some("its layers".to_owned());
            todo = true;
        }
        todo
    }

    fn plan_names(&mut self, unit: &Unit) -> Result<bool, Error> {
        let mut paths = Vec::new();
        if let (Some(digest), true) = (&unit.config_digest, unit.config.is_some()) {
            let name = ident::config(digest)?;
            if unit.config_changes() {
                self.step(Action::Stream, format!("streams/{name}"), Some(unit));
                return self.plan_entries(unit, paths).map(|_| true);
            }
            if !unit.config_named && unit.kind != Kind::Foreign {
                paths.push(format!("streams/{name}"));
            }
        }
        if let Some((manifest, _)) = &unit.manifest {
            let name = ident::manifest(manifest.digest())?;
            if unit.config.is_some() && unit.manifest_changes() {
                self.step(Action::Stream, format!("streams/{name}"), Some(unit));
                self.plan_entries(unit, paths)?;
                return Ok(true);
            }
        }
        self.plan_entries(unit, paths)
    }

    fn plan_entries(&mut self, unit: &Unit, mut paths: Vec<String>) -> Result<bool, Error> {
        let layers = unit.layers.iter().filter(|layer| !layer.named && matches!(layer.cure, Cure::Whole(_)));
        paths.extend(layers.map(|layer| format!("streams/{}", layer.name)));
        let images = unit.images.iter().filter(|image| image.good && !image.named);
        paths.extend(images.map(|image| format!("images/{}", image.id)));
        let todo = !paths.is_empty();
        for path in paths {
            self.step(Action::Entry, path, Some(unit));
        }
        Ok(todo)
    }

    /// Notes what an image is made of.
    fn cover(&mut self, unit: &Unit) -> Result<(), Error> {
        let explained = explain(self.look, unit)?;
        self.covered.add(explained);
        Ok(())
    }

    fn lose(&mut self, unit: &Unit) -> Result<(), Error> {
        let explained = explain(self.look, unit)?;
        self.lost.add(explained);
        Ok(())
    }

    fn plan_index(&mut self, digest: &Digest, index: &Index) -> Result<(), Error> {
        let name = ident::index(digest)?;
        self.covered.paths.insert(format!("streams/{name}"));
        let Some(bytes) = &index.bytes else {
            self.lost.paths.insert(format!("streams/{name}"));
            let (reason, next) = self.nowhere(Some(digest));
            self.left.push(Left::new(format!("index {digest} of {}", index.name), reason, next));
            return Ok(());
        };
        if let Some(donor) = index.donor {
            let (from, size) = (self.donors.name(donor).to_owned(), bytes.len() as u64);
            let step = self.step(Action::Document, format!("index {digest}"), None);
            (step.from, step.bytes) = (Some(from), size);
            step.images.push(index.name.clone());
        }
        let entry = self.look.entry(&name);
        let tables = entry.and_then(|id| self.look.tables(&id, None));
        self.covered.ids.extend(entry);
        let whole = tables.is_some_and(|tables| {
            self.look.has_all(&tables.stream) && tables.refs().iter().all(|(_, id)| self.look.good(id))
        });
        if !whole {
            self.step(Action::Stream, format!("streams/{name}"), None).images.push(index.name.clone());
        }
        Ok(())
    }

    /// What is left of the findings when the images are taken care of.
    fn plan_rest(&mut self, findings: &[Finding]) -> Result<(), Error> {
        for (id, harm) in self.look.damage.iter() {
            if harm == Harm::Damaged && !self.covered.ids.contains(id) {
                self.step(Action::Discard, format!("objects/{}", id.object_path()), None).objects = 1;
            }
        }
        for finding in findings {
            if finding.level != Level::Error || self.covered.covers(finding) {
                continue;
            }
            match &finding.subject {
                // Said by the object.
                Subject::Object(_) => {}
                Subject::Entry { .. }
                    if !matches!(finding.fault, Fault::EntryNotSymlink | Fault::Stat(_)) =>
                {
                    self.step(Action::Discard, finding.subject.to_string(), None);
                }
                _ => self.left.push(of_finding(self.look.repo, finding)),
            }
        }
        Ok(())
    }
}

/// What is not mended, as a check says it.
pub(super) fn of_finding(repo: &Repository, finding: &Finding) -> Left {
    let next = next(repo, &stored::check::Remedy::Repository(finding.remedy.clone()));
    let line = finding.to_string();
    let head = format!("fsck: {}: {}", finding.fault.kind(), finding.subject);
    let detail = line.strip_prefix(&head).unwrap_or_default();
    Left::new(finding.subject.to_string(), format!("{}{detail}", finding.fault.kind()), next)
}

/// What is not mended of a tag, as a check says it.
pub(super) fn of_oci_finding(repo: &Repository, finding: &stored::check::Finding) -> Left {
    let line = finding.to_string();
    let head = format!("fsck: {}: {}", finding.fault.kind(), finding.subject);
    let detail = line.strip_prefix(&head).unwrap_or_default();
    let reason = format!("{}{detail}", finding.fault.kind());
    Left::new(finding.subject.to_string(), reason, next(repo, &finding.remedy))
}

/// What else can be done where a repair did not help.
fn next(repo: &Repository, remedy: &stored::check::Remedy) -> String {
    if let stored::check::Remedy::Repository(check::Remedy::Repair | check::Remedy::RepairDeep) = remedy {
        return FROM.to_owned();
    }
    match remedy.command(&["cfsctl".to_owned()], repo.path()) {
        Some(command) => format!("`{}` {remedy}", command.join(" ")),
        None => remedy.to_string(),
    }
}

/// What to do where nobody has something.
pub(super) const FROM: &str = "`cfsctl repair --from REFERENCE`, with a place that has the image";

/// Returns the ids and names that an image is made of.
pub(super) fn explain(look: &Look<'_>, unit: &Unit) -> Result<Explained, Error> {
    let mut explained = Explained::default();
    explained.tags.extend(unit.names.iter().cloned());
    let mut stream = |name: composefs::name::StreamName| {
        let entry = look.entry(&name);
        explained.ids.extend(entry);
        if let Some(tables) = entry.and_then(|id| look.tables(&id, None)) {
            explained.ids.extend(tables.stream.object_refs().iter());
            explained.ids.extend(tables.refs().into_iter().map(|(_, id)| id));
        }
        explained.paths.insert(format!("streams/{name}"));
    };
    if let unit::Subject::Manifest(digest) = &unit.subject {
        stream(ident::manifest(digest)?);
    }
    if let Some(digest) = &unit.config_digest {
        stream(ident::config(digest)?);
        stream(ident::blob(&crate::digest::BlobDigest::new(digest.digest().clone()))?);
    }
    for layer in &unit.layers {
        stream(layer.name.clone());
    }
    for layer in &unit.layers {
        explained.ids.extend(&layer.bad);
    }
    for tables in [&unit.manifest_tables, &unit.config_tables].into_iter().flatten() {
        explained.ids.insert(tables.id);
        explained.ids.extend(tables.stream.object_refs().iter());
        explained.ids.extend(tables.refs().into_iter().map(|(_, id)| id));
    }
    for image in &unit.images {
        explained.ids.insert(image.id);
        explained.paths.insert(format!("images/{}", image.id));
    }
    Ok(explained)
}

impl Explained {
    fn add(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.paths.extend(other.paths);
        self.tags.extend(other.tags);
    }

    /// Tells whether a finding is about something in here.
    pub(super) fn covers(&self, finding: &Finding) -> bool {
        match &finding.subject {
            Subject::Object(id) => return self.ids.contains(id),
            Subject::Entry { .. } if self.paths.contains(&finding.subject.to_string()) => return true,
            Subject::Ref { category, entry: Some(entry), .. } => {
                return self.paths.contains(&format!("{}/{entry}", category.directory()));
            }
            _ => {}
        }
        finding.fault.object().is_some_and(|id| self.ids.contains(id))
    }
}

impl fmt::Display for RepairPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing to mend");
        }
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        for left in &self.left {
            writeln!(f, "cannot be mended: {left}")?;
        }
        write!(f, "{} steps, {} bytes to fetch", self.steps.len(), self.bytes_to_fetch())
    }
}

impl Serialize for RepairPlan<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Plan<'a> {
            steps: &'a [RepairStep],
            left: &'a [Left],
            bytes_to_fetch: u64,
        }
        Plan { steps: &self.steps, left: &self.left, bytes_to_fetch: self.bytes_to_fetch() }
            .serialize(serializer)
    }
}
