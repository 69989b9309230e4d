//! The machine ended while it works, at moments by chance; then started again with what its disk has.

use std::{fs::File, process::Command};

use crate::{
    host::{amount, machine_or_skip, mkfs_or_skip},
    steps::count,
};

/// How large the disk is, for each kind of file system enough.
const MIB: u64 = 512;

/// So many bytes a second the disk takes, so that a cut falls within a sync as well as between.
const SPEED: u64 = 4 << 20;

#[allow(clippy::cast_precision_loss)]
fn cut_at_moments(kind: &str, options: &[&str], cuts: usize) {
    if cuts == 0 {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(mkfs) = mkfs_or_skip(kind) else { return };
    let disk = dir.path().join("disk");
    File::create(&disk).unwrap().set_len(MIB << 20).unwrap();
    let made = Command::new(mkfs).args(options).arg("-q").arg(&disk).status().unwrap();
    assert!(made.success());
    let steps = count(kind != "xfs");
    // How long each takes; the first run has the series undisturbed, and then again.
    let mut seconds = vec![0.7; steps];
    let (mut done, mut within, mut wrong) = (0, Vec::new(), String::new());
    for n in 0..=cuts {
        let Some(machine) = machine_or_skip(dir.path()) else { return };
        let (last, collect) = (u8::from(n == cuts), u8::from(n % 3 == 0));
        let machine = machine.disk(&disk).disk_speed(SPEED).seconds(900).script(&format!(
            "export POWER_KIND={kind} POWER_DONE={done} POWER_COLLECT={collect} POWER_LAST={last}\n\
                power --ignored --exact guest::cut --nocapture --test-threads=2"
        ));
        // Each step in turn, each time elsewhere in it: spread by the golden ratio.
        let step = (n * 5 + 1) % steps;
        let share = (0.35 + 0.618_034 * n as f64).fract();
        let machine = match n {
            _ if n == cuts => machine,
            _ => machine.cut_after(share * seconds[step]).cut_from(&after_step(step)),
        };
        let output = machine.run();
        let text = output.text();
        assert_eq!(output.code(), if n == cuts { 0 } else { 137 }, "{output}");
        if n > 0 && !text.lines().any(|line| line == "whole") {
            wrong += &format!("{kind}: cut {n}, {done} steps done: {output}\n");
        }
        let took = text.lines().filter_map(|line| line.strip_prefix("took: "));
        for (known, took) in seconds.iter_mut().zip(took) {
            *known = took.parse::<f64>().unwrap();
        }
        done = text.lines().filter(|line| line.starts_with("done: ")).count();
        within.push(done);
    }
    within.pop();
    eprintln!("{kind}: {cuts} cuts, each in the step after so many: {within:?}");
    assert_eq!(wrong, "");
}

/// Returns what the guest says when it begins a step.
fn after_step(step: usize) -> String {
    if step == 0 { "go".to_owned() } else { format!("done: {}", step - 1) }
}

#[test]
fn vm_cut_ext4() {
    cut_at_moments("ext4", &["-b", "4096", "-O", "verity"], amount(2, 24));
}

#[test]
fn vm_cut_btrfs() {
    cut_at_moments("btrfs", &[], amount(0, 16));
}

#[test]
fn vm_cut_xfs() {
    cut_at_moments("xfs", &[], amount(0, 14));
}
