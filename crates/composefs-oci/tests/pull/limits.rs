//! Making a store fit, and keeping what is young.

use std::{
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use composefs::{
    progress::Silent,
    repo::{GcOptions, GcPlan, GcReport, Limit, Repository, Wait, lease::BootId},
};
use composefs_oci::{
    pull::Pulled,
    stored::{
        tags,
        unused::{Named, least_recently_used},
    },
};
use composefs_testkit::images::{Compression, Image};

use crate::lab::{Lab, layer};

/// Three images of about 300 kB each: `a` was used last on the third of January 2026, `b` on the second, and `c`, which
/// has no tag any more, on the first.
struct Store {
    lab: Lab,
    pulled: Vec<Pulled>,
}

fn touch(path: &Path, day: u32) {
    let day = format!("2026-01-{day:02}T12:00:00Z");
    assert!(Command::new("touch").args(["-h", "-d", &day]).arg(path).status().unwrap().success());
}

fn touch_all(directory: &Path, day: u32) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            touch_all(&entry.path(), day);
        } else {
            touch(&entry.path(), day);
        }
    }
}

impl Store {
    fn new() -> Self {
        let mut lab = Lab::new();
        let mut pulled = Vec::new();
        for (seed, tag) in [(1, "a"), (2, "b"), (3, "c")] {
            let image = Image::new([layer(seed, 300_000, Compression::Gzip)]);
            pulled.push(lab.pull_image(tag, &image).unwrap());
        }
        tags::remove(&lab.writer, "c").unwrap();
        lab.reopen();
        let repo = lab.repo();
        for directory in ["streams", "images"] {
            touch_all(&repo.join(directory), 1);
        }
        for (pulled, day) in pulled.iter().zip([3, 2, 1]) {
            touch(&repo.join(format!(".cfs/used/oci-manifest-{}", pulled.manifest)), day);
        }
        Self { lab, pulled }
    }

    fn repository(&self) -> Repository {
        self.lab.writer.repository().clone()
    }

    fn options(&self, bytes: u64, named: Named) -> GcOptions {
        let candidates = least_recently_used(&self.lab.writer, named).unwrap();
        GcOptions::default().limit(Some(Limit::new(bytes, candidates)))
    }

    fn plan(&self, bytes: u64, named: Named) -> GcPlan {
        GcPlan::new(&self.repository(), &self.options(bytes, named)).unwrap()
    }

    fn apply(&mut self, plan: GcPlan) -> GcReport {
        let other = Lab::new();
        let repo = self.lab.repo();
        drop(std::mem::replace(&mut self.lab.writer, other.writer.clone()));
        let options = composefs::repo::OpenOptions::default();
        let repository = Repository::open(rustix::fs::CWD, &repo, &options).unwrap();
        let report = plan.apply(&repository.sweeper(Wait::Forever).unwrap(), &Silent).unwrap();
        drop(repository);
        self.lab.reopen();
        self.lab.clean();
        report
    }

    fn manifests(&self) -> usize {
        self.lab.streams().iter().filter(|name| name.starts_with("oci-manifest-")).count()
    }
}

fn names(plan: &GcPlan) -> Vec<&str> {
    plan.dropped.iter().map(|dropped| dropped.name.as_str()).collect()
}

#[test]
fn the_least_recently_used_go_and_named_ones_last() {
    let mut store = Store::new();
    let c = store.pulled[2].manifest.to_string();
    let all = store.plan(u64::MAX, Named::MayGo);
    assert!(all.dropped.is_empty() && all.objects.is_empty(), "what fits stays, with a name or without");
    let total = all.fit.unwrap().bytes;
    assert_eq!(names(&store.plan(total, Named::MayGo)), [""; 0]);
    assert_eq!(names(&store.plan(total - 1, Named::MayGo)), [&c]);
    assert_eq!(names(&store.plan(450_000, Named::MayGo)), [&c, "b"]);
    assert_eq!(names(&store.plan(200_000, Named::MayGo)), [&c, "b", "a"]);
    let plan = store.plan(450_000, Named::Stay);
    assert_eq!(names(&plan), [&c]);
    assert!(!plan.fit.unwrap().fits());
    // Used: it is the other one's turn.
    store.lab.writer.note_use(&format!("oci-manifest-{}", store.pulled[1].manifest));
    let plan = store.plan(450_000, Named::MayGo);
    assert_eq!(names(&plan), [&c, "a"]);
    let report = store.apply(plan);
    assert_eq!(report.dropped.len(), 2);
    assert!(report.fit.unwrap().fits());
    assert_eq!((store.lab.tags(), store.manifests()), (vec!["b".to_owned()], 1));
    let used = std::fs::read_dir(store.lab.repo().join(".cfs/used")).unwrap().count();
    assert_eq!(used, 1, "nothing is remembered of what is gone");
}

#[test]
fn what_is_mounted_or_used_again_stays() {
    let mut store = Store::new();
    let (image, boot) = (store.pulled[1].images[0].1, BootId::current().unwrap());
    store.lab.writer.record_mount(&image, &boot, 7).unwrap();
    touch(&store.lab.repo().join(format!(".cfs/used/{image}")), 1);
    let plan = store.plan(1, Named::MayGo);
    assert_eq!(names(&plan), [store.pulled[2].manifest.as_str(), "a"]);
    // Between plan and sweep one tag is used, and the mount goes.
    store.lab.writer.note_use(&format!("oci-manifest-{}", store.pulled[0].manifest));
    let report = store.apply(plan);
    assert_eq!(report.dropped.len(), 1);
    assert_eq!(store.lab.tags(), ["a", "b"]);
    // A tag that leads elsewhere by then is another one.
    store.lab.writer.forget_mount(&boot, 7).unwrap();
    let plan = store.plan(450_000, Named::MayGo);
    assert_eq!(names(&plan), ["b"]);
    tags::set(&store.lab.writer, "b", &store.pulled[0].manifest).unwrap();
    store.apply(plan);
    assert_eq!(store.lab.tags(), ["a", "b"]);
}

#[test]
fn what_is_younger_stays() {
    let mut store = Store::new();
    let age = |day: u64| {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 + (day - 1) * 86_400);
        SystemTime::now().duration_since(then).unwrap()
    };
    // The objects are of today, and the images are not.
    let plan = GcPlan::new(&store.repository(), &GcOptions::default().keep_newer(Some(age(2)))).unwrap();
    assert_eq!(plan.names.streams.len(), 3, "manifest, config and layer of the one without a name");
    assert!(plan.objects.is_empty() && plan.spared > 0);
    let plan = GcPlan::new(&store.repository(), &GcOptions::default().keep_newer(Some(age(1)))).unwrap();
    assert!(plan.names.streams.is_empty());
    let options = store.options(1, Named::MayGo).keep_newer(Some(age(2)));
    let plan = GcPlan::new(&store.repository(), &options).unwrap();
    assert_eq!(names(&plan), [store.pulled[2].manifest.as_str()]);
    assert!(!plan.fit.unwrap().fits());
    store.apply(plan);
    assert_eq!(store.lab.tags(), ["a", "b"]);
    // Without that, everything that no name needs goes.
    let plan = GcPlan::new(&store.repository(), &GcOptions::default()).unwrap();
    let report = store.apply(plan);
    assert!(report.objects_removed > 0);
}
