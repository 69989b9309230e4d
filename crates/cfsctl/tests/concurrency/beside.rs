//! Everything at once: no update lost, nobody stuck, no damage reported that is none, all whole in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use composefs::{
    digest::ObjectId,
    repo::{OpenOptions, Repository, lease::BootId},
};
use composefs_testkit::peers;

use crate::crowd::{Crowd, Dice, IMAGES, times};

/// The longest that anything may take, on a busy machine: it waits for sweeps at most, and they are short.
const MOST: Duration = Duration::from_secs(30);

/// The longest that a sweep may keep others waiting: it is a fraction of a second, and the machine is busy.
const SWEEP: Duration = Duration::from_secs(2);

/// The tag that everybody gives.
const SHARED: &str = "shared";

/// What one of the crowd did last with tags of its own, and every image it gave the shared tag.
#[derive(Default)]
struct Done {
    tags: BTreeMap<String, Option<String>>,
    shared: BTreeSet<String>,
}

/// Pulls, tags, removes and seals, under names of its own and the shared one.
fn user(crowd: &Crowd, number: u64, steps: u64) -> Done {
    let mut dice = Dice::new(number);
    let mut done = Done::default();
    let mine = |which: usize| format!("{number}-{which}");
    for _ in 0..steps {
        let image = dice.of(&IMAGES);
        let digest = crowd.manifests[image].clone();
        let tag = mine(dice.below(3));
        let source = crowd.reference(image, dice.below(2) == 0);
        let pull = |tag: &str| {
            let _ = crowd.run(["-q", "oci", "pull", "--tls-verify=false", &source, tag]).success();
        };
        match dice.below(8) {
            0..=2 => {
                pull(&tag);
                done.tags.insert(tag, Some(digest));
            }
            3 => {
                pull(SHARED);
                done.shared.insert(digest);
            }
            4 | 5 => {
                // What a tag of its own leads to is there, whoever collects.
                let own = done.tags.values().flatten().next().cloned();
                if let Some(digest) = own {
                    let _ = crowd.run(["oci", "tag", &digest, &tag]).success();
                    let _ = crowd.run(["oci", "tag", &digest, SHARED]).success();
                    done.tags.insert(tag, Some(digest.clone()));
                    done.shared.insert(digest);
                }
            }
            6 => {
                let known = done.tags.get(&tag).is_some_and(Option::is_some);
                let removed = crowd.run(["oci", "untag", &tag]);
                assert_eq!(removed.code(), i32::from(!known), "{removed}");
                done.tags.insert(tag, None);
            }
            _ => {
                if done.tags.get(&tag).is_some_and(Option::is_some) {
                    let name = format!("sealed/{number}");
                    let _ = crowd.run(["oci", "seal", &tag, "--name", &name]).success();
                    let _ = crowd.run(["oci", "inspect", &tag]).success();
                }
            }
        }
    }
    done
}

/// Collects until the users are done.
fn collector(crowd: &Crowd, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let _ = crowd.run(["gc", "--dry-run"]).success();
        let _ = crowd.run(["gc"]).success();
    }
}

/// Checks until the users are done: whatever goes on beside, there is no damage.
fn checker(crowd: &Crowd, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        crowd.clean();
        let _ = crowd.run(["fsck"]).success();
    }
}

/// Records mounts of whatever images there are and forgets them, as mounting does.
fn mounter(crowd: &Crowd, stop: &AtomicBool) {
    let boot = BootId::current().unwrap();
    let image = "mounted";
    let source = crowd.reference("base", false);
    while !stop.load(Ordering::Relaxed) {
        let _ = crowd.run(["-q", "oci", "pull", &source, image]).success();
        let repository =
            || Repository::open(rustix::fs::CWD, crowd.sandbox.repo(), &OpenOptions::default()).unwrap();
        let id: ObjectId = {
            let repository = repository();
            let stored = composefs_oci::stored::StoredImage::open_tag(&repository, image).unwrap();
            let id = *stored.config().image(repository.erofs_formats().default).unwrap();
            assert!(repository.record_mount(&id, &boot, 7).unwrap());
            id
        };
        // Only the record keeps it now.
        let _ = crowd.run(["oci", "untag", image]).success();
        let _ = crowd.run(["gc"]).success();
        let repository = repository();
        for object in repository.image_objects(&id).unwrap().iter().chain([&id]) {
            assert!(repository.has_object(object).unwrap(), "{object} went under a mount");
        }
        assert!(repository.forget_mount(&boot, 7).unwrap());
    }
}

/// cfsctl 0.9 on the same repository. What it says when others take things away is its own business; what it has
/// tagged must be there.
fn other(crowd: &Crowd, program: &Path, stop: &AtomicBool, failed: &Mutex<Vec<String>>) -> Done {
    let mut dice = Dice::new(99);
    let mut done = Done::default();
    while !stop.load(Ordering::Relaxed) {
        let image = dice.of(&IMAGES);
        let tag = format!("other-{}", dice.below(2));
        let source = crowd.layout.reference(image);
        let kept = done.tags.values().flatten().next().cloned();
        let arguments: Vec<&str> = match dice.below(6) {
            0 => vec!["gc"],
            1 => vec!["fsck"],
            2 => vec!["oci", "untag", &tag],
            // It tags what is not there too, and so a name leads nowhere if a collection was faster. What a tag of
            // its own leads to stays.
            3 if kept.is_some() => vec!["oci", "tag", kept.as_deref().unwrap_or_default(), SHARED],
            _ => vec!["oci", "pull", &source, &tag],
        };
        let output = crowd.run_other(program, &arguments);
        let good = output.code() == 0;
        match arguments[..] {
            ["oci", "pull", ..] if good => {
                done.tags.insert(tag, Some(crowd.manifests[image].clone()));
            }
            ["oci", "untag", ..] if good => {
                done.tags.insert(tag, None);
            }
            ["oci", "tag", ..] if good => {
                done.shared.extend(kept);
            }
            // To remove what is not there may be refused.
            ["oci", "untag", ..] => {}
            _ if !good => failed.lock().unwrap().push(output.to_string()),
            _ => {}
        }
    }
    done
}

fn everything_at_once(algorithm: &str, with_other: bool, seed: u64) {
    let program = if with_other {
        let Some(program) = peers::cfsctl_or_skip() else { return };
        // It pulls by it.
        if peers::skopeo_or_skip().is_none() {
            return;
        }
        Some(program)
    } else {
        None
    };
    let crowd = Crowd::new(algorithm);
    let (stop, probing) = (AtomicBool::new(false), AtomicBool::new(false));
    let failed = Mutex::new(Vec::new());
    let (mut results, longest) = std::thread::scope(|scope| {
        let users: Vec<_> = (0..3)
            .map(|number| {
                let crowd = &crowd;
                scope.spawn(move || user(crowd, seed * 10 + number, 25 * times()))
            })
            .collect();
        let background = [
            scope.spawn(|| collector(&crowd, &stop)),
            scope.spawn(|| checker(&crowd, &stop)),
            scope.spawn(|| mounter(&crowd, &stop)),
        ];
        let other = program.as_ref().map(|program| scope.spawn(|| other(&crowd, program, &stop, &failed)));
        let probe = scope.spawn(|| crowd.longest_wait(&probing));
        let users: Vec<_> = users.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        let background = background.map(std::thread::ScopedJoinHandle::join);
        let other = other.map(std::thread::ScopedJoinHandle::join);
        probing.store(true, Ordering::Relaxed);
        let longest = probe.join().unwrap();
        for one in background {
            one.unwrap();
        }
        (users.into_iter().chain(other).map(Result::unwrap).collect::<Vec<Done>>(), longest)
    });
    eprintln!("the longest wait for the shared lock: {longest:?}");
    for text in failed.into_inner().unwrap() {
        eprintln!("cfsctl 0.9: {text}");
    }

    crowd.clean();
    let mut tags = crowd.tags();
    let shared = tags.remove(SHARED);
    tags.remove("mounted");
    let given: BTreeSet<String> =
        results.iter_mut().flat_map(|done| std::mem::take(&mut done.shared)).collect();
    assert!(
        shared.is_none_or(|digest| given.contains(&digest)),
        "the shared tag leads to what nobody gave it"
    );
    let expected: BTreeMap<String, String> = results
        .into_iter()
        .flat_map(|done| done.tags)
        .filter_map(|(tag, digest)| Some((tag, digest?)))
        .collect();
    assert_eq!(tags, expected, "updates that are lost");
    let _ = crowd.run(["gc"]).success();
    crowd.clean();
    assert_eq!(
        crowd.tags().len(),
        expected.len()
            + crowd.tags().keys().filter(|tag| [SHARED, "mounted"].contains(&tag.as_str())).count()
    );
    crowd.nobody_waited(MOST);
    assert!(with_other || longest < SWEEP, "the lock was kept for {longest:?}");
}

#[test]
fn ours_alone() {
    everything_at_once("fsverity-sha512-12", false, 1);
}

#[test]
fn with_cfsctl_0_9() {
    everything_at_once("fsverity-sha256-12", true, 2);
}
