//! Doing what a plan says: fs-verity, layers, then each image's documents, images and names, and last what nothing needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::Read,
    time::Duration,
};

use composefs::{
    digest::ObjectId,
    error::{Category, chain},
    progress::{Event, Observer},
    repo::{
        CheckOptions, Harm, Repository, Wait, Writer,
        check::{Level, Reason},
    },
};
use oci_spec::image::Descriptor;
use serde::Serialize;

use crate::{
    error::Error,
    model::platform::Platform,
    pull::{
        PullOptions,
        layers::{self, Context, Fresh},
        plan::{LayerState, PlannedLayer},
        present,
    },
    stored::check,
    transport::{Chosen, Root, Source, digest_of},
};

use super::{
    explained::explain,
    finish,
    left::{FROM, Left, of_finding, of_oci_finding},
    look::Look,
    plan::RepairPlan,
    unit::{Cure, Layer, examine},
};

/// How long the removal of what nothing needs waits for other users of the repository.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often layers are fetched while others collect them again.
const ROUNDS: u32 = 8;

/// What a repair did.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct RepairReport {
    /// Objects that were no good and are.
    pub objects_mended: usize,
    /// Of these, objects that only lacked fs-verity.
    pub verity_enabled: usize,
    /// Layers and blobs that were imported once more.
    pub layers_imported: usize,
    /// Images that were built.
    pub images_built: usize,
    /// Streams of documents that were written anew.
    pub streams_rewritten: usize,
    /// Paths of what was damaged and not needed, removed.
    pub discarded: Vec<String>,
    /// What is not mended.
    pub left: Vec<Left>,
}

impl RepairReport {
    /// Tells whether nothing is left to mend.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.left.is_empty()
    }
}

impl fmt::Display for RepairReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "objects mended: {} ({} by fs-verity alone)\nlayers imported: {}\nimages built: {}\nstreams rewritten: {}\nremoved as damaged and not needed: {}",
            self.objects_mended,
            self.verity_enabled,
            self.layers_imported,
            self.images_built,
            self.streams_rewritten,
            self.discarded.len()
        )
    }
}

impl RepairPlan<'_> {
    /// Mends what can be mended, and looks afterwards at everything that was no good.
    ///
    /// Layers from a medium that may take long come without the lock, as in a pull. What others collect meanwhile is
    /// fetched again; nothing gets a name that is not whole then.
    ///
    /// The writer must be the only one of its handle: removing takes the lock of all. When others use the repository
    /// meanwhile, what is damaged and not needed stays for the next collection.
    ///
    /// # Errors
    /// [`Error::Cancelled`], and what storing and syncing give; what was mended by then stays so, and a repair that is
    /// run again goes on from there. What cannot be mended is in the report.
    pub fn apply(mut self, writer: Writer, observer: &dyn Observer) -> Result<RepairReport, Error> {
        let mut report = RepairReport::default();
        let mut left: Vec<Left> = std::mem::take(&mut self.left);
        let bad: Vec<(ObjectId, Harm)> = self.damage.iter().map(|(id, harm)| (*id, harm)).collect();
        for (id, harm) in &bad {
            if *harm == Harm::Damaged {
                writer.distrust(id);
            }
        }
        self.enable_verity(&writer, &mut report, &mut left);
        self.import(&writer, &mut report, &mut left, observer)?;
        self.finish_images(&writer, &mut report, &mut left, observer)?;
        let repo = writer.repository().clone();
        // What was mended where entries lead to already is durable with this.
        writer.begin().finish()?;
        drop(writer);
        discard(&repo, &bad, &mut report, &mut left, observer)?;
        self.look_again(&repo, &bad, &mut report, &mut left, observer)?;
        left.sort();
        left.dedup();
        report.left = left;
        Ok(report)
    }

    fn stop_if_asked(&self) -> Result<(), Error> {
        if self.options.cancel.is_cancelled() { Err(Error::Cancelled { kept: 0 }) } else { Ok(()) }
    }

    fn enable_verity(&mut self, writer: &Writer, report: &mut RepairReport, left: &mut Vec<Left>) {
        if !self.options.names.is_empty() {
            return;
        }
        let without: Vec<ObjectId> =
            self.damage.iter().filter(|(_, harm)| *harm == Harm::VerityMissing).map(|(id, _)| *id).collect();
        for id in without {
            match writer.enable_verity(&id) {
                Ok(_) => {
                    self.damage.mended(&id);
                    report.verity_enabled += 1;
                }
                // Changed since it was looked at; then it is to be had anew.
                Err(composefs::Error::ObjectMismatch { .. }) => self.damage.add(id, Harm::Damaged),
                Err(error) => left.push(Left::new(
                    format!("objects/{}", id.object_path()),
                    chain(&error),
                    "run `cfsctl repair` again",
                )),
            }
        }
    }

    /// Imports what comes from donors and from copies, each layer once, by donor.
    fn import(
        &mut self,
        writer: &Writer,
        report: &mut RepairReport,
        left: &mut Vec<Left>,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let mut groups: BTreeMap<Option<usize>, Vec<PlannedLayer>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let (mut pieces, mut bytes) = (0_u64, 0_u64);
        for layer in self.work.iter().flat_map(|work| &work.layers) {
            if !seen.insert(layer.name.clone()) {
                continue;
            }
            let Some((donor, planned)) = planned(layer) else { continue };
            pieces += 1;
            bytes = bytes.saturating_add(planned.descriptor().size());
            groups.entry(donor).or_default().push(planned);
        }
        if pieces > 0 {
            observer.event(&Event::Plan { what: "layer", pieces, bytes });
        }
        let options = PullOptions::default()
            .jobs(self.options.jobs)
            .mode(self.options.mode)
            .cancel(self.options.cancel.clone());
        let session = writer.session()?;
        let mut good = Vec::new();
        for (donor, planned) in groups {
            let nowhere = Nowhere;
            let source = donor.and_then(|donor| self.donors.source(donor)).unwrap_or(&nowhere);
            let context = Context { writer, session: &session, source, options: &options, observer };
            match import_layers(&context, &planned, report, &mut good) {
                Ok(()) => {}
                Err(error @ (Error::Cancelled { .. } | Error::Repository(_))) => return Err(error),
                // One that cannot be had is no reason to do without the others.
                Err(_) => good.extend(import_singly(&context, &planned, report, left)?),
            }
        }
        good.iter().for_each(|id| self.damage.mended(id));
        Ok(())
    }

    fn finish_images(
        &mut self,
        writer: &Writer,
        report: &mut RepairReport,
        left: &mut Vec<Left>,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let damage = self.damage.clone();
        let mut look = Look::new(writer.repository(), damage, &self.findings);
        look.forget_wrong(self.work.iter().flat_map(|work| &work.layers).map(|layer| layer.name.as_str()));
        for work in std::mem::take(&mut self.work) {
            self.stop_if_asked()?;
            let unit = examine(&look, &mut self.donors, &work.subject, work.names.clone())?;
            let mended = finish::image(writer, &unit, &self.options, report, left, observer)?;
            mended.iter().for_each(|id| look.damage.mended(id));
            if !unit.lost.is_empty() {
                let explained = explain(&look, &unit)?;
                self.explained.ids.extend(explained.ids);
                self.explained.paths.extend(explained.paths);
                self.explained.tags.extend(explained.tags);
            }
        }
        for (digest, index) in &self.indexes {
            let mended = finish::index(writer, &look, digest, index, report)?;
            mended.iter().for_each(|id| look.damage.mended(id));
        }
        Ok(())
    }

    /// Checks what was found bad, all names, and the images; what is still wrong and not said yet is said.
    fn look_again(
        &self,
        repo: &Repository,
        bad: &[(ObjectId, Harm)],
        report: &mut RepairReport,
        left: &mut Vec<Left>,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        for (id, harm) in bad {
            if !self.options.names.is_empty() && !self.covered.ids.contains(id) {
                continue;
            }
            match repo.read_through(id) {
                Ok(_) => report.objects_mended += 1,
                Err(error) if error.is_missing() => {}
                Err(_) if *harm == Harm::VerityMissing && !self.options.names.is_empty() => {}
                Err(error) if !self.explained.ids.contains(id) => {
                    let next = "`cfsctl repair --from REFERENCE`, or `cfsctl gc` if nothing needs it";
                    let subject = format!("objects/{}", id.object_path());
                    if !left.iter().any(|left| left.subject == subject) {
                        left.push(Left::new(subject, chain(&error), next));
                    }
                }
                Err(_) => {}
            }
        }
        if !self.options.names.is_empty() {
            return Ok(());
        }
        let check = CheckOptions::default().metadata_only(true).threads(self.options.jobs);
        let now = repo.check(&check, observer)?;
        for finding in now.findings.iter().filter(|finding| finding.level == Level::Error) {
            let subject = finding.subject.to_string();
            let said = left.iter().any(|left| left.subject == subject);
            if !said && !self.explained.covers(finding) {
                left.push(of_finding(repo, finding));
            }
        }
        for finding in check::check(repo, None)?.findings {
            let explained = match &finding.subject {
                check::Subject::Tag(tag) => self.explained.tags.contains(tag),
                _ => false,
            };
            if finding.level == Level::Error && !explained {
                left.push(of_oci_finding(repo, &finding));
            }
        }
        Ok(())
    }
}

/// Imports layers and names them; some may have got their names when another fails.
fn import_layers(
    context: &Context<'_>,
    planned: &[PlannedLayer],
    report: &mut RepairReport,
    good: &mut Vec<ObjectId>,
) -> Result<(), Error> {
    let Context { writer, session, source, observer, .. } = *context;
    let mut commit = writer.begin();
    let mut todo = planned.to_vec();
    for _ in 0..ROUNDS {
        let before = session.releases();
        let imported = match source.waits() {
            true => session.without_lock(|| layers::import(context, &todo, Fresh::new(), &mut commit))??,
            false => layers::import(context, &todo, Fresh::new(), &mut commit)?,
        };
        let may_be_gone = session.releases() != before;
        let mut whole = Vec::new();
        let mut gone = Vec::new();
        for (layer, id) in todo.into_iter().zip(imported.streams) {
            match may_be_gone && !present::is_whole(writer, &id)? {
                true => gone.push(layer),
                false => whole.push((layer.name().clone(), id)),
            }
        }
        layers::register(&mut commit, &whole);
        commit.checkpoint()?;
        for (_, id) in whole {
            note_imported(writer, &id, report, good)?;
        }
        if gone.is_empty() {
            return Ok(());
        }
        let text = "others have collected garbage, and some of what had come; it is fetched again";
        observer.event(&Event::Warning { text });
        todo = gone;
    }
    Err(Error::Collected { rounds: ROUNDS })
}

/// Imports layers one after the other, each for itself.
fn import_singly(
    context: &Context<'_>,
    planned: &[PlannedLayer],
    report: &mut RepairReport,
    left: &mut Vec<Left>,
) -> Result<Vec<ObjectId>, Error> {
    let writer = context.writer;
    let mut good = Vec::new();
    for layer in planned {
        // Those that were whole before another failed have been named.
        if let Some(id) = writer.stream_entry(layer.name())?.filter(|id| is_whole(writer, id)) {
            note_imported(writer, &id, report, &mut good)?;
            continue;
        }
        match import_layers(context, std::slice::from_ref(layer), report, &mut good) {
            Ok(()) => {}
            Err(error @ (Error::Cancelled { .. } | Error::Repository(_))) => return Err(error),
            Err(error) => {
                left.push(Left::new(format!("streams/{}", layer.name()), chain(&error), FROM));
            }
        }
    }
    Ok(good)
}

/// Notes that a layer is good, with all its objects.
fn note_imported(
    writer: &Writer,
    id: &ObjectId,
    report: &mut RepairReport,
    good: &mut Vec<ObjectId>,
) -> Result<(), Error> {
    report.layers_imported += 1;
    good.push(*id);
    good.extend(writer.open_stream(id)?.object_refs().iter());
    Ok(())
}

/// Tells whether a stream is good with all its objects, by reading them.
fn is_whole(repo: &Repository, id: &ObjectId) -> bool {
    repo.read_through(id).is_ok()
        && repo
            .open_stream(id)
            .is_ok_and(|stream| stream.object_refs().iter().all(|object| repo.read_through(&object).is_ok()))
}

/// Removes what is damaged still and what leads nowhere, if nothing needs it.
fn discard(
    repo: &Repository,
    bad: &[(ObjectId, Harm)],
    report: &mut RepairReport,
    left: &mut Vec<Left>,
    observer: &dyn Observer,
) -> Result<(), Error> {
    let mut useless: BTreeSet<ObjectId> = bad
        .iter()
        .filter(|(id, harm)| *harm == Harm::Damaged && repo.read_through(id).is_err())
        .map(|(id, _)| *id)
        .collect();
    let mut broken = false;
    let mut known = Vec::new();
    for category in Category::ALL {
        for entry in repo.entries(category)? {
            let Ok(id) = entry.target else { continue };
            broken |= !repo.has_object(&id)?;
            let needs = match category {
                Category::Streams => repo.open_stream(&id).map(|stream| {
                    let named = stream.named_refs().map(|(_, id)| id);
                    stream.object_refs().iter().chain(named).collect::<Vec<_>>()
                }),
                Category::Images => repo.image_objects(&id),
            };
            match needs {
                Ok(needs) => known.push((id, needs)),
                // What is damaged is said elsewhere; what could not be read just now is said here.
                Err(error) if Reason::of(&error).is_io => left.push(unreadable(&id, &error)),
                Err(_) => {}
            }
        }
    }
    let needed: BTreeSet<ObjectId> = known.iter().flat_map(|(_, needs)| needs).copied().collect();
    let missing: BTreeSet<ObjectId> =
        needed.into_iter().filter(|object| !repo.has_object(object).unwrap_or(true)).collect();
    // What needs something useless is so itself, and so on.
    loop {
        let before = useless.len();
        for (id, needs) in &known {
            let lacks = |object: &ObjectId| useless.contains(object) || missing.contains(object);
            if !useless.contains(id) && needs.iter().any(lacks) {
                useless.insert(*id);
            }
        }
        if useless.len() == before {
            break;
        }
    }
    if useless.is_empty() && !broken {
        return Ok(());
    }
    match repo.sweeper(Wait::AtMost(PATIENCE)) {
        Ok(sweeper) => {
            let discarded = sweeper.discard(&useless, observer)?;
            report.discarded = discarded.paths;
            let failed = discarded.unreadable.iter();
            let failed = failed.filter(|one| Reason::of(&one.error).is_io);
            left.extend(failed.map(|one| unreadable(&one.id, &one.error)));
        }
        Err(error @ (composefs::Error::InUse { .. } | composefs::Error::InUseHere { .. })) => {
            left.push(Left::new("what is damaged and not needed", chain(&error), "`cfsctl gc`, later"));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn unreadable(id: &ObjectId, error: &composefs::Error) -> Left {
    let next = composefs::repo::check::Remedy::CheckFileSystem.to_string();
    Left::new(format!("objects/{}", id.object_path()), chain(error), next)
}

/// Returns a layer as an import wants it, and which donor it comes from.
fn planned(layer: &Layer) -> Option<(Option<usize>, PlannedLayer)> {
    let (donor, state) = match &layer.cure {
        Cure::Packed(object) => (None, LayerState::Packed(*object)),
        Cure::Donor(offer) => (Some(offer.donor), LayerState::Comes),
        Cure::Whole(_) | Cure::None => return None,
    };
    let descriptor = layer.descriptor.clone()?;
    Some((donor, PlannedLayer::again(descriptor, layer.kind, layer.key.clone(), layer.name.clone(), state)))
}

/// A medium with nothing on it.
struct Nowhere;

impl Source for Nowhere {
    fn describe(&self) -> String {
        "nowhere".to_owned()
    }

    fn root(&self) -> Result<Root, Error> {
        Err(Error::NotFound(self.describe()))
    }

    fn manifest(&self, _platform: &Platform) -> Result<Chosen, Error> {
        Err(Error::NotFound(self.describe()))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        Err(Error::BlobMissing { digest: digest_of(descriptor)?, place: "no source is known".to_owned() })
    }
}
