//! The program killed at every step of what it does: names, syncs, locks, and some of its writes.

use composefs_testkit::faults::{Fault, Faults, STEPS};

use crate::scenario::{MISSED, each, sample_of, scenario};

const WRITES: &[&str] = &["openat", "write", "pwrite64", "ftruncate", "fallocate"];

fn killed_anywhere(name: &'static str) {
    let Some(faults) = Faults::or_skip() else { return };
    let scenario = scenario(&faults, name);
    let mut points = scenario.points(STEPS);
    points.extend(sample_of(scenario.points(WRITES), 12));
    each(&scenario, &points, |point| {
        let sandbox = scenario.start();
        let traced = faults.inject(&sandbox, point, Fault::Kill, scenario.full(&sandbox));
        match traced.output.code() {
            0 => scenario.done(&sandbox)?,
            137 => {}
            _ => return Err(format!("  {}", traced.output)),
        }
        scenario.recovers(&sandbox)?;
        Ok(if traced.killed() { "killed" } else { MISSED })
    });
}

#[test]
fn init() {
    killed_anywhere("init");
}

#[test]
fn init_reset_metadata() {
    killed_anywhere("init --reset-metadata");
}

#[test]
fn pull() {
    killed_anywhere("pull");
}

#[test]
fn pull_beside() {
    killed_anywhere("pull beside");
}

#[test]
fn pull_over_a_tag() {
    killed_anywhere("pull over a tag");
}

#[test]
fn pull_with_an_image_now() {
    killed_anywhere("pull with an image now");
}

#[test]
fn pull_that_mends() {
    killed_anywhere("pull that mends");
}

#[test]
fn repair() {
    killed_anywhere("repair");
}

#[test]
fn seal() {
    killed_anywhere("seal");
}

#[test]
fn untag() {
    killed_anywhere("untag");
}

#[test]
fn gc() {
    killed_anywhere("gc");
}

#[test]
fn gc_of_all() {
    killed_anywhere("gc of all");
}

#[test]
fn gc_to_fit() {
    killed_anywhere("gc to fit");
}

#[test]
fn create_image() {
    killed_anywhere("create-image");
}

#[test]
fn oci_create_image() {
    killed_anywhere("oci create-image");
}
