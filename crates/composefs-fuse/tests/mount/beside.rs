//! The kernel's mount of an image and the server's, side by side.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use composefs::{
    erofs::FormatVersion,
    filetree::{FileTree, InodeId, InodeKind, Name, Regular},
    mount::{MountOptions, MountPlan, UnmountWhen, unmount},
};
use composefs_fuse::{FuseMount, FuseOptions};
use composefs_testkit::skip_or_fail;

use super::{
    checks::may_mount,
    scene::{Scene, everything},
    shown::xattrs,
};

/// All that is seen of a name, without what belongs to a file system: numbers of inodes, blocks.
fn seen(mountpoint: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut pending = vec![mountpoint.to_owned()];
    while let Some(path) = pending.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let contents = if stat.is_file() {
            fs::read(&path).unwrap()
        } else if stat.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else {
            Vec::new()
        };
        if stat.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let text = format!(
            "{:o} {} {}:{} {} {}.{:09} {:?} {:?}",
            stat.mode(),
            stat.nlink(),
            stat.uid(),
            stat.gid(),
            stat.rdev(),
            stat.mtime(),
            stat.mtime_nsec(),
            xattrs(&path),
            contents
        );
        all.insert(path.strip_prefix(mountpoint).unwrap().to_owned(), text);
    }
    all
}

#[test]
fn the_kernel_shows_the_same() {
    if !may_mount() {
        skip_or_fail!("needs root and /dev/fuse to mount");
    }
    for version in [FormatVersion::V1, FormatVersion::V2] {
        let directory = tempfile::tempdir().unwrap();
        // A size without contents is an error for overlayfs.
        let scene = Scene::with(directory.path(), version, |writer| {
            let mut tree = everything(writer);
            let home = tree.lookup(&[b"home"]).unwrap();
            tree.unlink(home, b"sparse").unwrap();
            escaped(&mut tree);
            tree
        });
        let plan = match MountPlan::of(scene.source(), &MountOptions::default()) {
            Ok(plan) => plan,
            Err(error) => skip_or_fail!(&format!("needs a kernel that mounts images: {error}")),
        };
        plan.apply(&scene.mountpoint()).unwrap();
        let kernel = seen(&scene.mountpoint());
        unmount(&scene.mountpoint(), Some(&scene.repository()), UnmountWhen::Unused).unwrap();
        let mount = FuseMount::spawn(scene.source(), &scene.mountpoint(), &FuseOptions::default()).unwrap();
        let fuse = seen(&scene.mountpoint());
        mount.unmount().unwrap();
        assert_eq!(kernel.len(), fuse.len(), "{version:?}");
        for ((path, by_kernel), (other, by_fuse)) in kernel.iter().zip(&fuse) {
            assert_eq!(path, other, "{version:?}");
            assert!(
                by_kernel == by_fuse,
                "{version:?} {}:\n{by_kernel:.600}\n{by_fuse:.600}",
                path.display()
            );
        }
    }
}

/// Attributes that look as if they were for overlayfs, but are the owner's.
fn escaped(tree: &mut FileTree) {
    let kind = InodeKind::Regular(Regular::Inline(b"escaped"[..].into()));
    let mut inode = composefs::filetree::Inode { stat: Default::default(), kind };
    inode.stat.mode = 0o644;
    inode.stat.xattrs.set(b"trusted.overlay.redirect", b"/somewhere");
    inode.stat.xattrs.set(b"trusted.overlay.origin", b"1");
    inode.stat.xattrs.set(b"user.overlay.opaque", b"y");
    tree.insert(InodeId::ROOT, Name::new(b"escaped").unwrap(), inode).unwrap();
}
