//! As an ordinary user, by `fusermount3`. Run by root the test has itself run again by a user.

use std::path::{Path, PathBuf};

use composefs::{
    erofs::FormatVersion,
    mount::{UnmountWhen, find},
};
use composefs_fuse::{FuseMount, FuseOptions, unmount};
use composefs_testkit::{peers, users};

use super::{
    scene::Scene,
    shown::{Eyes, compare},
};

/// Says that this is the user, and where to work.
const DIRECTORY: &str = "COMPOSEFS_FUSE_TEST_USER";

#[test]
fn users_mount_by_fusermount() {
    if peers::program_or_skip("fusermount3").is_none() {
        return;
    }
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return as_user(&PathBuf::from(directory));
    }
    let room = users::Room::new();
    let Some(mut command) = room.this_program_or_skip(false) else { return };
    let status = command
        .args(["--exact", "user::users_mount_by_fusermount", "--nocapture"])
        .env(DIRECTORY, room.work())
        .env("TMPDIR", room.work())
        .status()
        .unwrap();
    assert!(status.success());
}

fn as_user(directory: &Path) {
    let scene = Scene::new(directory, FormatVersion::V1);
    let mountpoint = scene.mountpoint();
    let mount = FuseMount::spawn(scene.source(), &mountpoint, &FuseOptions::default()).unwrap();
    assert_eq!(scene.records(), 1);
    compare(&scene.tree, &mountpoint, Eyes { trusted: false, ..Eyes::ROOT });
    assert!(unmount(&mountpoint, Some(&scene.repository()), UnmountWhen::Unused).unwrap());
    mount.wait().unwrap();
    assert!(find(&mountpoint).is_err());
    // A server that is dropped, too.
    drop(FuseMount::spawn(scene.source(), &mountpoint, &FuseOptions::default()).unwrap());
    assert!(find(&mountpoint).is_err());
    assert_eq!(scene.records(), 0);
}
