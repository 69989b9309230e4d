//! Images made wrong on purpose, one field at a time, and the fault each ends in.

use composefs::{
    digest::{Algorithm, ObjectId},
    erofs::{
        self, FormatVersion, Image, ReadError, ReadLimits,
        read::{Fault, HeaderFault},
    },
    filetree::{DEPTH_MAX, Entries, FileTree, Inode, InodeId, InodeKind, Name, Regular, Stat},
};

use crate::{read, write};

fn add(tree: &mut FileTree, directory: InodeId, name: &str, kind: InodeKind) -> InodeId {
    tree.insert(directory, Name::new(name.as_bytes()).unwrap(), Inode { stat: Stat::default(), kind })
        .unwrap()
}

fn directory() -> InodeKind {
    InodeKind::Directory(Entries::new())
}

fn inline(length: usize) -> InodeKind {
    InodeKind::Regular(Regular::Inline(vec![b'x'; length].into()))
}

/// `/d` with `a` and `sub`, `/e` (external), `/f` (inline), `/l` and `/m` (one leaf), `/s` (symlink).
fn sample() -> FileTree {
    let mut tree = FileTree::new(Stat { mode: 0o755, ..Stat::default() });
    let d = add(&mut tree, InodeId::ROOT, "d", directory());
    add(&mut tree, d, "a", inline(3));
    add(&mut tree, d, "sub", directory());
    let id = ObjectId::from_bytes(Algorithm::Sha256, &[7; 32]).unwrap();
    add(&mut tree, InodeId::ROOT, "e", InodeKind::Regular(Regular::External { id, size: 100 }));
    let f = add(&mut tree, InodeId::ROOT, "f", inline(10));
    tree.inode_mut(f).stat.xattrs.set(b"user.a", b"1");
    tree.inode_mut(f).stat.xattrs.set(b"user.b", b"2");
    let l = add(&mut tree, InodeId::ROOT, "l", InodeKind::Fifo);
    tree.link(InodeId::ROOT, Name::new(b"m").unwrap(), l).unwrap();
    add(&mut tree, InodeId::ROOT, "s", InodeKind::Symlink(b"target".as_slice().into()));
    tree
}

/// The offset of an inode.
fn offset(image: &[u8], path: &[&str]) -> usize {
    let image = Image::open(image, &ReadLimits::default()).unwrap();
    usize::try_from(image.lookup(path).unwrap().nid()).unwrap() * 32
}

/// The sample in V2 with `bytes` at `at`, counted from the inode at `path`.
fn patched(path: &[&str], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut image = write(&sample(), FormatVersion::V2).unwrap();
    let at = offset(&image, path) + at;
    image[at..at + bytes.len()].copy_from_slice(bytes);
    image
}

fn fault(image: &[u8]) -> Option<(String, Fault)> {
    let image = Image::open(image, &ReadLimits::default()).unwrap();
    let tree = erofs::to_tree(&image, Algorithm::Sha256).map(|_| ());
    assert_eq!(tree, erofs::check(&image, Algorithm::Sha256));
    match tree {
        Ok(()) => None,
        Err(ReadError::At { path, source, .. }) => Some((String::from_utf8(path).unwrap(), source)),
        Err(ReadError::Inode { source, .. }) => Some(("?".to_owned(), source)),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn fields_of_inodes() {
    let type_of = |mode, format, size| Fault::Type { mode, format, size };
    let cases: Vec<(&[&str], usize, Vec<u8>, &str, Fault)> = vec![
        (&["f"], 0, vec![0x0b, 0], "f", Fault::Layout(0x0b)),
        (&["f"], 0, vec![0x45, 0], "f", Fault::Layout(0x45)),
        (&["f"], 2, vec![2, 0], "f", Fault::XattrArea),
        (&["f"], 2, vec![0xff, 0xff], "f", Fault::OutsideImage("extended attributes")),
        (&["f"], 4, vec![0, 0x91], "f", type_of(0o110_400, 5, 10)),
        (&["f"], 8, vec![0, 0, 0, 0, 1], "f", Fault::Size(1 << 32)),
        (&["f"], 8, vec![0, 0x10], "f", Fault::Overlap),
        (&["f"], 40, vec![1], "f", Fault::Nanoseconds(1)),
        (&["f"], 44, vec![0], "f", Fault::LinkCount { said: 0, actual: 1 }),
        (&["f"], 44, vec![2], "?", Fault::LinkCount { said: 2, actual: 1 }),
        (&["l"], 44, vec![1], "m", Fault::LinkCount { said: 1, actual: 2 }),
        (&["l"], 4, vec![0, 0x20], "l", Fault::EntryType { entry: 5, inode: 3 }),
        (&["l"], 8, vec![1], "l", type_of(0o010_000, 1, 1)),
        (&["d"], 44, vec![2], "d", Fault::LinkCount { said: 2, actual: 3 }),
        (&["d", "sub"], 8, vec![0], "d/sub", Fault::Dots),
        (&["d", "sub"], 8, vec![26], "d/sub", Fault::NameOrder(b".".to_vec())),
        (&["d", "sub"], 0, vec![9], "d/sub", type_of(0o040_000, 9, 27)),
        (&["s"], 8, vec![0], "s", Fault::SymlinkTarget),
        (&["s"], 64, vec![0], "s", Fault::SymlinkTarget),
        (&[], 4, vec![0xed, 0x81], "", Fault::NotADirectory),
    ];
    for (path, at, bytes, place, expected) in cases {
        let found = fault(&patched(path, at, &bytes));
        assert_eq!(found, Some((place.to_owned(), expected)), "{path:?} {at} {bytes:?}");
    }
}

#[test]
fn entries_of_directories() {
    // `/d`: entries `.`, `..`, `a`, `sub` from 64 on, then the names from 112 on.
    let own = u8::try_from(offset(&patched(&[], 0, &[]), &["d"]) / 32).unwrap();
    let cases: Vec<(usize, Vec<u8>, &str, Fault)> = vec![
        (64, vec![36], "d", Fault::Dots),
        (76, vec![own], "d", Fault::Dots),
        (86, vec![1], "d", Fault::Dots),
        (88, vec![0], "d/a", Fault::OutsideInodes),
        (88, vec![0xff; 8], "d/a", Fault::OutsideInodes),
        (88, vec![0xff, 0xff, 0], "d/a", Fault::OutsideInodes),
        (88, vec![own], "d/a", Fault::EntryType { entry: 1, inode: 2 }),
        (98, vec![2], "d/a", Fault::EntryType { entry: 2, inode: 1 }),
        (100, vec![own], "d/sub", Fault::DirectoryTwice),
        (100, vec![36], "d/sub", Fault::DirectoryTwice),
        (72, vec![0], "d", Fault::DirectoryBlock),
        (72, vec![47], "d", Fault::DirectoryBlock),
        (72, vec![0xfc, 0xff], "d", Fault::DirectoryBlock),
        (84, vec![47], "d", Fault::DirectoryBlock),
        (96, vec![0xff, 0xff], "d", Fault::DirectoryBlock),
        (115, vec![b'/'], "d", Fault::Name(b"/".to_vec())),
        (115, vec![0], "d", Fault::Name(b"\0".to_vec())),
        (115, vec![b'z'], "d", Fault::NameOrder(b"sub".to_vec())),
        (115, vec![b'!'], "d", Fault::NameOrder(b"!".to_vec())),
    ];
    for (at, bytes, place, expected) in cases {
        let found = fault(&patched(&["d"], at, &bytes));
        assert_eq!(found, Some((place.to_owned(), expected)), "{at} {bytes:?}");
    }
}

#[test]
fn attributes() {
    // `/f`: two entries of 8 bytes from 76 on. `/e`: metacopy from 76 on, its value from 96 on; redirect's from 152 on.
    let cases: Vec<(&str, usize, Vec<u8>, Fault)> = vec![
        ("f", 68, vec![1], Fault::OutsideImage("shared extended attributes")),
        ("f", 68, vec![200], Fault::XattrArea),
        ("f", 77, vec![7], Fault::XattrName(b"a".to_vec())),
        ("f", 78, vec![0xff, 0xff], Fault::XattrArea),
        ("f", 88, vec![b'a'], Fault::XattrTwice(b"user.a".to_vec())),
        ("f", 88, vec![0], Fault::XattrName(b"\0".to_vec())),
        ("e", 96, vec![1], Fault::Metacopy),
        ("e", 97, vec![35], Fault::Metacopy),
        ("e", 98, vec![1], Fault::Metacopy),
        ("e", 99, vec![2], Fault::Algorithm { expected: Algorithm::Sha256, actual: 2 }),
        ("e", 100, vec![0], Fault::RedirectDisagrees),
        ("e", 152, vec![b'x'], Fault::Redirect),
        ("e", 153, vec![b'f'], Fault::RedirectDisagrees),
        ("e", 84, vec![b'x'], Fault::RedirectDisagrees),
        ("e", 0, vec![5], Fault::TwoContents),
    ];
    for (path, at, bytes, expected) in cases {
        assert_eq!(
            fault(&patched(&[path], at, &bytes)),
            Some((path.to_owned(), expected)),
            "{path} {at} {bytes:?}"
        );
    }
    // `lustre.a`, which V2 has a prefix for.
    assert_eq!(fault(&patched(&["f"], 77, &[5])), None);
}

#[test]
fn headers() {
    let image = write(&sample(), FormatVersion::V2).unwrap();
    let superblock = |field, value| HeaderFault::Superblock { field, value };
    let cases = [
        (0, 0, HeaderFault::Magic(0xd078_6200)),
        (4, 2, HeaderFault::HeaderVersion(2)),
        (12, 3, HeaderFault::FormatVersion(3)),
        (1024, 0, HeaderFault::SuperblockMagic(0xe0f5_e100)),
        (1032, 8, superblock("compatible features", 8)),
        (1036, 9, superblock("block size", 9)),
        (1037, 1, superblock("extension slots", 1)),
        (1060, 2, HeaderFault::Blocks { said: 2, actual: 1 }),
        (1064, 1, superblock("metadata block", 1)),
        (1104, 1, superblock("incompatible features", 1)),
        (1108, 1, superblock("compression", 1)),
        (1110, 1, superblock("extra devices", 1)),
        (1114, 1, superblock("directory block size", 1)),
        (1115, 1, superblock("xattr prefix count", 1)),
        (1120, 1, superblock("packed inode", 1)),
    ];
    let open = |bytes: &[u8], limits| Image::open(bytes, &limits).map(|_| ()).unwrap_err();
    for (at, byte, fault) in cases {
        let mut image = image.clone();
        image[at] = byte;
        assert_eq!(open(&image, ReadLimits::default()), ReadError::Header(fault), "{at}");
    }
    let limit = ReadLimits::default().image_bytes(4095);
    assert_eq!(open(&image, limit), HeaderFault::TooLarge { actual: 4096, limit: 4095 }.into());
    for cut in [0, 1, 31, 32, 1024, 4095] {
        assert_eq!(open(&image[..cut], ReadLimits::default()), HeaderFault::Length(cut as u64).into());
    }
    let error = ReadError::At { path: b"a\xff".to_vec(), nid: 40, source: Fault::Dots };
    assert_eq!(error.to_string(), "/a\\xff (inode 40)");
}

#[test]
fn stubs_and_whiteouts_of_epoch_1() {
    let mut tree = sample();
    add(&mut tree, InodeId::ROOT, "w", InodeKind::CharDevice(0));
    add(&mut tree, InodeId::ROOT, "x", InodeKind::CharDevice(7));
    let image = write(&tree, FormatVersion::V1).unwrap();
    assert_eq!(fault(&image), None);
    let mut native = image.clone();
    let at = offset(&image, &["x"]) + 16;
    native[at..at + 4].fill(0);
    assert_eq!(fault(&native), Some(("x".to_owned(), Fault::NativeWhiteout)));
    // The root's names are in blocks: rename the stub `80` to `8!`, in order still.
    let mut renamed = image.clone();
    let at = renamed.windows(6).position(|bytes| bytes == b"7f8081").unwrap();
    renamed[at + 3] = b'!';
    assert_eq!(fault(&renamed), Some(("8!".to_owned(), Fault::NativeWhiteout)));
    // A stub with a device number is an owner's device of that name.
    let mut owned = image.clone();
    let at = offset(&image, &["80"]) + 16;
    owned[at] = 1;
    let tree = read(&owned, Algorithm::Sha256);
    assert_eq!(tree.inode(tree.lookup(&[b"80"]).unwrap()).kind, InodeKind::CharDevice(1));
}

#[test]
fn shared_data_ends_soon() {
    let mut tree = FileTree::new(Stat::default());
    for number in 0..2000 {
        add(&mut tree, InodeId::ROOT, &format!("f{number}"), inline(5000));
    }
    let mut image = write(&tree, FormatVersion::V1).unwrap();
    let length = u32::try_from(image.len()).unwrap();
    for number in 0..2000 {
        // Compact inodes: each file is the whole image.
        let at = offset(&image, &[&format!("f{number}")]);
        image[at] = 0;
        image[at + 8..at + 12].copy_from_slice(&length.to_le_bytes());
        image[at + 16..at + 20].fill(0);
    }
    assert_eq!(fault(&image).map(|(_, fault)| fault), Some(Fault::Overlap));
    let image = Image::open(&image, &ReadLimits::default()).unwrap();
    assert!(erofs::object_ids(&image, Algorithm::Sha256).is_err());
}

#[test]
fn shared_attributes_are_bounded() {
    let mut tree = FileTree::new(Stat::default());
    for number in 0..1000 {
        let id = add(&mut tree, InodeId::ROOT, &format!("f{number}"), inline(1));
        tree.inode_mut(id).stat.xattrs.set(b"user.big", &[1; 30_000]);
    }
    for version in FormatVersion::ALL {
        let bytes = write(&tree, version).unwrap();
        assert!(bytes.len() < 300_000);
        let image = Image::open(&bytes, &ReadLimits::default().tree_bytes(10_000_000)).unwrap();
        let error = erofs::to_tree(&image, Algorithm::Sha256).map(|_| ()).unwrap_err();
        assert!(matches!(error, ReadError::At { source: Fault::TreeBytes(10_000_000), .. }), "{error:?}");
        assert_eq!(erofs::check(&image, Algorithm::Sha256), Err(error));
        assert_eq!(erofs::object_ids(&image, Algorithm::Sha256), Ok(vec![]));
        read(&bytes, Algorithm::Sha256);
    }
}

#[test]
fn the_deepest_tree_is_read() {
    let mut tree = FileTree::new(Stat::default());
    let mut at = InodeId::ROOT;
    for _ in 0..DEPTH_MAX {
        at = add(&mut tree, at, "d", directory());
    }
    for version in FormatVersion::ALL {
        let image = write(&tree, version).unwrap();
        assert_eq!(read(&image, Algorithm::Sha256).table_len(), DEPTH_MAX + 1);
        let image = Image::open(&image, &ReadLimits::default()).unwrap();
        assert!(image.lookup(&vec!["d"; DEPTH_MAX]).unwrap().is_directory());
    }
}
