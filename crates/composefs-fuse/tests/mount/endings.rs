//! How mounts end: by whoever unmounts, by the server's own wish, by its death; and what stays of them.

use std::{fs, io, thread};

use composefs::{
    erofs::FormatVersion,
    mount::{Mounter, UnmountWhen, find},
    repo::Wait,
};
use composefs_fuse::{FuseMount, FuseOptions, unmount};
use composefs_testkit::skip_or_fail;

use super::{checks::may_mount, scene::Scene};

fn mounted(scene: &Scene) -> FuseMount {
    FuseMount::spawn(scene.source(), &scene.mountpoint(), &FuseOptions::default()).unwrap()
}

#[test]
fn whoever_unmounts_ends_the_server() {
    if !may_mount() {
        skip_or_fail!("needs root and /dev/fuse to mount");
    }
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::new(directory.path(), FormatVersion::V1);
    for round in 0..3 {
        let mount = mounted(&scene);
        assert!(mount.recorded());
        assert_eq!(scene.records(), 1);
        let found = find(&scene.mountpoint()).unwrap();
        assert_eq!((found.mounter, &found.record), (Mounter::Fuse, mount.record()));
        // The server does not hold the lock that a sweep needs, and its image stays.
        drop(scene.repository().sweeper(Wait::AtMost(std::time::Duration::from_secs(20))).unwrap());
        let stopper = mount.stopper();
        let waiting = thread::spawn(move || mount.wait());
        match round {
            0 => rustix::mount::unmount(scene.mountpoint(), rustix::mount::UnmountFlags::empty()).unwrap(),
            1 => {
                assert!(
                    unmount(&scene.mountpoint(), Some(&scene.repository()), UnmountWhen::Unused).unwrap()
                );
            }
            _ => stopper.stop(),
        }
        waiting.join().unwrap().unwrap();
        assert_eq!(scene.records(), 0, "round {round}");
        assert!(find(&scene.mountpoint()).is_err());
        // Nothing is there to be stopped now.
        stopper.stop();
    }
}

#[test]
fn a_mount_in_use_stays_until_it_is_not() {
    if !may_mount() {
        skip_or_fail!("needs root and /dev/fuse to mount");
    }
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::new(directory.path(), FormatVersion::V1);
    let mount = mounted(&scene);
    let stopper = mount.stopper();
    let mut file = fs::File::open(scene.mountpoint().join("home/large")).unwrap();
    let busy = unmount(&scene.mountpoint(), None, UnmountWhen::Unused).unwrap_err();
    assert!(busy.to_string().contains("unmount"), "{busy}");
    stopper.stop();
    assert!(find(&scene.mountpoint()).is_err(), "out of sight");
    assert_eq!(io::copy(&mut file, &mut io::sink()).unwrap(), 5_000_001, "and still read");
    drop(file);
    mount.wait().unwrap();
    assert_eq!(scene.records(), 0);
}

#[test]
fn a_mount_that_is_dropped_is_gone() {
    if !may_mount() {
        skip_or_fail!("needs root and /dev/fuse to mount");
    }
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::new(directory.path(), FormatVersion::V1);
    drop(mounted(&scene));
    assert!(find(&scene.mountpoint()).is_err());
    assert_eq!(scene.records(), 0);
    // A later mount at the place of an earlier one is not the earlier one's to take away.
    let first = mounted(&scene);
    let stopper = first.stopper();
    first.unmount().unwrap();
    let second = mounted(&scene);
    stopper.stop();
    assert!(find(&scene.mountpoint()).is_ok());
    second.unmount().unwrap();
}
