//! The machine ended while it works, at moments by chance; then started again with what its disk has.

use std::{fs::File, process::Command};

use crate::{
    host::{all, machine_or_skip, mkfs_or_skip},
    steps::STEPS,
};

/// How large the disk is, for each kind of file system enough.
const MIB: u64 = 512;

#[allow(clippy::cast_precision_loss)]
fn cut_at_moments(kind: &str, options: &[&str], cuts: usize) {
    let dir = tempfile::tempdir().unwrap();
    let Some(mkfs) = mkfs_or_skip(kind) else { return };
    let disk = dir.path().join("disk");
    File::create(&disk).unwrap().set_len(MIB << 20).unwrap();
    let made = Command::new(mkfs).args(options).arg("-q").arg(&disk).status().unwrap();
    assert!(made.success());
    let (mut step_seconds, mut done, mut within, mut wrong) = (0.7, 0, Vec::new(), String::new());
    for n in 0..=cuts {
        let Some(machine) = machine_or_skip(dir.path()) else { return };
        let (last, collect) = (u8::from(n == cuts), u8::from(n % 3 == 0));
        let machine = machine.disk(&disk).seconds(900).script(&format!(
            "export POWER_KIND={kind} POWER_DONE={done} POWER_COLLECT={collect} POWER_LAST={last}\n\
                power --ignored --exact guest::cut --nocapture"
        ));
        // Each step in turn, each time elsewhere in it: spread by the golden ratio.
        let share = (0.35 + 0.618_034 * n as f64).fract();
        let machine = match n {
            _ if n == cuts => machine,
            _ => machine.cut_after(share * step_seconds).cut_from(&after_step((n * 4 + 1) % STEPS)),
        };
        let output = machine.run();
        let text = output.text();
        assert_eq!(output.code(), if n == cuts { 0 } else { 137 }, "{output}");
        if n > 0 && !text.lines().any(|line| line == "whole") {
            wrong += &format!("{kind}: cut {n}, {done} steps done: {output}\n");
        }
        let seconds = text.lines().find_map(|line| line.strip_prefix("took: "));
        step_seconds = seconds.map_or(step_seconds, |all| all.parse::<f64>().unwrap() / STEPS as f64);
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
    cut_at_moments("ext4", &["-b", "4096", "-O", "verity"], if all() { 24 } else { 2 });
}

#[test]
fn vm_cut_btrfs() {
    if all() {
        cut_at_moments("btrfs", &[], 12);
    }
}

#[test]
fn vm_cut_xfs() {
    if all() {
        cut_at_moments("xfs", &[], 12);
    }
}
