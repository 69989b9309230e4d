//! Moments of a log of writes, on each file system.

use composefs_testkit::peers;

use crate::host::{all, machine_or_skip, mkfs_or_skip};

fn replayed(kind: &str, moments: usize) {
    let dir = tempfile::tempdir().unwrap();
    let Some(machine) = machine_or_skip(dir.path()) else { return };
    let Some(mkfs) = mkfs_or_skip(kind) else { return };
    let Some(dmsetup) = peers::program_or_skip("dmsetup") else { return };
    let moments = if all() { usize::MAX } else { moments };
    let output = machine
        .file(mkfs, &format!("/bin/mkfs.{kind}"))
        .file(dmsetup, "/bin/dmsetup")
        .seconds(if all() { 7200 } else { 900 })
        .script(&format!(
            "POWER_KIND={kind} POWER_MOMENTS={moments} power --ignored --exact guest::replay --nocapture"
        ))
        .run()
        .success();
    let text = output.text();
    eprintln!("{text}");
    assert!(text.contains(", 0 wrong"), "{kind}: see above");
}

#[test]
fn vm_replay_ext4() {
    replayed("ext4", 10);
}

#[test]
fn vm_replay_btrfs() {
    replayed("btrfs", 6);
}

#[test]
fn vm_replay_xfs() {
    replayed("xfs", 6);
}
