//! Many threads of one process on one repository: over one writer, and over one each.
//!
//! `COMPOSEFS_TEST_CONCURRENCY=N` does N times as many steps, with other dice each time.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use composefs::{
    digest::Algorithm,
    progress::{Cancel, Event, Observer, Silent},
    repo::{CheckOptions, GcOptions, GcPlan, InitOptions, OpenOptions, Repository, Wait, Writer, init},
};
use composefs_oci::{
    Error,
    pull::{PullOptions, pull},
    stored::{StoredImage, check, tags},
    transport,
};
use composefs_testkit::images::{Compression, Image, Layer, Layout, layer_of_noise as layer};
use rustix::fs::CWD;
use tempfile::TempDir;

const IMAGES: [&str; 4] = ["base", "zstd", "large", "all"];

/// No step takes so long but one that is stuck.
const STUCK: Duration = Duration::from_secs(60);

fn times() -> usize {
    std::env::var("COMPOSEFS_TEST_CONCURRENCY").map_or(1, |text| text.parse().expect("a number"))
}

struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        let other = if times() > 1 { u64::from(std::process::id()) << 16 } else { 0 };
        Self((seed ^ other).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % limit
    }
}

struct Lab {
    dir: TempDir,
    manifests: BTreeMap<&'static str, String>,
    longest: Mutex<Duration>,
}

impl Lab {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = TempDir::new_in(place).unwrap();
        let mut layout = Layout::create(dir.path().join("layout"));
        let base = layer(1, 300_000, Compression::Gzip);
        let large = layer(2, 1_200_000, Compression::Plain);
        let images = [
            Image::new([base.clone()]),
            Image::new([Layer::new(base.tar.clone(), Compression::Zstd)]),
            Image::new([base.clone(), large.clone()]),
            Image::new([base, layer(3, 5_000, Compression::Zstd), large]),
        ];
        let mut manifests = BTreeMap::new();
        for (name, image) in IMAGES.into_iter().zip(images) {
            manifests.insert(name, layout.image(name, &image).manifest.digest);
        }
        let options = InitOptions::new(Algorithm::Sha512).insecure(true);
        init(CWD, dir.path().join("repo"), &options).unwrap();
        Self { dir, manifests, longest: Mutex::default() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    fn open(&self) -> Repository {
        Repository::open(CWD, self.path(), &OpenOptions::default()).unwrap()
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = work();
        let mut longest = self.longest.lock().unwrap();
        *longest = longest.max(begin.elapsed());
        result
    }

    fn pull(&self, writer: &Writer, image: &str, tag: &str, cancel: Option<usize>) -> Result<(), Error> {
        let reference = format!("oci:{}:{image}", self.dir.path().join("layout").display());
        let source = transport::open(&reference.parse().unwrap(), &transport::SourceOptions::default())?;
        let events =
            Cancels { left: AtomicUsize::new(cancel.unwrap_or(usize::MAX)), cancel: Cancel::default() };
        let options = PullOptions::default().tag(tag).jobs(2).cancel(events.cancel.clone());
        self.timed(|| pull(writer, source.as_ref(), &options, &events)).map(|_| ())
    }

    fn clean(&self, repository: &Repository) {
        let report = self.timed(|| repository.check(&CheckOptions::default().deep(true), &Silent)).unwrap();
        assert!(report.is_ok(), "{:?}", report.findings);
        let report = check::check(repository, None).unwrap();
        assert!(report.is_ok(), "{:?}", report.findings);
    }

    /// Pulls, tags and removes under names of its own and a shared one; returns what its own tags lead to.
    fn user(&self, number: u64, shared: Option<&Writer>, steps: usize) -> BTreeMap<String, String> {
        let mut dice = Dice::new(number);
        let mut mine: BTreeMap<String, String> = BTreeMap::new();
        for _ in 0..steps {
            let own;
            let writer = match shared {
                Some(writer) => writer,
                None => {
                    own = self.open().into_writer().unwrap();
                    &own
                }
            };
            let image = IMAGES[dice.below(IMAGES.len())];
            let tag = format!("{number}-{}", dice.below(3));
            match dice.below(6) {
                0..=2 => {
                    self.pull(writer, image, &tag, None).unwrap();
                    mine.insert(tag, self.manifests[image].clone());
                }
                3 => match self.pull(writer, image, "shared", Some(dice.below(6))) {
                    Ok(()) | Err(Error::Cancelled { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                },
                4 => {
                    if let Some(digest) = mine.values().next().cloned() {
                        self.timed(|| tags::set(writer, &tag, &digest.parse().unwrap())).unwrap();
                        mine.insert(tag, digest);
                    }
                }
                _ => match self.timed(|| tags::remove(writer, &tag)) {
                    Ok(()) => assert!(mine.remove(&tag).is_some(), "{tag} was there"),
                    Err(Error::NotFound(_)) => assert!(!mine.contains_key(&tag), "{tag} was gone"),
                    Err(error) => panic!("{error:?}"),
                },
            }
        }
        mine
    }

    /// Collects whenever it is let, until told to stop; counts how often it was.
    fn collector(&self, wait: Wait, stop: &AtomicBool) -> usize {
        let mut collected = 0;
        while !stop.load(Ordering::Relaxed) {
            let repository = self.open();
            let plan = self.timed(|| GcPlan::new(&repository, &GcOptions::default())).unwrap();
            assert!(plan.is_complete(), "{:?}", plan.unreadable);
            match repository.sweeper(wait) {
                Ok(sweeper) => {
                    let report = self.timed(|| plan.apply(&sweeper, &Silent)).unwrap();
                    assert!(report.is_complete(), "{:?}", report.unreadable);
                    collected += 1;
                }
                Err(composefs::Error::InUse { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        collected
    }
}

/// Asks to stop after so many events.
struct Cancels {
    left: AtomicUsize,
    cancel: Cancel,
}

impl Observer for Cancels {
    fn event(&self, _: &Event<'_>) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            self.cancel.cancel();
        }
    }
}

fn everything_at_once(share: bool, seed: u64) {
    let lab = Lab::new();
    let writer = share.then(|| lab.open().into_writer().unwrap());
    let stop = AtomicBool::new(false);
    // A writer that stays keeps collectors away.
    let wait = if share { Wait::AtMost(Duration::from_millis(20)) } else { Wait::Forever };
    let (expected, collected) = std::thread::scope(|scope| {
        let (lab, writer) = (&lab, writer.as_ref());
        let users: Vec<_> = (0..4)
            .map(|number| scope.spawn(move || lab.user(seed * 10 + number, writer, 12 * times())))
            .collect();
        let collector = scope.spawn(|| lab.collector(wait, &stop));
        let checker = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                lab.clean(&lab.open());
            }
        });
        let users: Vec<_> = users.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        checker.join().unwrap();
        let collected = collector.join().unwrap();
        let expected: BTreeMap<String, String> = users.into_iter().flat_map(Result::unwrap).collect();
        (expected, collected)
    });
    drop(writer);
    eprintln!("{collected} collections beside; the longest step {:?}", lab.longest.lock().unwrap());
    let repository = lab.open();
    let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
    let _ = plan.apply(&repository.sweeper(Wait::AtMost(STUCK)).unwrap(), &Silent).unwrap();
    lab.clean(&repository);
    let mut found: BTreeMap<String, String> = tags::list(&repository)
        .unwrap()
        .into_iter()
        .map(|tag| (tag.name, tag.manifest.unwrap().to_string()))
        .collect();
    let manifests: BTreeSet<&String> = lab.manifests.values().collect();
    assert!(found.remove("shared").is_none_or(|digest| manifests.contains(&digest)));
    assert_eq!(found, expected, "updates that are lost");
    for tag in found.keys() {
        assert!(!StoredImage::open_tag(&repository, tag).unwrap().config().layers().unwrap().is_empty());
    }
    assert!(*lab.longest.lock().unwrap() < STUCK);
    assert!(share || collected > 0, "nobody could collect");
}

#[test]
fn over_one_writer() {
    everything_at_once(true, 1);
}

#[test]
fn over_a_writer_each() {
    everything_at_once(false, 2);
}
