//! From what is found to steps: image by image, then what is left.

use std::collections::BTreeMap;

use composefs::repo::{
    Harm,
    check::{Fault, Finding, Level, Subject},
};

use crate::{digest::Digest, error::Error, ident};

use super::{
    RepairOptions,
    donor::Donors,
    explained::{Explained, explain},
    left::{FROM, Left, of_finding},
    look::Look,
    plan::Work,
    step::{Action, RepairStep},
    subjects::Index,
    unit::{self, Cure, Kind, Unit, Whence},
};

/// Finds out what mends what is found.
pub(super) struct Planner<'p, 'a> {
    pub(super) look: &'p Look<'p>,
    pub(super) donors: Donors<'a>,
    pub(super) options: &'p RepairOptions,
    pub(super) steps: BTreeMap<(Action, String), RepairStep>,
    pub(super) left: Vec<Left>,
    /// What images are made of.
    pub(super) covered: Explained,
    /// Of that, what cannot be mended.
    pub(super) lost: Explained,
    pub(super) work: Vec<Work>,
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

    pub(super) fn verity(&mut self) {
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

    pub(super) fn plan(&mut self, unit: &Unit) -> Result<(), Error> {
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

    pub(super) fn plan_index(&mut self, digest: &Digest, index: &Index) -> Result<(), Error> {
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
    pub(super) fn plan_rest(&mut self, findings: &[Finding]) -> Result<(), Error> {
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
