//! Moments of a log of writes, on each file system.

use composefs_testkit::peers;

use crate::host::{amount, machine_or_skip, mkfs_or_skip};

/// Tries `few` moments in CI; many of them in several machines, so that other tests get theirs in between.
fn replayed(kind: &str, few: usize) {
    let moments = amount(few, usize::MAX);
    let pieces = moments.div_ceil(50).min(8);
    let mut wrong = String::new();
    for piece in 0..pieces {
        let dir = tempfile::tempdir().unwrap();
        let Some(machine) = machine_or_skip(dir.path()) else { return };
        let Some(mkfs) = mkfs_or_skip(kind) else { return };
        let Some(dmsetup) = peers::program_or_skip("dmsetup") else { return };
        let output = machine
            .file(mkfs, &format!("/bin/mkfs.{kind}"))
            .file(dmsetup, "/bin/dmsetup")
            .seconds(if pieces > 1 { 3600 } else { 900 })
            .script(&format!(
                "export POWER_KIND={kind} POWER_MOMENTS={moments} POWER_PIECE={piece}/{pieces}\n\
                    power --ignored --exact guest::replay --nocapture --test-threads=2"
            ))
            .run()
            .success();
        let text = output.text();
        eprintln!("{text}");
        if !text.contains(", 0 wrong") {
            wrong += text;
        }
    }
    assert_eq!(wrong, "", "{kind}");
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
