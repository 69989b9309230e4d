//! As root: what is shown, and that nothing is given away unchecked.

use std::{
    fs,
    io::{self, Read as _, Seek as _},
};

use composefs::{
    digest::ObjectId,
    erofs::FormatVersion,
    filetree::{InodeKind, Regular},
    mount::{IdMap, IdRange},
};
use composefs_fuse::{FuseError, FuseMount, FuseOptions, Owners, Verify};
use composefs_testkit::skip_or_fail;

use super::{
    scene::{Scene, contents},
    shown::{Eyes, compare},
};

/// Tells whether this process may mount FUSE itself.
pub(crate) fn may_mount() -> bool {
    rustix::process::geteuid().is_root() && fs::File::open("/dev/fuse").is_ok()
}

#[test]
fn all_versions_show_what_the_tree_says() {
    if !may_mount() {
        skip_or_fail!("needs root and /dev/fuse to mount");
    }
    for version in [FormatVersion::V0, FormatVersion::V1, FormatVersion::V2] {
        let directory = tempfile::tempdir().unwrap();
        let scene = Scene::new(directory.path(), version);
        let mut tree = scene.tree.clone();
        if version == FormatVersion::V2 {
            // Which has no fractions of a second.
            for index in 0..tree.table_len() {
                let id = tree_id(&tree, index);
                tree.inode_mut(id).stat.mtime_nanos = 0;
            }
        }
        for options in [FuseOptions::default(), FuseOptions::default().no_passthrough(true).threads(1)] {
            let mount = FuseMount::spawn(scene.source(), &scene.mountpoint(), &options).unwrap();
            assert!(compare(&tree, &scene.mountpoint(), Eyes::ROOT) > 5000);
            mount.unmount().unwrap();
        }
    }
}

/// The inode at a position of the table.
fn tree_id(tree: &composefs::filetree::FileTree, index: usize) -> composefs::filetree::InodeId {
    let mut pending = vec![composefs::filetree::InodeId::ROOT];
    while let Some(id) = pending.pop() {
        if id.index() == index {
            return id;
        }
        pending.extend(tree.entries(id).into_iter().flat_map(|entries| entries.values().copied()));
    }
    panic!("no inode {index}")
}

#[test]
fn owners_are_shifted() {
    if !may_mount() {
        skip_or_fail!("needs root and /dev/fuse to mount");
    }
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::new(directory.path(), FormatVersion::V1);
    let map = IdMap::new(vec![
        IdRange { container: 0, host: 100_000, size: 1000 },
        IdRange { container: 1000, host: 5, size: 1 },
    ]);
    let options = FuseOptions::default().owners(Owners::Map(map.unwrap()));
    let mount = FuseMount::spawn(scene.source(), &scene.mountpoint(), &options).unwrap();
    let owner = |id| match id {
        0..1000 => id + 100_000,
        1000 => 5,
        _ => 65534,
    };
    compare(&scene.tree, &scene.mountpoint(), Eyes { owner, ..Eyes::ROOT });
    mount.unmount().unwrap();
    let options = FuseOptions::default().owners(Owners::One { uid: 7, gid: 7 });
    let mount = FuseMount::spawn(scene.source(), &scene.mountpoint(), &options).unwrap();
    compare(&scene.tree, &scene.mountpoint(), Eyes { owner: |_| 7, ..Eyes::ROOT });
    mount.unmount().unwrap();
}

#[test]
fn nothing_can_be_written() {
    if !may_mount() {
        skip_or_fail!("needs root and /dev/fuse to mount");
    }
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::new(directory.path(), FormatVersion::V1);
    let mount = FuseMount::spawn(scene.source(), &scene.mountpoint(), &FuseOptions::default()).unwrap();
    let refused =
        |result: io::Result<()>| assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    let at = |name: &str| scene.mountpoint().join(name);
    refused(fs::write(at("home/owned"), "x"));
    refused(fs::write(at("home/new"), "x"));
    refused(fs::create_dir(at("new")));
    refused(fs::remove_file(at("home/owned")));
    refused(fs::rename(at("home/owned"), at("home/other")));
    assert_eq!(fs::metadata(at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(fs::metadata(at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    mount.unmount().unwrap();
}

/// The object of a file in the scene.
fn object_of(scene: &Scene, directory: &[u8], name: &[u8]) -> ObjectId {
    let inode = scene.tree.lookup(&[directory, name]).unwrap();
    match &scene.tree.inode(inode).kind {
        InodeKind::Regular(Regular::External { id, .. }) => *id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn objects_are_hashed_before_they_are_given_away() {
    if !may_mount() {
        skip_or_fail!("needs root and /dev/fuse to mount");
    }
    for passthrough in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let scene = Scene::new(directory.path(), FormatVersion::V1);
        let large = scene.object(&object_of(&scene, b"home", b"large"));
        let small = scene.object(&object_of(&scene, b"home", b"owned"));
        let replace = |path: &std::path::Path, bytes: &[u8]| {
            fs::remove_file(path).unwrap();
            fs::write(path, bytes).unwrap();
        };
        let mut altered = contents(5_000_001);
        *altered.last_mut().unwrap() ^= 1;
        replace(&large, &altered);
        replace(&small, b"shorter");
        let options = FuseOptions::default().no_passthrough(!passthrough);
        let mount = FuseMount::spawn(scene.source(), &scene.mountpoint(), &options).unwrap();
        let at = |name: &str| scene.mountpoint().join(name);
        // Also what is before the damage.
        for _ in 0..2 {
            for name in ["home/large", "home/owned"] {
                let error = fs::File::open(at(name)).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()), "{name}");
            }
        }
        assert_eq!(fs::read(at("home/far owner")).unwrap(), contents(4097));
        // What is mended meanwhile is given away, what is damaged meanwhile no more.
        replace(&large, &contents(5_000_001));
        let mut file = fs::File::open(at("home/large")).unwrap();
        file.seek(io::SeekFrom::Start(4_000_000)).unwrap();
        let mut rest = Vec::new();
        file.read_to_end(&mut rest).unwrap();
        assert!(rest == contents(5_000_001)[4_000_000..]);
        drop(file);
        replace(&large, &altered);
        assert!(fs::File::open(at("home/large")).is_err());
        mount.unmount().unwrap();
        // Who wants no check gets none.
        let options = options.verify(Verify::Off);
        let mount = FuseMount::spawn(scene.source(), &scene.mountpoint(), &options).unwrap();
        assert!(fs::read(at("home/large")).unwrap() == altered);
        mount.unmount().unwrap();
    }
}

#[test]
fn the_kernel_cannot_be_required_where_it_does_not_check() {
    let directory = tempfile::tempdir().unwrap();
    let scene = Scene::new(directory.path(), FormatVersion::V1);
    let options = FuseOptions::default().verify(Verify::Kernel);
    let error = FuseMount::spawn(scene.source(), &scene.mountpoint(), &options).unwrap_err();
    assert!(matches!(error, FuseError::NotVerified), "{error}");
    assert!(error.hint().is_some());
}
