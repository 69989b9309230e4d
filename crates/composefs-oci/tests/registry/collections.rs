//! Collections of garbage while a registry keeps a pull waiting: they end at once, and the pull ends whole.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use composefs::{
    progress::Silent,
    repo::{CheckOptions, GcOptions, GcPlan, OpenOptions, Repository, Wait},
};
use composefs_oci::{
    pull::{PullOptions, pull},
    stored::{check, tags},
    transport::{SourceOptions, open},
};
use composefs_testkit::{
    images::{Compression, Image, Layer},
    peers,
    registry::{Fault, Registry, RegistryOptions as Settings, Rule},
};
use rustix::fs::CWD;
use tempfile::TempDir;

use crate::lab::{Heard, amd64, layer, options, writer};

/// Pulls an image of which half is here and without a name, has `collect` called while the last layer stalls, and
/// checks what comes of it. Returns how often layers were fetched again.
fn pull_during(collect: &dyn Fn(&Path)) -> usize {
    let registry = Registry::start(Settings::default());
    let layers: Vec<Layer> = (1..=4).map(|seed| layer(seed, 400_000, Compression::Gzip)).collect();
    registry.add_image("app", "old", &Image::new(layers[..2].to_vec()));
    registry.add_image("app", "new", &Image::new(layers.clone()));
    let dir = TempDir::new().unwrap();
    let repo = dir.path().join("repo");
    let source = |tag: &str| {
        let reference = registry.reference(&format!("app:{tag}")).parse().unwrap();
        open(&reference, &SourceOptions::default().registry(options())).unwrap()
    };
    {
        let writer = writer(&repo);
        let old = PullOptions::default().tag("old").platform(amd64());
        pull(&writer, source("old").as_ref(), &old, &Silent).unwrap();
        tags::remove(&writer, "old").unwrap();
    }
    // What was made before is older than the pull, whatever the file system's clock.
    std::thread::sleep(Duration::from_millis(20));
    let stalls = &layers[3].digest;
    registry.inject(Rule::new(stalls, Fault::Stall(1000, None)));
    let writer = Repository::open(CWD, &repo, &OpenOptions::default()).unwrap().into_writer().unwrap();
    let new = source("new");
    let heard = Heard::default();
    let wanted = PullOptions::default().tag("new").platform(amd64()).jobs(2);
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| pull(&writer, new.as_ref(), &wanted, &heard));
        while registry.sent_bytes(stalls) == 0 {
            std::thread::yield_now();
        }
        let begin = Instant::now();
        collect(&repo);
        let took = begin.elapsed();
        assert!(!pulling.is_finished());
        // Seconds, on a machine that does much besides: without this it would be for ever.
        assert!(took < Duration::from_secs(60), "{took:?}");
        registry.heal();
        registry.release();
        pulling.join().unwrap().unwrap();
    });
    drop(writer);
    let repository = Repository::open(CWD, &repo, &OpenOptions::default()).unwrap();
    let report = repository.check(&CheckOptions::default().deep(true), &Silent).unwrap();
    assert!(report.is_ok(), "{:?}", report.findings);
    let report = check::check(&repository, None).unwrap();
    assert!(report.is_ok(), "{:?}", report.findings);
    for directory in [".cfs/pulls", "streams/refs/x-pulls"] {
        assert_eq!(std::fs::read_dir(repo.join(directory)).map_or(0, Iterator::count), 0, "{directory}");
    }
    heard.all().lines().filter(|line| line.contains("fetched again")).count()
}

#[test]
fn ours() {
    let again = pull_during(&|repo| {
        let repository = Repository::open(CWD, repo, &OpenOptions::default()).unwrap();
        let plan = GcPlan::new(&repository, &GcOptions::default()).unwrap();
        let wait = Wait::AtMost(Duration::from_secs(20));
        let report = plan.apply(&repository.sweeper(wait).unwrap(), &Silent).unwrap();
        assert!(report.objects_removed > 0 && report.is_complete(), "{report:?}");
    });
    assert_eq!(again, 1, "the layers of the old image went");
}

#[test]
fn of_cfsctl_0_9() {
    let Some(cfsctl) = peers::cfsctl_or_skip() else { return };
    let again = pull_during(&|repo| {
        let output = Command::new(&cfsctl).arg("--repo").arg(repo).arg("gc").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains(": 0 removed"), "{output:?}");
    });
    assert_eq!(again, 1);
}
