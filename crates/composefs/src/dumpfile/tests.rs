use std::{fs, io::Read as _, path::PathBuf};

use proptest::prelude::*;

use super::{
    parse::{Field, Reason},
    *,
};
use crate::{
    digest::{Algorithm, ObjectId},
    filetree::{FileTree, Inode, InodeId, InodeKind, Name, NameError, Regular, Stat},
};

fn vectors() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/erofs").into()
}

fn dumps(directory: &str) -> Vec<(String, Vec<u8>)> {
    let mut dumps: Vec<_> = fs::read_dir(vectors().join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dump"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap()))
        .collect();
    assert!(!dumps.is_empty());
    dumps.sort();
    dumps
}

fn algorithm_of(name: &str) -> Algorithm {
    if name.contains("512") && !name.contains("511") && !name.starts_with("inline") {
        Algorithm::Sha512
    } else {
        Algorithm::Sha256
    }
}

fn print(tree: &FileTree) -> String {
    let mut out = Vec::new();
    write(tree, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn reason(text: &str) -> (usize, Reason) {
    let error = parse(text.as_bytes(), Algorithm::Sha256).unwrap_err();
    (error.line, error.reason)
}

const ROOT: &str = "/ 0 40755 2 0 0 0 0.0 - - -\n";

/// Parses one line below a root and prints it again.
fn echo(line: &str) -> String {
    let parsed = parse(format!("{ROOT}{line}\n").as_bytes(), Algorithm::Sha256).unwrap();
    print(&parsed.tree).strip_prefix(ROOT).unwrap().trim_end().to_owned()
}

fn refusal(line: &str) -> Reason {
    let (at, reason) = reason(&format!("{ROOT}{line}\n"));
    assert_eq!(at, 2, "{line}");
    reason
}

#[test]
fn canonical_output_of_the_vectors() {
    for (name, canon) in dumps("canon") {
        let input = fs::read(vectors().join(&name).with_extension("dump")).unwrap();
        let parsed = parse(&input, algorithm_of(&name)).unwrap();
        similar_asserts::assert_eq!(print(&parsed.tree), String::from_utf8(canon).unwrap(), "{}", name);
    }
}

#[test]
fn canonical_output_is_a_fixed_point() {
    let mut all = dumps("");
    let mut debian = Vec::new();
    let file = fs::File::open(vectors().join("debian.dump.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut debian).unwrap();
    all.push(("debian".to_owned(), debian));
    for (name, input) in all {
        let parsed = parse(&input, algorithm_of(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let once = print(&parsed.tree);
        let again = parse(once.as_bytes(), algorithm_of(&name)).unwrap();
        assert_eq!(print(&again.tree), once, "{name}");
    }
}

#[test]
fn the_vectors_that_must_fail_do() {
    for (name, input) in dumps("should-fail") {
        let parsed = parse(&input, Algorithm::Sha256);
        assert_eq!(parsed.is_ok(), name == "file-too-big", "{name}: {:?}", parsed.err());
    }
}

#[test]
fn hard_links_know_the_name_of_their_full_line() {
    let text = format!(
        "{ROOT}/a 0 40755 2 0 0 0 0.0 - - -\n/a/x 0 @120000 - - - - 0.0 /c - -\n/c 0 @100644 1 0 0 0 0.0 /b - -\n/b 1 100644 9 0 0 0 0.0 - x -\n"
    );
    let parsed = parse(text.as_bytes(), Algorithm::Sha256).unwrap();
    let inode = parsed.tree.lookup(&[b"b"]).unwrap();
    assert_eq!(parsed.tree.lookup(&[b"a", b"x"]), Ok(inode));
    assert_eq!(parsed.primary_names.len(), 1);
    assert_eq!(parsed.primary_names[&inode], (InodeId::ROOT, Name::new(b"b").unwrap()));
    assert!(print(&parsed.tree).ends_with(
        "/a/x 1 100644 3 0 0 0 0.0 - x -\n/b 0 @120000 - - - - 0.0 /a/x - -\n/c 0 @120000 - - - - 0.0 /a/x - -\n"
    ));
}

#[test]
fn forms_that_are_accepted_and_printed_otherwise() {
    for (line, canonical) in [
        ("/a 007 010600 1 0 0 77 -5.1 - - -", "/a 0 10600 1 0 0 0 -5.1 - - -"),
        ("/a 0 10600 1 0 0 0 18446744073709551611.1 - - - ", "/a 0 10600 1 0 0 0 -5.1 - - -"),
        ("/a 9 120777 1 0 0 0 0.0 b - -", "/a 1 120777 1 0 0 0 0.0 b - -"),
        ("/a 0 100644 1 0 0 0 0.0 what/ever - nonsense", "/a 0 100644 1 0 0 0 0.0 - - -"),
        (
            "/a 0 100644 1 0 0 0 0.0 - - - user.a=1 user.b=== user.a=\\x4A",
            "/a 0 100644 1 0 0 0 0.0 - - - user.a=J user.b=\\x3d\\x3d",
        ),
        ("/a 0 100644 1 0 0 0 0.0 - - - user.a=-", "/a 0 100644 1 0 0 0 0.0 - - - user.a=-"),
        ("/a 2 100644 1 0 0 0 0.0 - \\x2d\r -", "/a 2 100644 1 0 0 0 0.0 - -\\r -"),
        ("/a 3 100644 1 0 0 0 0.0 - - -", "/a 3 100644 1 0 0 0 0.0 - - -"),
        ("/a 3 100644 1 0 0 0 0.0 12/34.file - -", "/a 3 100644 1 0 0 0 0.0 12/34.file - -"),
    ] {
        assert_eq!(echo(line), canonical);
    }
}

#[test]
fn lines_that_are_refused() {
    let digest = "ab".repeat(32);
    let object = format!("ab/{}", "ab".repeat(31));
    for (line, reason) in [
        ("/a 0 40755 2 0 0 0 0.0 x - -".to_owned(), Reason::Unexpected(Field::Payload)),
        (format!("/a 3 100644 2 0 0 0 0.0 x - {digest}"), Reason::PayloadNotOfDigest),
        (format!("/a 3 100644 2 0 0 0 0.0 x/{object} - {digest}"), Reason::PayloadNotOfDigest),
        ("/a 0 1100644 1 0 0 0 0.0 - - -".to_owned(), Reason::Mode),
        ("/a 0 10644 1 +0 0 0 0.0 - - -".to_owned(), Reason::Number(Field::Uid)),
        ("/a 0 10644 1 0 0 0 -9223372036854775809.0 - - -".to_owned(), Reason::Number(Field::Mtime)),
        ("/a 0 10644 1 0 0 0 0.0 - - -  ".to_owned(), Reason::EmptyField(Field::XattrName)),
        ("/a\\x2f..  0".to_owned(), Reason::Component(Field::Path, NameError::Dots)),
        ("/a/b 0 10644 1 0 0 0 0.0 - - -".to_owned(), Reason::NoParent((*b"/a/b").into())),
        ("/a 0 @100644 - - - - - / - -".to_owned(), Reason::LinkToDirectory),
        ("/ 0 @100644 - - - - - /a - -".to_owned(), Reason::Duplicate((*b"/").into())),
        ("/a 0 @100644 - - - - - /b - -".to_owned(), Reason::LinkTargetMissing((*b"/b").into())),
    ] {
        assert_eq!(refusal(&line), reason, "{line}");
    }
    assert_eq!(reason("\n\n"), (1, Reason::NoRoot));
    let twice = format!("{ROOT}\n/a 0 @100644 - - - - - /b - -\n/a 0 10644 1 0 0 0 0.0 - - -");
    assert_eq!(reason(&twice), (4, Reason::Duplicate((*b"/a").into())));
    let below_link = format!("{ROOT}/a 0 @100644 - - - - - /b - -\n/a/c 0 10644 1 0 0 0 0.0 - - -");
    assert_eq!(reason(&below_link), (3, Reason::ParentNotADirectory((*b"/a/c").into())));
}

#[test]
fn digests_of_the_other_algorithm() {
    let id = ObjectId::from_bytes(Algorithm::Sha512, &[7; 64]).unwrap();
    let line = format!("/a 3 100644 2 0 0 0 0.0 {} - {id}", id.object_path());
    assert!(matches!(refusal(&line), Reason::Digest(_)));
}

/// Deep paths, many links in a chain, many attributes in a bad order: linear, and no stack.
#[test]
fn hostile_shapes() {
    let mut text = ROOT.to_owned();
    let mut path = String::new();
    for _ in 0..2047 {
        path += "/d";
        text += &format!("{path} 0 40755 2 0 0 0 0.0 - - -\n");
    }
    for at in 0..20_000 {
        text += &format!("/l{at} 0 @120000 - - - - 0.0 /l{} - -\n", at + 1);
    }
    let names: String = (0..10_000).rev().map(|at| format!(" u.{at:04}=")).collect();
    text += &format!("/l20000 0 10644 1 0 0 0 0.0 - - -{names}\n");
    let parsed = parse(text.as_bytes(), Algorithm::Sha256).unwrap();
    let once = print(&parsed.tree);
    assert_eq!(once.lines().count(), text.lines().count());
    assert_eq!(print(&parse(once.as_bytes(), Algorithm::Sha256).unwrap().tree), once);
}

fn a_name() -> impl Strategy<Value = Name> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 1..8),
        proptest::sample::select(vec![b"a".to_vec(), b"b".to_vec(), b"-".to_vec(), b"=\\ \n".to_vec()]),
    ]
    .prop_filter_map("no name", |name| Name::new(&name).ok())
}

fn a_stat() -> impl Strategy<Value = Stat> {
    let xattr = (proptest::collection::vec(1_u8.., 1..6), proptest::collection::vec(any::<u8>(), 0..6));
    (
        0_u16..0o10000,
        any::<[u32; 2]>(),
        any::<i64>(),
        0_u32..1_000_000_000,
        proptest::collection::vec(xattr, 0..3),
    )
        .prop_map(|(mode, [uid, gid], mtime_seconds, mtime_nanos, list)| {
            let mut stat = Stat { mode, uid, gid, mtime_seconds, mtime_nanos, ..Stat::default() };
            for (name, value) in list {
                stat.xattrs.set(&name, &value);
            }
            stat
        })
}

fn a_kind() -> impl Strategy<Value = InodeKind> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..80);
    let id = any::<[u8; 32]>().prop_map(|id| ObjectId::from_bytes(Algorithm::Sha256, &id).unwrap());
    prop_oneof![
        3 => Just(InodeKind::Directory(Default::default())),
        1 => bytes().prop_map(|bytes| InodeKind::Regular(Regular::Inline(bytes.into()))),
        1 => (id.clone(), 1_u64..).prop_map(|(id, size)| InodeKind::Regular(Regular::External { id, size })),
        1 => (id, 1_u64..).prop_map(|(id, size)| InodeKind::Regular(Regular::Unverified { id, size })),
        1 => (1_u64..).prop_map(|size| InodeKind::Regular(Regular::Sparse(size))),
        1 => proptest::collection::vec(1_u8.., 1..9).prop_map(|target| InodeKind::Symlink(target.into())),
        1 => (1_u32..).prop_map(InodeKind::CharDevice),
        1 => any::<u32>().prop_map(InodeKind::BlockDevice),
        1 => Just(InodeKind::Fifo),
        1 => Just(InodeKind::Socket),
    ]
}

prop_compose! {
    fn a_tree()(
        root in a_stat(),
        steps in proptest::collection::vec(
            (any::<prop::sample::Index>(), a_name(), a_stat(), a_kind(), any::<Option<prop::sample::Index>>()),
            0..40,
        ),
    ) -> FileTree {
        let mut tree = FileTree::new(root);
        let (mut directories, mut leaves) = (vec![InodeId::ROOT], Vec::new());
        for (parent, name, stat, kind, link) in steps {
            let parent = *parent.get(&directories);
            if tree.lookup_in(parent, name.as_bytes()).is_ok() {
                continue;
            }
            match link {
                Some(link) if !leaves.is_empty() => tree.link(parent, name, *link.get(&leaves)).unwrap(),
                _ => {
                    let list = if kind.is_directory() { &mut directories } else { &mut leaves };
                    list.push(tree.insert(parent, name, Inode { stat, kind }).unwrap());
                }
            }
        }
        tree
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_trees_survive(tree in a_tree()) {
        let text = print(&tree);
        let parsed = parse(text.as_bytes(), Algorithm::Sha256).unwrap();
        prop_assert_eq!(print(&parsed.tree), text);
        prop_assert_eq!(parsed.tree.depth_first().count(), tree.depth_first().count());
        for (ours, theirs) in tree.depth_first().zip(parsed.tree.depth_first()) {
            let (ours, theirs) = (tree.inode(ours.inode), parsed.tree.inode(theirs.inode));
            prop_assert_eq!(&ours.stat, &theirs.stat);
            prop_assert!(ours.kind == theirs.kind || ours.kind.is_directory() && theirs.kind.is_directory());
        }
    }

    #[test]
    fn damaged_dumpfiles_never_panic(
        tree in a_tree(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..4),
    ) {
        let mut text = print(&tree).into_bytes();
        for (at, byte, how) in damage {
            let at = at.index(text.len());
            match how {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => text.truncate(at.max(1)),
            }
        }
        if let Ok(parsed) = parse(&text, Algorithm::Sha256) {
            let once = print(&parsed.tree);
            let again = parse(once.as_bytes(), Algorithm::Sha256).unwrap();
            prop_assert_eq!(print(&again.tree), once);
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, Algorithm::Sha256);
    }
}
