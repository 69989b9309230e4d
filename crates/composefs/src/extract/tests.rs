use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

use rustix::fs::{CWD, Timestamps, XattrFlags, lsetxattr, mkfifoat};

use super::*;
use crate::{
    digest::Algorithm,
    filetree::{Inode, Regular, Stat, resolve::LastLink},
    progress::Silent,
    repo::{InitOptions, OpenOptions, Repository, Writer, init},
    scan::{Objects, scan},
};

struct Lab {
    place: tempfile::TempDir,
    writer: Writer,
}

impl Lab {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("repo");
        init(CWD, &path, &InitOptions::new(Algorithm::Sha256).insecure(true)).unwrap();
        let writer = Repository::open(CWD, &path, &OpenOptions::default()).unwrap().into_writer().unwrap();
        Self { place, writer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn scan(&self, name: &str) -> FileTree {
        scan(CWD, self.path(name), Objects::Store(&self.writer), &Silent).unwrap().tree
    }

    fn extract(&self, tree: &FileTree, from: &str, dest: &str) -> Result<Extracted> {
        self.extract_with(tree, from, dest, &ExtractOptions::default())
    }

    fn extract_with(
        &self,
        tree: &FileTree,
        from: &str,
        dest: &str,
        options: &ExtractOptions,
    ) -> Result<Extracted> {
        let from = tree.resolve(from.as_bytes(), LastLink::Keep).unwrap();
        extract(&self.writer, tree, &from, &self.path(dest), options, &Silent)
    }

    /// What lies beside the repository.
    fn names(&self, below: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(below))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A directory with one of each that an ordinary user can make.
fn fill(root: &Path) {
    fs::create_dir_all(root.join("d/below")).unwrap();
    fs::write(root.join("d/small"), [1; 64]).unwrap();
    fs::write(root.join("d/large"), vec![2; 3 << 20]).unwrap();
    let mut sparse = vec![0; 1 << 20];
    sparse[300_000] = 1;
    sparse.resize(5 << 20, 0);
    fs::write(root.join("d/sparse"), sparse).unwrap();
    fs::write(root.join("empty"), []).unwrap();
    fs::hard_link(root.join("d/large"), root.join("d/below/linked")).unwrap();
    symlink("../../../etc/passwd", root.join("d/link")).unwrap();
    symlink("/d", root.join("abs")).unwrap();
    mkfifoat(CWD, root.join("fifo"), Mode::from_raw_mode(0o600)).unwrap();
    std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    // Not every file system has them.
    let _ = lsetxattr(root.join("empty"), c"user.test", b"value", XattrFlags::empty());
    let _ = lsetxattr(root.join("d"), c"user.dir", b"", XattrFlags::empty());
    let modes = [("d/small", 0o4755), ("d/large", 0), ("d/below", 0o500), ("d", 0o1751), ("fifo", 0o640)];
    for (name, mode) in modes {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let old = Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: 5, tv_nsec: 0 },
        last_modification: rustix::fs::Timespec { tv_sec: 1_234_567_890, tv_nsec: 987_654_321 },
    };
    for name in ["d/link", "d/below", "d/small", "d", "fifo", ""] {
        rustix::fs::utimensat(CWD, root.join(name), &old, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn inodes(tree: &FileTree) -> Vec<(Option<Name>, InodeId, Inode)> {
    tree.depth_first().map(|step| (step.name.cloned(), step.inode, tree.inode(step.inode).clone())).collect()
}

#[test]
fn what_is_extracted_scans_as_the_same_tree() {
    let lab = Lab::new();
    fs::create_dir(lab.path("source")).unwrap();
    fill(&lab.path("source"));
    let tree = lab.scan("source");
    let done = lab.extract(&tree, "/", "copy").unwrap();
    assert_eq!(done.paths, [lab.path("copy")]);
    assert_eq!((done.directories, done.files, done.hard_links, done.others), (3, 4, 1, 4));
    assert!(done.is_complete());
    let copy = lab.scan("copy");
    assert_eq!(inodes(&copy), inodes(&tree));
    assert!(fs::metadata(lab.path("copy/d/sparse")).unwrap().blocks() < 5 << 10, "holes stay holes");
    assert_eq!(lab.names("."), ["copy", "repo", "source"]);

    // Into a directory that is there, which stays as it is.
    fs::create_dir(lab.path("there")).unwrap();
    let done = lab.extract(&tree, "/", "there").unwrap();
    assert_eq!(done.paths.len(), 5);
    let mut there = lab.scan("there");
    there.inode_mut(InodeId::ROOT).stat = tree.root().stat.clone();
    assert_eq!(inodes(&there), inodes(&tree));
}

#[test]
fn where_it_goes_is_as_with_cp() {
    let lab = Lab::new();
    fs::create_dir(lab.path("source")).unwrap();
    fill(&lab.path("source"));
    let tree = lab.scan("source");
    fs::create_dir(lab.path("dir")).unwrap();
    lab.extract(&tree, "/d/small", "dir").unwrap();
    lab.extract(&tree, "/d/small", "dir/renamed").unwrap();
    lab.extract(&tree, "/d/below", "dir").unwrap();
    lab.extract(&tree, "/d/link", "dir/link").unwrap();
    lab.extract_with(&tree, "/d/below", "dir", &ExtractOptions::default().contents(true)).unwrap();
    assert_eq!(lab.names("dir"), ["below", "link", "linked", "renamed", "small"]);
    assert_eq!(fs::metadata(lab.path("dir/renamed")).unwrap().permissions().mode() & 0o7777, 0o4755);

    for dest in ["dir", "dir/small", "missing/deep"] {
        let error = lab.extract(&tree, "/d/small", dest).unwrap_err();
        assert_eq!(matches!(error, Error::Exists { .. }), dest != "missing/deep", "{error}");
    }
    assert_eq!(lab.names("dir"), ["below", "link", "linked", "renamed", "small"]);
}

#[test]
fn a_damaged_object_leaves_nothing() {
    let lab = Lab::new();
    fs::create_dir(lab.path("source")).unwrap();
    fill(&lab.path("source"));
    let tree = lab.scan("source");
    let large = tree.resolve(b"/d/large", LastLink::Keep).unwrap().inode;
    let InodeKind::Regular(Regular::External { id, .. }) = tree.inode(large).kind else { unreachable!() };
    let object = lab.path("repo/objects").join(id.object_path());
    fs::remove_file(&object).unwrap();
    assert!(matches!(lab.extract(&tree, "/", "copy"), Err(Error::ObjectMissing { .. })));
    fs::write(&object, vec![3; 3 << 20]).unwrap();
    assert!(matches!(lab.extract(&tree, "/", "copy"), Err(Error::ObjectMismatch { .. })));
    fs::create_dir(lab.path("there")).unwrap();
    assert!(matches!(lab.extract(&tree, "/", "there"), Err(Error::ObjectMismatch { .. })));
    assert_eq!(lab.names("."), ["repo", "source", "there"]);
    assert_eq!(lab.names("there"), [""; 0]);
    let cancelled = ExtractOptions::default();
    cancelled.cancel.cancel();
    assert!(matches!(lab.extract_with(&tree, "/", "copy", &cancelled), Err(Error::Cancelled)));
    assert_eq!(lab.names("."), ["repo", "source", "there"]);
}

#[test]
fn the_processes_own_files_have_no_set_id_bits() {
    let lab = Lab::new();
    let stat = Stat { mode: 0o6755, uid: 1234, gid: 1234, ..Stat::default() };
    let mut tree = FileTree::new(Stat { mode: 0o755, ..Stat::default() });
    let file = InodeKind::Regular(Regular::Inline(b"x".as_slice().into()));
    tree.insert(InodeId::ROOT, Name::new(b"su").unwrap(), Inode { stat, kind: file }).unwrap();
    let options = ExtractOptions::default().owners(Owners::Own);
    lab.extract_with(&tree, "/su", "su", &options).unwrap();
    let metadata = fs::metadata(lab.path("su")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o755);
    assert_eq!(metadata.uid(), rustix::process::geteuid().as_raw());
}

#[test]
fn a_deep_tree_needs_few_descriptors() {
    let lab = Lab::new();
    let directory = || Inode {
        stat: Stat { mode: 0o700, ..Stat::default() },
        kind: InodeKind::Directory(Entries::new()),
    };
    let mut tree = FileTree::new(directory().stat);
    let mut at = InodeId::ROOT;
    for _ in 0..600 {
        at = tree.insert(at, Name::new(b"d").unwrap(), directory()).unwrap();
    }
    let done = lab.extract(&tree, "/", "deep").unwrap();
    assert_eq!(done.directories, 601);
    assert_eq!(inodes(&lab.scan("deep")).len(), inodes(&tree).len());
}
