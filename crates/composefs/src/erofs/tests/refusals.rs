//! What is refused and which path it is blamed on; and how a version is chosen.

use std::io::{self, Write};

use crate::digest::{Algorithm, ObjectId};
use crate::erofs::{self, FormatVersion, Refusal, VersionError, WriteError, WriteOptions, choose_version};
use crate::filetree::{DEPTH_MAX, Entries, FileTree, Inode, InodeId, InodeKind, Regular};

use super::{add, name, stat};

fn file(contents: &[u8]) -> InodeKind {
    InodeKind::Regular(Regular::Inline(contents.into()))
}

/// Asserts that these versions refuse a tree, and the others do not.
#[track_caller]
fn refused(tree: &FileTree, versions: &[FormatVersion], path: &[u8], reason: &Refusal) {
    for version in FormatVersion::ALL {
        let result = erofs::write(tree, version, &WriteOptions::default(), &mut io::sink());
        match result {
            Ok(_) => assert!(!versions.contains(&version), "V{version} takes it"),
            Err(WriteError::Refused { path: at, reason: why }) => {
                assert!(versions.contains(&version), "V{version}: {why}");
                assert_eq!((at.escape_ascii().to_string(), &why), (path.escape_ascii().to_string(), reason));
            }
            Err(error) => panic!("V{version}: {error}"),
        }
    }
}

const ALL: &[FormatVersion] = &FormatVersion::ALL;
const EPOCH1: &[FormatVersion] = &[FormatVersion::V0, FormatVersion::V1];
const V2: &[FormatVersion] = &[FormatVersion::V2];

#[test]
fn shapes() {
    let mut tree = FileTree::new(stat(0o755));
    let whiteout = add(&mut tree, b"a", InodeKind::CharDevice(0));
    tree.link(InodeId::ROOT, name(b"b"), whiteout).unwrap();
    refused(&tree, ALL, b"/b", &Refusal::LinkedWhiteout);

    let mut tree = FileTree::new(stat(0o755));
    let outer = add(&mut tree, b"outer", InodeKind::Directory(Entries::new()));
    tree.link(outer, name(b"again"), outer).unwrap();
    refused(&tree, ALL, b"/outer/again", &Refusal::LinkedDirectory);

    let mut tree = FileTree::new(stat(0o755));
    let (mut at, mut path) = (InodeId::ROOT, Vec::new());
    for _ in 0..=DEPTH_MAX {
        let kind = InodeKind::Directory(Entries::new());
        at = tree.insert(at, name(b"d"), Inode { stat: stat(0o755), kind }).unwrap();
        path.extend_from_slice(b"/d");
    }
    refused(&tree, ALL, &path, &Refusal::TooDeep);
}

#[test]
fn contents() {
    let mut tree = FileTree::new(stat(0o755));
    add(&mut tree, b"link", InodeKind::Symlink(Box::from(&b""[..])));
    refused(&tree, ALL, b"/link", &Refusal::SymlinkLength(0));
    add(&mut tree, b"link", InodeKind::Symlink(vec![b'x'; 4096].into()));
    refused(&tree, ALL, b"/link", &Refusal::SymlinkLength(4096));
    add(&mut tree, b"link", InodeKind::Symlink(Box::from(&b"a\0b"[..])));
    refused(&tree, ALL, b"/link", &Refusal::SymlinkNul);

    let mut tree = FileTree::new(stat(0o755));
    add(&mut tree, b"large", file(&[7; 4096]));
    refused(&tree, V2, b"/large", &Refusal::InlineContent(4096));
    add(&mut tree, b"large", file(&[7; 4095]));
    refused(&tree, &[], b"", &Refusal::TooDeep);

    let mut tree = FileTree::new(stat(0o755));
    add(&mut tree, b"huge", InodeKind::Regular(Regular::Sparse((1 << 53) + 1)));
    refused(&tree, EPOCH1, b"/huge", &Refusal::FileTooBig((1 << 53) + 1));

    let mut tree = FileTree::new(stat(0o755));
    let late = add(&mut tree, b"late", file(b""));
    tree.inode_mut(late).stat.mtime_nanos = 1_000_000_000;
    refused(&tree, ALL, b"/late", &Refusal::Nanoseconds(1_000_000_000));
}

#[test]
fn objects() {
    let ids = Algorithm::ALL
        .map(|algorithm| ObjectId::from_bytes(algorithm, &vec![1; algorithm.digest_size()]).unwrap());
    let mut tree = FileTree::new(stat(0o755));
    add(&mut tree, b"a", InodeKind::Regular(Regular::External { id: ids[0], size: 100 }));
    let id = erofs::compute_id(&tree, FormatVersion::V1, Algorithm::Sha512, &WriteOptions::default());
    assert!(matches!(
        id,
        Err(WriteError::Algorithm { objects: Algorithm::Sha256, image: Algorithm::Sha512 })
    ));

    let path = ids[0].object_path().into_bytes();
    let kind = InodeKind::Regular(Regular::Redirect { path: path.clone().into(), size: 100 });
    let mut redirected = tree.clone();
    add(&mut redirected, b"b", kind);
    refused(&redirected, ALL, b"/b", &Refusal::RedirectPath(path));

    add(&mut tree, b"b", InodeKind::Regular(Regular::Unverified { id: ids[1], size: 100 }));
    let mix = Refusal::ObjectAlgorithm { expected: Algorithm::Sha256, actual: Algorithm::Sha512 };
    refused(&tree, ALL, b"/b", &mix);
}

#[test]
fn xattrs() {
    let tree_with = |key: &[u8], value: &[u8]| {
        let mut tree = FileTree::new(stat(0o755));
        let id = add(&mut tree, b"f", file(b""));
        tree.inode_mut(id).stat.xattrs.set(key, value);
        tree
    };
    for key in [&b""[..], &[b'k'; 256], b"user.\0"] {
        refused(&tree_with(key, b""), ALL, b"/f", &Refusal::XattrName(key.to_vec()));
    }
    let value = Refusal::XattrValue { name: b"user.a".to_vec(), bytes: 65536 };
    refused(&tree_with(b"user.a", &[0; 65536]), ALL, b"/f", &value);
    // 12 + 7 + 6 + the value
    refused(&tree_with(b"user.a", &[0; 32743]), ALL, b"/f", &Refusal::XattrBytes(32768));
    refused(&tree_with(b"user.a", &[0; 32742]), &[], b"", &Refusal::TooDeep);
    // Escaping makes the name longer than 255, its suffix not.
    let escaped = [&b"trusted.overlay."[..], &[b'x'; 239]].concat();
    refused(&tree_with(&escaped, b""), &[], b"", &Refusal::TooDeep);

    let mut tree = FileTree::new(stat(0o755));
    for at in [b"a", b"b"] {
        let id = add(&mut tree, at, file(b""));
        for number in 0..256 {
            tree.inode_mut(id).stat.xattrs.set(format!("user.{number}").as_bytes(), b"");
        }
    }
    refused(&tree, V2, b"/a", &Refusal::SharedXattrs(256));
}

#[test]
fn a_failing_writer_is_told() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tree = FileTree::new(stat(0o755));
    let result = erofs::write(&tree, FormatVersion::V1, &WriteOptions::default(), &mut Full);
    assert!(matches!(result, Err(WriteError::Io(error)) if error.kind() == io::ErrorKind::StorageFull));
}

#[test]
fn whiteouts_raise_the_version() {
    let plain = FileTree::new(stat(0o755));
    let mut whiteout = plain.clone();
    add(&mut whiteout, b"gone", InodeKind::CharDevice(0));
    for (min, max, of_plain, of_whiteout) in [(0, 1, 0, 1), (0, 0, 0, 0), (1, 1, 1, 1), (1, 0, 1, 1)] {
        let choose = |tree| choose_version(min, max, tree).unwrap().number();
        assert_eq!((choose(&plain), choose(&whiteout)), (of_plain, of_whiteout), "{min} {max}");
    }
    assert_eq!(choose_version(0, 2, &plain), Err(VersionError::Unsupported(2)));
}

#[test]
fn primary_names_that_do_not_exist_are_ignored() {
    let mut tree = FileTree::new(stat(0o755));
    let id = add(&mut tree, b"y", file(b"1"));
    tree.link(InodeId::ROOT, name(b"z"), id).unwrap();
    let write = |options: WriteOptions| erofs::to_vec(&tree, FormatVersion::V1, &options).unwrap();
    let plain = write(WriteOptions::default());
    for lost in [(InodeId::ROOT, name(b"x")), (id, name(b"y"))] {
        assert!(write(WriteOptions::default().primary_names([(id, lost)].into())) == plain);
    }
    let second = [(id, (InodeId::ROOT, name(b"z")))].into();
    // Both names are in one directory and nothing is between them: the same place.
    assert!(write(WriteOptions::default().primary_names(second)) == plain);
}
