//! Collections of garbage while a pull waits for its data: they need not wait, and take nothing that the image needs.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use composefs::{
    progress::Silent,
    repo::{GcOptions, GcPlan, GcReport, OpenOptions, Repository, Wait},
};
use composefs_oci::{
    Error,
    model::{Descriptor, platform::Platform},
    pull::{Platforms, PullOptions, Pulled, pull},
    stored::tags,
    transport::{self, Chosen, Document, Root, Source},
};
use composefs_testkit::images::{Compression, Image, Layer};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};

use crate::lab::{Heard, Lab, layer};

/// A medium that lets something happen before it gives a blob.
struct Waits<'a> {
    inner: Box<dyn Source>,
    blobs: AtomicUsize,
    happens: &'a (dyn Fn(usize) + Sync),
}

impl Source for Waits<'_> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn root(&self) -> Result<Root, Error> {
        self.inner.root()
    }

    fn document(&self, descriptor: &Descriptor, max: u64) -> Result<Document, Error> {
        self.inner.document(descriptor, max)
    }

    fn waits(&self) -> bool {
        true
    }

    fn manifest(&self, platform: &Platform) -> Result<Chosen, Error> {
        self.inner.manifest(platform)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        (self.happens)(self.blobs.fetch_add(1, Ordering::Relaxed) + 1);
        self.inner.blob(descriptor)
    }
}

/// Pulls `tag`; `happens` is called with the number of the blob that is asked for.
fn pull_while(
    lab: &Lab,
    tag: &str,
    platforms: Platforms,
    observer: &Heard,
    happens: &(dyn Fn(usize) + Sync),
) -> Result<Pulled, Error> {
    let reference = lab.layout.reference(tag).parse().unwrap();
    let inner = transport::open(&reference, &transport::SourceOptions::default()).unwrap();
    let source = Waits { inner, blobs: AtomicUsize::new(0), happens };
    let mut options = PullOptions::default().tag(tag).jobs(1).platforms(platforms);
    options.platform = "linux/amd64".parse().unwrap();
    pull(&lab.writer, &source, &options, observer)
}

/// Collects as another process of ours does; the lock must be free.
fn collect(repo: &Path) -> GcReport {
    let repository = Repository::open(CWD, repo, &OpenOptions::default()).unwrap();
    let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
    let wait = Wait::AtMost(Duration::from_secs(5));
    plan.apply(&repository.sweeper(wait).unwrap(), &Silent).unwrap()
}

/// Collects as others do, who know of no records: with no ref to a tag everything goes, some of it only if they are
/// cut short.
fn take_everything(repo: &Path, but: usize) {
    let lock = openat(CWD, repo, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let names = |below: &str| -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = std::fs::read_dir(repo.join(below))
            .map(|list| list.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        all.sort();
        all
    };
    for entry in names("streams").into_iter().chain(names("images")).filter(|path| path.is_symlink()) {
        std::fs::remove_file(entry).unwrap();
    }
    let objects: Vec<PathBuf> = names("objects")
        .iter()
        .flat_map(|directory| names(&format!("objects/{}", directory.file_name().unwrap().to_str().unwrap())))
        .collect();
    for object in objects.iter().skip(but) {
        std::fs::remove_file(object).unwrap();
    }
}

fn layers(seeds: &[u64]) -> Vec<Layer> {
    seeds
        .iter()
        .map(|seed| layer(*seed, 300_000 + usize::try_from(*seed).unwrap(), Compression::Gzip))
        .collect()
}

fn nothing_left(lab: &Lab) {
    for directory in [".cfs/pulls", "streams/refs/x-pulls"] {
        let left = std::fs::read_dir(lab.repo().join(directory)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{directory}");
    }
}

#[test]
fn ours_spares_what_has_come_and_takes_what_was_found() {
    let mut lab = Lab::new();
    let common = layers(&[1, 2]);
    lab.pull_image("old", &Image::new(common.clone())).unwrap();
    tags::remove(&lab.writer, "old").unwrap();
    lab.reopen();
    let own = layers(&[3, 4, 5]);
    lab.layout.image("new", &Image::new(common.into_iter().chain(own)));
    // What was made before is older than the pull, whatever the file system's clock.
    std::thread::sleep(Duration::from_millis(20));
    let heard = Heard::default();
    let reports = Mutex::new(Vec::new());
    let repo = lab.repo();
    let pulled = pull_while(&lab, "new", Platforms::One, &heard, &|blob| {
        if blob == 3 {
            reports.lock().unwrap().push(collect(&repo));
        }
    })
    .unwrap();
    // The layers of the old image were here and went; the two that had come stayed.
    let reports = reports.into_inner().unwrap();
    assert!(reports[0].objects_removed > 4, "{reports:?}");
    assert_eq!(heard.starting("warning others have collected").len(), 1);
    assert_eq!(pulled.images.len(), 1);
    nothing_left(&lab);
    lab.clean();
    assert_eq!(collect_when_idle(&mut lab).objects_removed, 0);
}

/// Collects when no writer is there.
fn collect_when_idle(lab: &mut Lab) -> GcReport {
    let repo = lab.repo();
    let writer = std::mem::replace(&mut lab.writer, Lab::new().writer);
    drop(writer);
    let report = collect(&repo);
    lab.reopen();
    report
}

#[test]
fn whatever_others_take_comes_again() {
    for platforms in [Platforms::One, Platforms::All] {
        for at in 1..=4 {
            for but in [0, 3] {
                let mut lab = Lab::new();
                lab.pull_image("old", &Image::new(layers(&[1]))).unwrap();
                tags::remove(&lab.writer, "old").unwrap();
                lab.reopen();
                let images = [("amd64", &[1, 2, 3][..]), ("arm64", &[5])].map(|(architecture, seeds)| {
                    let image = Image::new(layers(seeds)).platform(architecture, None);
                    lab.layout.image(architecture, &image)
                });
                lab.layout.index("new", &images);
                let heard = Heard::default();
                let repo = lab.repo();
                let pulled = pull_while(&lab, "new", platforms, &heard, &|blob| {
                    if blob == at {
                        take_everything(&repo, but);
                    }
                });
                let what = format!("{platforms:?} at {at} but {but}");
                pulled.unwrap_or_else(|error| panic!("{what}: {}", composefs_testkit::chain(&error)));
                nothing_left(&lab);
                lab.clean();
                collect_when_idle(&mut lab);
                assert_eq!(lab.tags(), ["new"], "{what}");
                lab.clean();
            }
        }
    }
}

#[test]
fn those_who_never_stop_are_told_of() {
    let mut lab = Lab::new();
    lab.layout.image("x", &Image::new(layers(&[1, 2])));
    let repo = Arc::new(lab.repo());
    let error =
        pull_while(&lab, "x", Platforms::One, &Heard::default(), &|_| take_everything(&repo, 0)).unwrap_err();
    assert_eq!(error.to_string(), "what was fetched was collected by others 8 times in a row");
    assert!(lab.tags().is_empty());
    nothing_left(&lab);
    lab.clean();
    lab.reopen();
    lab.pull("x").unwrap();
}

#[test]
fn an_image_that_is_here_is_looked_at_once() {
    let mut lab = Lab::new();
    lab.pull_image("x", &Image::new(layers(&[1]))).unwrap();
    lab.reopen();
    let heard = Heard::default();
    pull_while(&lab, "x", Platforms::One, &heard, &|_| panic!("nothing is to come")).unwrap();
    nothing_left(&lab);
}
