//! In a user namespace of an ordinary user: FUSE, and overlayfs over it. A program of its own, for it may have one thread
//! only; run by root it has itself run again by a user.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout)]

#[path = "mount/scene.rs"]
#[allow(dead_code)]
mod scene;
#[path = "mount/shown.rs"]
#[allow(dead_code)]
mod shown;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use composefs::{erofs::FormatVersion, mount::find};
use composefs_fuse::{FuseMount, FuseOptions, Ids, Owners, enter_user_namespace};
use composefs_testkit::{peers, users};
use scene::Scene;
use shown::{Eyes, compare};

/// Says that this is the user, and where to work.
const DIRECTORY: &str = "COMPOSEFS_FUSE_TEST_NAMESPACE";
/// Says whether there are subordinate ids.
const RANGES: &str = "COMPOSEFS_FUSE_TEST_RANGES";

fn main() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        let ranges = std::env::var_os(RANGES).is_some_and(|value| value == "true");
        return as_user(&PathBuf::from(directory), ranges);
    }
    for ranges in [true, false] {
        if ranges && peers::program_or_skip("newuidmap").is_none() {
            continue;
        }
        let room = users::Room::new();
        let Some(mut command) = room.this_program_or_skip(ranges) else { return };
        let status = command.env(DIRECTORY, room.work()).env(RANGES, ranges.to_string()).status().unwrap();
        assert!(status.success(), "with ranges: {ranges}");
    }
    println!("test namespace ... ok");
}

fn as_user(directory: &Path, ranges: bool) {
    let scene = Scene::new(directory, FormatVersion::V1);
    let ids = match enter_user_namespace() {
        Ok(ids) => ids,
        Err(error)
            if fs::read_to_string("/proc/sys/user/max_user_namespaces")
                .is_ok_and(|max| max.trim() == "0") =>
        {
            println!("no user namespaces here: {error}");
            return;
        }
        Err(error) => panic!("{}", composefs_testkit::chain(&error)),
    };
    assert!(rustix::process::geteuid().is_root());
    let mut options = FuseOptions::default();
    let mut owner: fn(u32) -> u32 = |_| 0;
    if ranges {
        assert_eq!(ids, Ids::Ranges { uids: users::SUBORDINATE + 1, gids: users::SUBORDINATE + 1 });
        // Who is not in the namespace is nobody.
        owner = |id| if id <= users::SUBORDINATE { id } else { 65534 };
        // Owners can be given away in there.
        let file = directory.join("file");
        fs::write(&file, "").unwrap();
        chown(&file, Some(33), Some(33)).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().uid(), 33);
        fs::remove_file(file).unwrap();
    } else {
        let Ids::One { reason } = ids else { panic!("{ids:?}") };
        assert!(reason.contains("/etc/subuid"), "{reason}");
        options = options.owners(Owners::One { uid: 0, gid: 0 });
    }
    let mountpoint = scene.mountpoint();
    let mount = FuseMount::spawn(scene.source(), &mountpoint, &options).unwrap();
    compare(&scene.tree, &mountpoint, Eyes { trusted: false, owner });

    // A writable overlay on top, with its changes in memory.
    let (memory, merged) = (directory.join("memory"), directory.join("merged"));
    fs::create_dir(&memory).unwrap();
    fs::create_dir(&merged).unwrap();
    run("mount", &["-t", "tmpfs", "tmpfs", memory.to_str().unwrap()]);
    fs::create_dir(memory.join("upper")).unwrap();
    fs::create_dir(memory.join("work")).unwrap();
    let layers = format!(
        "userxattr,lowerdir={},upperdir={},workdir={}",
        mountpoint.display(),
        memory.join("upper").display(),
        memory.join("work").display()
    );
    run("mount", &["-t", "overlay", "overlay", "-o", &layers, merged.to_str().unwrap()]);
    assert_eq!(fs::read(merged.join("home/inline")).unwrap(), b"short");
    fs::write(merged.join("home/new"), "new").unwrap();
    fs::write(merged.join("home/large"), "changed").unwrap();
    fs::remove_file(merged.join("home/link")).unwrap();
    assert_eq!(fs::read(merged.join("home/large")).unwrap(), b"changed");
    assert!(fs::symlink_metadata(merged.join("home/link")).is_err());
    run("umount", &[merged.to_str().unwrap()]);
    run("umount", &[memory.to_str().unwrap()]);

    assert_eq!(scene.records(), 1);
    mount.unmount().unwrap();
    assert!(find(&mountpoint).is_err());
    assert_eq!(scene.records(), 0);
}

fn run(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().unwrap().success(), "{program} {arguments:?}");
}
