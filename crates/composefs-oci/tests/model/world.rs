//! The repository beside its model: steps done to both, and what must hold after each.

use std::{collections::BTreeSet, path::PathBuf, sync::Mutex, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use composefs::{
    digest::ObjectId,
    erofs::FormatVersion,
    name::{RefName, StreamName},
    progress::Silent,
    repo::{GcOptions, GcPlan, GcReport, Repository, Wait, Writer, lease::BootId},
};
use composefs_oci::{
    Error, ident,
    pull::{ImageBuild, Platforms, PullOptions, pull},
    rootfs::Rules,
    seal,
    stored::{StoredImage, tags},
    transport,
};
use composefs_testkit::images::noise;
use tempfile::TempDir;

use crate::{
    expected::{EARLIER_BOOT, Model, manifest_entry, referrer_ref, sealed_ref, tag_ref},
    family::{FAMILY, Kind, Name, Of, facts, open, place},
    killed::beside,
    listing::Listing,
    reach::{Reach, difference, reach, roots},
    step::{Pull, Step},
    unreliable::Unreliable,
};

/// The longest that a sweep waits for others, who are all gone.
pub(crate) const SOON: Wait = Wait::AtMost(Duration::from_secs(10));

/// A repository and what it should be.
pub(crate) struct World {
    _dir: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    writer: Option<Writer>,
    plan: Option<Planned>,
    pub(crate) model: Model,
    /// Whether objects were damaged and not mended.
    pub(crate) damaged: bool,
}

/// A collection between its plan and its sweep.
struct Planned {
    repository: Repository,
    plan: GcPlan,
}

/// What a step did that the checks after it must know.
#[derive(Default)]
pub(crate) struct Did {
    /// Objects that it was meant to take away, or might.
    pub(crate) removed: Option<BTreeSet<String>>,
    /// The roots of a collection that should have left nothing else.
    pub(crate) collected: Option<Vec<String>>,
    /// Entries may have gone.
    pub(crate) swept: bool,
}

impl World {
    pub(crate) fn new(kind: Kind) -> Self {
        let dir = TempDir::new_in(place()).unwrap();
        let path = dir.path().join("repo");
        kind.init(&path);
        Self { _dir: dir, path, kind, writer: None, plan: None, model: Model::default(), damaged: false }
    }

    pub(crate) fn reader(&self) -> Repository {
        open(&self.path)
    }

    fn writer(&mut self) -> Writer {
        let path = &self.path;
        self.writer.get_or_insert_with(|| open(path).into_writer().unwrap()).clone()
    }

    /// Ends the process that wrote.
    pub(crate) fn reopen(&mut self) {
        self.writer = None;
    }

    /// Ends all processes that use the repository.
    pub(crate) fn leave(&mut self) {
        self.writer = None;
        self.plan = None;
    }

    /// Does a step and checks what must hold after each.
    pub(crate) fn apply(&mut self, step: &Step) -> Result<()> {
        let before = Listing::read(&self.path);
        let good_before = self.damaged.then(|| self.good(&before));
        let referrers = self.model.referrers.clone();
        let did = self.perform(step, &before)?;
        let after = Listing::read(&self.path);
        if did.swept {
            self.settle_referrers(&referrers, &after, &did)?;
        }
        self.check(&before, good_before, &after, &did)
    }

    /// Artifacts whose subject has no tag go with a collection, unless an index or an option keeps what they are about.
    fn settle_referrers(&mut self, before: &BTreeSet<Name>, after: &Listing, did: &Did) -> Result<()> {
        let is_there = |name: &&Name| after.refs.contains_key(&referrer_ref(**name));
        let must_go = did.collected.as_ref().is_some_and(Vec::is_empty) && self.model.indexes.is_empty();
        for name in before.iter().filter(is_there) {
            ensure!(!must_go || self.model.keeps(*name), "{name:?} is kept, and what it is about is not");
            self.model.referrers.insert(*name);
        }
        Ok(())
    }

    fn perform(&mut self, step: &Step, before: &Listing) -> Result<Did> {
        let mut did = Did::default();
        match step {
            Step::Pull(pull) => did.swept = self.pull(pull, !self.damaged)?,
            Step::Tag { from, to } => self.tag(*from, *to)?,
            Step::Untag(tag) => self.untag(*tag)?,
            Step::Seal { tag, name } => self.seal(*tag, *name)?,
            Step::Unseal(name) => {
                if self.model.sealed.remove(name).is_some() {
                    let writer = self.writer();
                    let mut commit = writer.begin();
                    commit.remove_stream_ref(RefName::new(format!("sealed/{name}"))?);
                    commit.finish()?;
                }
            }
            Step::Mount { tag, id } => self.mount(*tag, *id, &BootId::current()?)?,
            Step::OldMount(tag) => {
                let boot = BootId::parse("00000000-0000-4000-8000-000000000000").unwrap();
                self.mount(*tag, 1, &boot)?;
            }
            Step::Unmount(id) => {
                let boot = BootId::current()?;
                let known = self.model.mounts.remove(&record(&boot, *id)).is_some();
                ensure!(self.reader().forget_mount(&boot, *id)? == known, "forgot what was not mounted");
            }
            Step::Collect => did = self.collect(None, before)?,
            Step::CollectBut(name) => did = self.collect(Some(*name), before)?,
            Step::Plan => {
                let repository = self.reader();
                let plan = GcPlan::new(&repository, &GcOptions::default())?;
                self.plan = Some(Planned { repository, plan });
            }
            Step::Sweep => {
                if let Some(Planned { repository, plan }) = self.plan.take() {
                    let planned: BTreeSet<String> =
                        plan.objects.iter().map(|garbage| garbage.id.to_hex()).collect();
                    let report = self.sweep(&repository, plan)?;
                    did = Did { swept: true, ..Did::default() };
                    drop(repository);
                    self.all_gone(&planned, &report)?;
                }
            }
            Step::Reopen => self.reopen(),
            Step::Abandon(seed) => self.abandon(*seed)?,
            Step::Damage { object, how } => did.removed = Some(self.damage(*object, *how, before)?),
            Step::Killed { step, call, nth } => did = self.killed(step, call, *nth)?,
            Step::Mend => did = self.mend()?,
        }
        Ok(did)
    }

    /// Pulls, as far as the source lets it; `must` says that nothing else can go wrong. Tells whether somebody collected
    /// meanwhile.
    pub(crate) fn pull(&mut self, asked: &Pull, must: bool) -> Result<bool> {
        let inner = transport::open(&asked.of.reference().parse()?, &transport::SourceOptions::default())?;
        if asked.meanwhile.is_some() {
            // A plan keeps the lock.
            self.plan = None;
        }
        let happened = Mutex::new(None);
        let happens = |blob| match &asked.meanwhile {
            Some((at, step)) if *at == blob && asked.remote => {
                *happened.lock().unwrap() = Some(beside(&self.path, step, &self.model));
            }
            _ => {}
        };
        let source = Unreliable::new(inner, asked.fault, asked.remote, &happens);
        let mut options = PullOptions::default()
            .platform(asked.of.platform().parse()?)
            .platforms(if asked.all { Platforms::All } else { Platforms::One })
            .image(if asked.skip { ImageBuild::Skip } else { ImageBuild::Build })
            .jobs(asked.jobs)
            .cancel(source.cancel.clone());
        options.tag = asked.tag.map(String::from);
        let path = &self.path;
        let writer = self.writer.get_or_insert_with(|| open(path).into_writer().unwrap()).clone();
        let pulled = pull(&writer, &source, &options, &Silent);
        let happened = happened.into_inner().unwrap();
        let mut swept = false;
        if let (Some(done), Some((_, step))) = (happened, &asked.meanwhile) {
            swept = matches!(**step, Step::Collect);
            match done {
                Ok(true) => self.model = self.model.after(step),
                Ok(false) => {}
                Err(_) if self.damaged => {}
                Err(error) => return Err(error.context("what others did beside")),
            }
        }
        let pulled = match pulled {
            Ok(pulled) => pulled,
            Err(error) if asked.fault.is_none() && must => return Err(error).context("a pull failed"),
            Err(_) => return Ok(swept),
        };
        let image = asked.of.image();
        ensure!(pulled.manifest.as_str() == FAMILY.manifest(image), "pulled {}", pulled.manifest);
        let facts = facts(self.kind, image);
        if !asked.skip {
            ensure!(pulled.images == facts.images, "built {:?}, and not {:?}", pulled.images, facts.images);
        }
        let all = asked.keeps_index();
        ensure!(pulled.index.is_some() == all, "the index: {:?}", pulled.index);
        self.model = self.model.after(&Step::Pull(asked.clone()));
        Ok(swept)
    }

    fn tag(&mut self, from: char, to: char) -> Result<()> {
        let Some(tagged) = self.model.tags.get(&from).copied() else { return Ok(()) };
        match tags::set(&self.writer(), &to.to_string(), &FAMILY.manifest(tagged.image).parse()?) {
            Ok(()) => {}
            Err(_) if self.damaged => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.model = self.model.after(&Step::Tag { from, to });
        Ok(())
    }

    fn untag(&mut self, tag: char) -> Result<()> {
        let known = self.model.tags.remove(&tag).is_some();
        let with_index = self.model.indexes.remove(&tag);
        match tags::remove(&self.writer(), &tag.to_string()) {
            Ok(()) => ensure!(known || with_index, "removed a tag that was not there"),
            Err(Error::NotFound(_)) => ensure!(!known && !with_index, "the tag is not found"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    pub(crate) fn seal(&mut self, tag: char, name: Option<char>) -> Result<()> {
        let Some(tagged) = self.model.tags.get(&tag).filter(|tagged| tagged.image.is_container()) else {
            return Ok(());
        };
        let image = tagged.image;
        let writer = self.writer();
        let sealed = StoredImage::open_tag(&writer, &tag.to_string())
            .and_then(|stored| seal::seal(&writer, stored.config(), Rules::Current, &Silent));
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(_) if self.damaged => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let expected = facts(self.kind, image).sealed.unwrap();
        ensure!(
            (sealed.config.to_string(), sealed.image) == expected,
            "sealed {sealed:?}, and not {expected:?}"
        );
        if let Some(name) = name {
            let mut commit = writer.begin();
            commit.stream_ref(RefName::new(format!("sealed/{name}"))?, &ident::config(&sealed.config)?);
            commit.finish()?;
            self.model.sealed.insert(name, image);
        }
        Ok(())
    }

    fn mount(&mut self, tag: char, id: u64, boot: &BootId) -> Result<()> {
        let repository = self.reader();
        let Ok(stored) = StoredImage::open_tag(&repository, &tag.to_string()) else { return Ok(()) };
        let Some(image) = stored.config().image(FormatVersion::V1) else { return Ok(()) };
        match repository.record_mount(image, boot, id) {
            Ok(recorded) => ensure!(recorded, "no record was made"),
            Err(_) if self.damaged => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.model.mounts.insert(record(boot, id), image.to_hex());
        Ok(())
    }

    pub(crate) fn collect(&mut self, but: Option<Name>, before: &Listing) -> Result<Did> {
        self.plan = None;
        let repository = self.reader();
        let root = but.map(manifest_entry);
        let mut options = GcOptions::default();
        let mut kept = Vec::new();
        if let Some(root) = root {
            let path = format!("streams/{root}");
            options = options.root(root);
            if !before.entries.contains_key(&path) {
                ensure!(GcPlan::new(&repository, &options).is_err(), "a root that is none was taken");
                return Ok(Did::default());
            }
            kept.push(path);
        }
        let plan = GcPlan::new(&repository, &options)?;
        let report = self.sweep(&repository, plan)?;
        Ok(Did { swept: true, collected: report.is_complete().then_some(kept), ..Did::default() })
    }

    /// Sweeps beside the writer if it lets us, and after it if not.
    fn sweep(&mut self, repository: &Repository, plan: GcPlan) -> Result<GcReport> {
        let sweeper = match repository.sweeper(Wait::AtMost(Duration::ZERO)) {
            Err(composefs::Error::InUse { .. }) => {
                self.reopen();
                repository.sweeper(SOON)?
            }
            sweeper => sweeper?,
        };
        let report = plan.apply(&sweeper, &Silent)?;
        ensure!(self.damaged || report.is_complete(), "unreadable: {:?}", report.unreadable);
        self.model = self.model.after(&Step::Collect);
        Ok(report)
    }

    /// What was garbage when it was looked for, and still is, must be gone.
    fn all_gone(&self, planned: &BTreeSet<String>, report: &GcReport) -> Result<()> {
        let listing = Listing::read(&self.path);
        let reach = self.reach(&self.reader(), &listing, &[]);
        let left: Vec<_> = planned
            .iter()
            .filter(|id| listing.objects.contains(*id) && !reach.objects.contains(*id))
            .collect();
        ensure!(!report.is_complete() || left.is_empty(), "garbage that was to go is still there: {left:?}");
        Ok(())
    }

    /// Stores and prepares, and dies before the commit.
    fn abandon(&mut self, seed: u8) -> Result<()> {
        let writer = self.writer();
        let stored = writer.store_bytes(&noise(u64::from(seed), 100))?;
        let mut commit = writer.begin();
        let name = StreamName::new(format!("abandoned-{seed}"))?;
        commit.stream_ref(RefName::new("oci/abandoned")?, &name).stream(name, stored.id).image(stored.id);
        let mut object = writer.object_writer(1_000)?;
        object.append(b"unfinished")?;
        drop((commit, object));
        self.reopen();
        Ok(())
    }

    /// What refs and `more` need. Records of earlier boots are no roots.
    pub(crate) fn reach(&self, repository: &Repository, listing: &Listing, more: &[String]) -> Reach {
        let refs = listing.refs.iter().filter(|(name, _)| !name.contains(EARLIER_BOOT));
        let roots = roots(refs);
        reach(repository, listing, roots.iter().chain(more).map(String::as_str))
    }

    /// The objects that are what their names say.
    fn good(&self, listing: &Listing) -> BTreeSet<String> {
        let repository = self.reader();
        let algorithm = self.kind.algorithm();
        let is_good = |id: &&String| {
            repository.check_object(&ObjectId::from_hex(algorithm, id.as_bytes()).unwrap()).is_ok()
        };
        listing.objects.iter().filter(is_good).cloned().collect()
    }

    fn check(
        &self,
        before: &Listing,
        good_before: Option<BTreeSet<String>>,
        after: &Listing,
        did: &Did,
    ) -> Result<()> {
        let expected = self.model.refs(self.kind);
        ensure!(after.refs == expected, "refs differ:{}", difference(&after.refs, &expected));
        ensure!(
            did.collected.is_none() || after.pulls.is_empty(),
            "no pull is at work, and {:?} stay",
            after.pulls
        );
        let repository = self.reader();
        let reach = self.reach(&repository, after, did.collected.as_deref().unwrap_or_default());
        if !did.swept {
            let gone: Vec<_> = before
                .objects
                .difference(&after.objects)
                .filter(|id| did.removed.as_ref().is_none_or(|removed| !removed.contains(*id)))
                .collect();
            ensure!(gone.is_empty(), "objects went, and nobody collected: {gone:?}");
            let gone: Vec<_> =
                before.entries.keys().filter(|name| !after.entries.contains_key(*name)).collect();
            ensure!(gone.is_empty(), "entries went, and nobody collected: {gone:?}");
        }
        if self.damaged {
            if let Some(good) = good_before {
                let good_now = self.good(after);
                let removed = did.removed.clone().unwrap_or_default();
                let lost: Vec<_> = good
                    .iter()
                    .filter(|id| {
                        reach.objects.contains(*id) && !good_now.contains(*id) && !removed.contains(*id)
                    })
                    .collect();
                ensure!(lost.is_empty(), "what was whole and needed is lost: {lost:?}");
            }
            return Ok(());
        }
        ensure!(reach.unreadable.is_empty(), "unreadable: {:?}", reach.unreadable);
        let lost: Vec<_> = reach.objects.difference(&after.objects).collect();
        ensure!(lost.is_empty(), "needed and lost: {lost:?}");
        let dangling: Vec<_> = after.entries.iter().filter(|(_, id)| !after.objects.contains(*id)).collect();
        ensure!(dangling.is_empty(), "entries that lead nowhere: {dangling:?}");
        if did.collected.is_some() {
            let kept: Vec<_> = after.objects.difference(&reach.objects).collect();
            ensure!(kept.is_empty(), "garbage that was kept: {kept:?}");
            for (name, id) in &before.entries {
                if reach.objects.contains(id) {
                    ensure!(after.entries.contains_key(name), "{name} went, and its object is needed");
                }
            }
        }
        self.check_tags(&repository)
    }

    /// Opens what tags lead to.
    fn check_tags(&self, repository: &Repository) -> Result<()> {
        for (tag, tagged) in &self.model.tags {
            let stored = StoredImage::open_tag(repository, &tag.to_string())
                .with_context(|| format!("{} for {tag}", tag_ref(*tag)))?;
            ensure!(stored.manifest().digest().as_str() == FAMILY.manifest(tagged.image), "{tag} is another");
            let facts = facts(self.kind, tagged.image);
            ensure!(stored.config().digest().as_str() == facts.config, "{tag} has another config");
            if tagged.image.is_container() {
                stored.config().layers().with_context(|| format!("layers of {tag}"))?;
            }
            for (version, id) in &facts.images {
                match stored.config().image(*version) {
                    Some(have) => ensure!(have == id, "{tag} has the image {have}, and should have {id}"),
                    None if tagged.built => bail!("{tag} has lost its image"),
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// Forgets names of the model, and of the repository, by hand.
    pub(crate) fn drop_names(&mut self, names: &[String]) {
        for name in names {
            std::fs::remove_file(self.path.join(name)).unwrap();
            self.model.mounts.remove(name);
            self.model.sealed.retain(|sealed, _| sealed_ref(*sealed) != *name);
        }
    }

    /// The refs that nothing but a seal or a mount keeps.
    pub(crate) fn refs_of_no_pull(&self) -> Vec<String> {
        self.model
            .sealed
            .keys()
            .map(|name| sealed_ref(*name))
            .chain(self.model.mounts.keys().cloned())
            .collect()
    }

    /// Every pull that would bring back what the tags need.
    pub(crate) fn pulls_again(&self) -> Vec<Pull> {
        let pull = |of, tag, all, built: bool| Pull { all, skip: !built, ..Pull::of(of, tag) };
        let tags = self.model.tags.iter().map(|(tag, tagged)| {
            let all = self.model.indexes.contains(tag);
            let of = if all { Of::Index { arm: tagged.image == Name::Arm } } else { Of::Image(tagged.image) };
            pull(of, Some(*tag), all, tagged.built)
        });
        tags.chain(self.model.referrers.iter().map(|name| pull(Of::Image(*name), None, false, true)))
            .collect()
    }
}

fn record(boot: &BootId, id: u64) -> String {
    format!("images/refs/x-mounts/{boot}-{id}")
}
