use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use rustix::fs::{CWD, XattrFlags, lsetxattr, mkfifoat};

use super::*;
use crate::{
    progress::Silent,
    repo::{InitOptions, OpenOptions, Repository, init},
};

fn contents(tree: &FileTree, path: &[&[u8]]) -> InodeKind {
    tree.inode(tree.lookup(path).unwrap()).kind.clone()
}

#[test]
fn what_a_directory_holds() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/small"), [1; 64]).unwrap();
    fs::write(root.join("a/large"), [2; 65]).unwrap();
    fs::write(root.join("a/huge"), vec![3; WHOLE_MAX + 1]).unwrap();
    fs::write(root.join("a/whole"), vec![3; WHOLE_MAX]).unwrap();
    fs::write(root.join("empty"), []).unwrap();
    fs::hard_link(root.join("a/large"), root.join("a/b/linked")).unwrap();
    fs::hard_link(root.join("empty"), root.join("zero")).unwrap();
    symlink("/etc/passwd", root.join("link")).unwrap();
    mkfifoat(CWD, root.join("fifo"), Mode::from_raw_mode(0o600)).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o1751)).unwrap();
    // Not every file system has them.
    let attributes = lsetxattr(root.join("empty"), c"user.test", b"value", XattrFlags::empty()).is_ok();

    let repository = tempfile::tempdir().unwrap();
    init(CWD, repository.path(), &InitOptions::new(Algorithm::Sha512).insecure(true)).unwrap();
    let writer =
        Repository::open(CWD, repository.path(), &OpenOptions::default()).unwrap().into_writer().unwrap();
    let stored = scan(CWD, root, Objects::Store(&writer), &Silent).unwrap();
    let computed = scan(CWD, root, Objects::Compute(Algorithm::Sha512), &Silent).unwrap();
    assert_eq!(stored.stats, computed.stats);
    assert_eq!(stored.stats.new, 3);
    let steps = |tree: &FileTree| {
        tree.depth_first()
            .map(|step| (step.name.cloned(), step.inode, tree.inode(step.inode).clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(steps(&stored.tree), steps(&computed.tree));

    let tree = stored.tree;
    assert_eq!(contents(&tree, &[b"a", b"small"]), InodeKind::Regular(Regular::Inline([1; 64].into())));
    assert_eq!(contents(&tree, &[b"empty"]), InodeKind::Regular(Regular::Inline([].into())));
    for (name, bytes) in
        [(&b"large"[..], vec![2; 65]), (b"huge", vec![3; WHOLE_MAX + 1]), (b"whole", vec![3; WHOLE_MAX])]
    {
        let id = object_id_of(Algorithm::Sha512, &bytes);
        let size = bytes.len() as u64;
        assert_eq!(contents(&tree, &[b"a", name]), InodeKind::Regular(Regular::External { id, size }));
        assert_eq!(writer.read_object(&id, 1 << 22).unwrap(), bytes);
    }
    assert_eq!(tree.lookup(&[b"a", b"b", b"linked"]).unwrap(), tree.lookup(&[b"a", b"large"]).unwrap());
    assert_eq!(tree.lookup(&[b"zero"]).unwrap(), tree.lookup(&[b"empty"]).unwrap());
    assert_eq!(contents(&tree, &[b"link"]), InodeKind::Symlink((*b"/etc/passwd").into()));
    assert_eq!(contents(&tree, &[b"fifo"]), InodeKind::Fifo);
    assert_eq!(contents(&tree, &[b"socket"]), InodeKind::Socket);
    assert_eq!(tree.inode(tree.lookup(&[b"a"]).unwrap()).stat.mode, 0o1751);
    let empty = &tree.inode(tree.lookup(&[b"empty"]).unwrap()).stat;
    assert_eq!(empty.xattrs.get(b"user.test"), attributes.then_some(&b"value"[..]));
    assert!(empty.mtime_seconds > 1_500_000_000);
}

#[test]
fn what_cannot_be_scanned_is_named() {
    let error = scan(CWD, "/nonexistent/x", Objects::Compute(Algorithm::Sha256), &Silent).unwrap_err();
    assert_eq!(error.to_string(), "open: /nonexistent/x");
    assert!(error.is_missing());
}
