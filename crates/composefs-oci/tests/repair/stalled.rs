//! A registry that keeps a repair waiting: nobody else waits for it, and what they collect meanwhile is fetched again.

use std::time::{Duration, Instant};

use composefs::{
    progress::Silent,
    repo::{GcOptions, GcPlan, Wait},
};
use composefs_oci::{
    pull::{PullOptions, pull},
    reference::Reference,
    repair::{RepairOptions, RepairPlan, RepairReport, Sources},
};
use composefs_testkit::{
    images::Image,
    registry::{Fault, Registry, RegistryOptions, Rule},
};

use crate::lab::{FILE, Harm, IMAGE, LAYER, Lab, MANIFEST, harm, open, three_layers};

/// Where the registry stops.
#[derive(Clone, Copy)]
enum At {
    Document,
    Layer,
    LayersEnd,
}

/// Pulls an image from a registry, does harm to some of its parts, has `meanwhile` called while the registry stalls in the
/// middle of what the repair needs, and checks that everything comes back.
fn repair_during(parts: &[&str], how: Harm, at: At, meanwhile: &dyn Fn(&Lab)) -> RepairReport {
    let registry = Registry::start(RegistryOptions::default());
    let layers = three_layers();
    let written = registry.add_image("team/app", "v1", &Image::new(layers.clone()));
    let lab = Lab::new();
    let reference: Reference = registry.reference("team/app:v1").parse().unwrap();
    let options = PullOptions::default().tag("x").origin(Some(reference.clone()));
    let pulled = pull(&lab.writer(), open(&reference).unwrap().as_ref(), &options, &Silent).unwrap();
    let whole = lab.state();
    for (_, path) in lab.parts(&pulled, "x", &layers[0]).iter().filter(|(what, _)| parts.contains(what)) {
        assert!(harm(path, how));
    }
    // What was there before is older than the repair, whatever the file system's clock.
    std::thread::sleep(Duration::from_millis(20));
    registry.forget_requests();
    let (stalls, after) = match at {
        At::Document => (written.manifest.digest.clone(), 10),
        At::Layer => (layers[0].digest.clone(), 1_000),
        At::LayersEnd => (layers[0].digest.clone(), layers[0].blob.len() as u64 - 8),
    };
    registry.inject(Rule::new(&stalls, Fault::Stall(after, None)));
    let report = std::thread::scope(|scope| {
        let lab = &lab;
        let repairing = scope.spawn(move || {
            let writer = lab.writer();
            let sources = Sources::new(&open);
            let plan = RepairPlan::new(&writer, &sources, &RepairOptions::default(), &Silent).unwrap();
            plan.apply(writer, &Silent).unwrap()
        });
        while registry.sent_bytes(&stalls) == 0 {
            assert!(!repairing.is_finished(), "it did not ask");
            std::thread::yield_now();
        }
        let begin = Instant::now();
        meanwhile(lab);
        // Seconds, on a machine that does much besides: with the lock held it would be for ever.
        assert!(begin.elapsed() < Duration::from_secs(60));
        assert!(!repairing.is_finished());
        registry.heal();
        registry.release();
        repairing.join().unwrap()
    });
    assert!(report.is_ok(), "{report:?}");
    lab.clean();
    let (mut now, mut before) = (lab.state(), whole);
    // When it was used last is no part of what was harmed.
    for state in [&mut now, &mut before] {
        state.retain(|path, _| !path.starts_with(".cfs/"));
    }
    assert_eq!(now.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert!(now == before);
    report
}

fn collect(lab: &Lab, force: bool) -> usize {
    let repository = lab.open("repo");
    let plan = GcPlan::new(&repository, &GcOptions::default().force(force)).unwrap();
    let sweeper = repository.sweeper(Wait::AtMost(Duration::from_secs(30))).unwrap();
    plan.apply(&sweeper, &Silent).unwrap().objects_removed
}

#[test]
fn nobody_waits_for_a_layer() {
    let report = repair_during(&[FILE], Harm::Delete, At::Layer, &|lab| assert_eq!(collect(lab, false), 0));
    assert_eq!(report.layers_imported, 1);
}

#[test]
fn what_others_collect_by_force_is_fetched_again() {
    // Without its stream and the image nothing keeps the layer's files; those that the repair has found here go, too.
    let report =
        repair_during(&[LAYER, IMAGE], Harm::Delete, At::LayersEnd, &|lab| assert!(collect(lab, true) > 0));
    assert!(report.layers_imported >= 1);
}

#[test]
fn nobody_waits_for_a_document() {
    let report =
        repair_during(&[MANIFEST], Harm::Flip, At::Document, &|lab| assert_eq!(collect(lab, false), 0));
    assert_eq!(report.layers_imported, 0);
}
