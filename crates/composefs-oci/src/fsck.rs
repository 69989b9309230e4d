//! A check of all images: what `stored::check` looks at, and with `deep` whether layers and records agree.
//!
//! The repository's own check, `Repository::check`, reads what the streams hold; here nothing is read but documents
//! and, deep, the entries of layers, from which trees and image ids are made anew.
//!
//! # Format
//! `docs/formats/repository.md`, section 8.

mod images;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use composefs::{
    digest::ObjectId,
    progress::{Cancel, Event, Observer},
    repo::{Repository, fan_out},
};

use crate::{
    digest::ManifestDigest,
    error::Error,
    ident,
    stored::check::{Checked, Fault, Readable, Report, Subject, beside, check_tag, named, tags},
};

/// How thoroughly images are checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckOptions {
    /// Compute the ids of images anew and compare seals and routes, indexes and artifacts, too.
    pub deep: bool,
    /// How many threads read; at least one.
    pub threads: usize,
    /// Ends the check early. The report has what was found until then, and says so.
    pub cancel: Cancel,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self { deep: false, threads: fan_out::processors(), cancel: Cancel::default() }
    }
}

impl CheckOptions {
    /// Computes ids anew, and more.
    #[must_use]
    pub fn deep(mut self, deep: bool) -> Self {
        self.deep = deep;
        self
    }

    /// Sets how many threads read.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Sets what ends the check early.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }
}

/// So many trees are in memory at once.
const TREES_MAX: usize = 2;

/// Checks the images of all tags, or of one.
///
/// Memory: the documents of all images looked at; with [`CheckOptions::deep`] the trees of two images besides.
///
/// # Errors
/// What listing the tags gives; [`Error::NotFound`] for a tag that is not there. Damage is no error.
pub fn check(
    repo: &Repository,
    only: Option<&str>,
    options: &CheckOptions,
    observer: &dyn Observer,
) -> Result<Report, Error> {
    let tags = tags(repo, only)?;
    let work = Work { options, observer, stopped: AtomicBool::new(false) };
    let mut checked = work.each("tags", options.threads, &tags, |(tag, target)| {
        let mut checked = check_tag(repo, tag, target);
        if options.deep {
            checked.faults.extend(checked.image.iter().flat_map(routes));
            beside::check_index(repo, tag, ident::parse_manifest(target).as_ref(), &mut checked.faults);
        }
        checked
    })?;
    if options.deep {
        check_images(repo, &work, &mut checked)?;
    }
    let mut report = Report::default();
    for (at, Checked { faults, .. }) in checked {
        if let Some((tag, target)) = tags.get(at) {
            report.add(&Subject::Tag(tag.clone()), target, faults);
        }
    }
    if options.deep && only.is_none() {
        report.findings.extend(beside::check_orphans(repo, &tags)?);
    }
    report.stopped = work.stopped.into_inner();
    Ok(report)
}

/// Compares the images that configs name with what their layers give, each config once.
fn check_images(
    repo: &Repository,
    work: &Work<'_>,
    checked: &mut BTreeMap<usize, Checked>,
) -> Result<(), Error> {
    let mut configs: BTreeMap<ObjectId, &Readable> = BTreeMap::new();
    for image in checked.values().filter_map(|one| one.image.as_ref()) {
        configs.entry(image.config_stream).or_insert(image);
    }
    let list: Vec<(ObjectId, &Readable)> = configs.into_iter().collect();
    let found =
        work.each("images of tags", work.options.threads.min(TREES_MAX), &list, |(stream, image)| {
            (*stream, images::check(repo, image, &work.options.cancel))
        })?;
    let found: BTreeMap<ObjectId, Vec<Fault>> = found.into_values().collect();
    let mut manifests: BTreeMap<&ManifestDigest, &Readable> = BTreeMap::new();
    let says = |image: &&Readable| image.inline.as_ref().map_or(true, |claims| !claims.all.is_empty());
    for image in checked.values().filter_map(|one| one.image.as_ref()).filter(says) {
        manifests.entry(&image.manifest).or_insert(image);
    }
    let list: Vec<&Readable> = manifests.into_values().collect();
    let sealed = if list.is_empty() {
        BTreeMap::new()
    } else {
        work.each("seals of tags", work.options.threads.min(TREES_MAX), &list, |image| {
            (image.manifest.clone(), images::check_inline(repo, image, &work.options.cancel))
        })?
    };
    let sealed: BTreeMap<ManifestDigest, Vec<Fault>> = sealed.into_values().collect();
    for one in checked.values_mut() {
        let manifest = one.image.as_ref().map(|image| &image.manifest);
        one.faults.extend(manifest.and_then(|digest| sealed.get(digest)).into_iter().flatten().cloned());
        let stream = one.image.as_ref().map(|image| image.config_stream);
        one.faults.extend(stream.and_then(|stream| found.get(&stream)).into_iter().flatten().cloned());
    }
    Ok(())
}

/// Compares what manifest and config name for each layer.
fn routes(image: &Readable) -> Vec<Fault> {
    let differs = |diff_id: &crate::digest::DiffId| {
        let config = named(&image.config_refs, diff_id.as_str())?;
        let manifest = named(&image.manifest_refs, diff_id.as_str());
        (manifest != Some(config)).then(|| Fault::LayerRouteMismatch {
            diff_id: diff_id.clone(),
            manifest,
            config,
        })
    };
    image.config.diff_ids().iter().filter_map(differs).collect()
}

/// How it is done, whom to tell, and when to stop.
struct Work<'a> {
    options: &'a CheckOptions,
    observer: &'a dyn Observer,
    stopped: AtomicBool,
}

impl Work<'_> {
    /// Does the same with each of a list; the outcomes are by their place in it, and those of what was left out are
    /// missing.
    fn each<T: Sync, O: Send>(
        &self,
        what: &'static str,
        threads: usize,
        list: &[T],
        work: impl Fn(&T) -> O + Sync,
    ) -> Result<BTreeMap<usize, O>, Error> {
        self.observer.event(&Event::Begin { what, name: what, total: u64::try_from(list.len()).ok() });
        let outcomes = Mutex::new(BTreeMap::new());
        let numbered: Vec<(usize, &T)> = list.iter().enumerate().collect();
        let result = fan_out::each(&numbered, threads, |(number, one)| {
            if self.options.cancel.is_cancelled() {
                self.stopped.store(true, Ordering::Relaxed);
                return Ok(());
            }
            let outcome = work(one);
            if self.options.cancel.is_cancelled() {
                // It may have been cut short.
                self.stopped.store(true, Ordering::Relaxed);
            }
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(*number, outcome);
            self.observer.event(&Event::Advance { name: what, by: 1 });
            Ok(())
        });
        self.observer.event(&Event::Done { name: what });
        result?;
        Ok(outcomes.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}
