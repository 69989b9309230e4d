//! System calls that fail: an error that says what and where, nothing moved that was not finished, nothing lost.

use std::fmt;

use composefs_testkit::faults::{Fault, Faults, Point, text_of};

use crate::scenario::{MISSED, Scenario, all, each, sample_of, scenario};

/// What changes names or makes durable: when it fails, so must the operation.
const STEPS: &[&str] =
    &["mkdirat", "linkat", "symlinkat", "renameat", "renameat2", "unlinkat", "fsync", "fdatasync", "syncfs"];
const WRITES: &[&str] = &["write", "pwrite64", "ftruncate", "fallocate", "copy_file_range"];
const LOOKS: &[&str] = &["newfstatat", "statx", "fstat", "readlinkat", "getdents64", "lseek"];

/// The errors that calls of a name get.
fn errors_of(name: &str) -> &'static [&'static str] {
    match name {
        "openat" | "openat2" => &["EIO", "EMFILE", "ENOSPC", "EINTR"],
        "write" | "pwrite64" | "fallocate" | "ftruncate" | "copy_file_range" => {
            &["EIO", "ENOSPC", "EDQUOT", "EINTR"]
        }
        "read" | "pread64" => &["EIO", "EINTR"],
        "flock" => &["ENOLCK", "EINTR"],
        "mkdirat" | "linkat" | "symlinkat" | "renameat" | "renameat2" | "fsync" | "fdatasync" | "syncfs" => {
            &["EIO", "ENOSPC", "EDQUOT"]
        }
        _ => &["EIO"],
    }
}

struct Case {
    point: Point,
    error: &'static str,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.point, self.error)
    }
}

/// Each point with each of its errors, or with one of them in turn.
fn cases(points: Vec<Point>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (at, point) in points.into_iter().enumerate() {
        let errors = errors_of(&point.name);
        let step =
            if all() || STEPS.contains(&point.name.as_str()) && errors.len() < 2 { 1 } else { errors.len() };
        for error in errors.iter().skip(if step == 1 { 0 } else { at % errors.len() }).step_by(step) {
            cases.push(Case { point: point.clone(), error });
        }
    }
    cases
}

fn fails_anywhere(name: &'static str) {
    let Some(faults) = Faults::or_skip() else { return };
    let scenario = scenario(&faults, name);
    let mut points = scenario.points(STEPS);
    points.extend(scenario.points(&["flock", "ioctl"]));
    points.extend(sample_of(scenario.points(&["openat", "openat2"]), 40));
    points.extend(sample_of(scenario.points(WRITES), 16));
    points.extend(sample_of(scenario.points(&["read", "pread64"]), 16));
    points.extend(sample_of(scenario.points(LOOKS), 20));
    each(&scenario, &cases(points), |case| one(&faults, &scenario, case));
}

fn one(faults: &Faults, scenario: &Scenario, case: &Case) -> Result<&'static str, String> {
    let sandbox = scenario.start();
    let traced = faults.inject(&sandbox, &case.point, Fault::Error(case.error), scenario.full(&sandbox));
    let calls: Vec<String> =
        traced.calls.iter().filter(|call| call.injected).map(|call| format!("    {call}\n")).collect();
    let wrong = |text: String| Err(format!("{}{text}", calls.concat()));
    // Findings of the checks are on standard output.
    let talk = format!("{}{}", traced.output.talk(), traced.output.text());
    if talk.contains("panicked") {
        return wrong(format!("  {}", traced.output));
    }
    let outcome = match traced.output.code() {
        0 => {
            scenario.done(&sandbox).map_err(|text| format!("{}{text}", calls.concat()))?;
            if !traced.hit() {
                MISSED
            } else if STEPS.contains(&case.point.name.as_str()) {
                return wrong(format!("  it succeeded all the same: {}", traced.output));
            } else if case.error != "EINTR" && scenario.name.ends_with("fsck") {
                return wrong("  it says that all is well, and has not seen all".to_owned());
            } else {
                "made no difference"
            }
        }
        1 => {
            // What is said may be what could not be said.
            let mute = traced.calls.iter().any(|call| call.injected && !scenario.touches(&sandbox, call));
            let named = mute || talk.contains(text_of(case.error));
            let placed = mute
                || scenario.places(&sandbox).iter().any(|place| talk.contains(place))
                // The checks name what is in a repository from its root on.
                || ["streams/", "images/", "objects/", "/proc/"].iter().any(|place| talk.contains(place))
                || talk.split(|c: char| !c.is_ascii_hexdigit()).any(|word| word.len() >= 62);
            if !named || !placed {
                return wrong(format!("  an error that does not tell: {talk}"));
            }
            if case.error == "EINTR" {
                return wrong(format!("  not tried again: {talk}"));
            }
            "failed"
        }
        _ => return wrong(format!("  {}", traced.output)),
    };
    match scenario.recovers(&sandbox) {
        Ok(()) => Ok(outcome),
        Err(text) => wrong(format!("{text}\n  said at the failure: {talk}")),
    }
}

#[test]
fn init() {
    fails_anywhere("init");
}

#[test]
fn init_reset_metadata() {
    fails_anywhere("init --reset-metadata");
}

#[test]
fn pull() {
    fails_anywhere("pull");
}

/// Files outside of the repository, such as policies, are few, and a sample may miss them.
#[test]
fn every_open_of_a_pull_is_tried_again() {
    let Some(faults) = Faults::or_skip() else { return };
    let scenario = scenario(&faults, "pull");
    let points = scenario.points(&["openat", "openat2"]).into_iter();
    let cases: Vec<Case> = points.map(|point| Case { point, error: "EINTR" }).collect();
    each(&scenario, &cases, |case| one(&faults, &scenario, case));
}

#[test]
fn pull_over_a_tag() {
    fails_anywhere("pull over a tag");
}

#[test]
fn pull_with_an_image_now() {
    fails_anywhere("pull with an image now");
}

#[test]
fn pull_that_mends() {
    fails_anywhere("pull that mends");
}

#[test]
fn repair() {
    fails_anywhere("repair");
}

#[test]
fn seal() {
    fails_anywhere("seal");
}

#[test]
fn untag() {
    fails_anywhere("untag");
}

#[test]
fn gc_to_fit() {
    fails_anywhere("gc to fit");
}

#[test]
fn gc() {
    fails_anywhere("gc");
}

#[test]
fn create_image() {
    fails_anywhere("create-image");
}

#[test]
fn fsck() {
    fails_anywhere("fsck");
}

#[test]
fn oci_fsck() {
    fails_anywhere("oci fsck");
}
