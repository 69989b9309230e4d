use super::{matcher, pattern::Shape, *};
use crate::filetree::{Entries, Inode, InodeKind, Name, Regular, Stat};

fn put(tree: &mut FileTree, path: &str, kind: InodeKind) -> InodeId {
    let mut at = InodeId::ROOT;
    let (parents, last) = path.rsplit_once('/').unwrap_or(("", path));
    for component in parents.split('/').filter(|component| !component.is_empty()) {
        at = tree.lookup_in(at, component.as_bytes()).unwrap_or_else(|_| {
            let inode = Inode { stat: Stat::default(), kind: InodeKind::Directory(Entries::new()) };
            tree.insert(at, Name::new(component.as_bytes()).unwrap(), inode).unwrap()
        });
    }
    tree.insert(at, Name::new(last.as_bytes()).unwrap(), Inode { stat: Stat::default(), kind }).unwrap()
}

fn file(contents: &str) -> InodeKind {
    InodeKind::Regular(Regular::Inline(contents.as_bytes().into()))
}

fn bootable() -> FileTree {
    let mut tree = FileTree::new(Stat::default());
    for path in ["usr/x", "boot/vmlinuz", "sysroot/y"] {
        put(&mut tree, path, file(""));
    }
    let usr = tree.lookup(&[b"usr"]).unwrap();
    tree.inode_mut(usr).stat.mtime_seconds = 7;
    tree
}

fn with_policy(contexts: &str) -> FileTree {
    let mut tree = bootable();
    put(&mut tree, "etc/selinux/config", file("SELINUXTYPE=t\n"));
    put(&mut tree, "etc/selinux/t/contexts/files/file_contexts", file(contexts));
    tree
}

fn transform(tree: &mut FileTree) -> Result<(), BootError> {
    boot_transform(tree, &mut |_, _| unreachable!("all files are inline"), &BootLimits::default())
}

fn label(tree: &FileTree, path: &str) -> Option<String> {
    let components: Vec<&[u8]> = path.split('/').filter(|name| !name.is_empty()).map(str::as_bytes).collect();
    let inode = tree.inode(tree.lookup(&components).unwrap());
    inode.stat.xattrs.get(SELINUX_XATTR).map(|label| String::from_utf8(label.to_vec()).unwrap())
}

#[test]
fn without_a_policy_labels_go_and_directories_are_emptied() {
    let mut tree = bootable();
    tree.inode_mut(InodeId::ROOT).stat.xattrs.set(SELINUX_XATTR, b"old\0");
    transform(&mut tree).unwrap();
    assert_eq!(label(&tree, ""), None);
    for name in [b"boot".as_slice(), b"sysroot"] {
        let inode = tree.lookup(&[name]).unwrap();
        assert!(tree.entries(inode).unwrap().is_empty());
        assert_eq!(tree.inode(inode).stat.mtime_seconds, 7);
    }
}

#[test]
fn missing_directories_are_refused() {
    for name in [b"usr".as_slice(), b"boot", b"sysroot"] {
        let mut tree = bootable();
        tree.unlink(InodeId::ROOT, name).unwrap();
        assert!(matches!(transform(&mut tree), Err(BootError::Directory(TreeError::NotFound(_)))));
        put(&mut tree, std::str::from_utf8(name).unwrap(), file(""));
        assert!(matches!(transform(&mut tree), Err(BootError::Directory(TreeError::NotADirectory(_)))));
    }
}

#[test]
fn the_last_match_wins() {
    let mut tree = with_policy("/usr/x a\n/.* b\n/usr(/.*)? c\n/usr/x -d d\n/ -d root\n");
    transform(&mut tree).unwrap();
    let labels = ["", "usr", "usr/x", "boot"].map(|path| label(&tree, path).unwrap());
    assert_eq!(labels, ["root", "c", "c", "b"]);
}

#[test]
fn names_with_other_labels_are_other_files() {
    let mut tree = with_policy("/a 1\n/b 2\n/c 1\n/e 2\n");
    let inode = put(&mut tree, "a", file(""));
    for name in [b"b", b"c", b"d", b"e"] {
        tree.link(InodeId::ROOT, Name::new(name).unwrap(), inode).unwrap();
    }
    transform(&mut tree).unwrap();
    let found = ["a", "b", "c", "d", "e"].map(|path| label(&tree, path));
    assert_eq!(found.map(Option::unwrap_or_default), ["1", "2", "1", "", "2"]);
    let inodes = [b"a", b"b", b"c", b"d", b"e"].map(|name| tree.lookup(&[name]).unwrap());
    assert_eq!(inodes[0], inodes[2]);
    assert_ne!(inodes[1], inodes[4]);
}

#[test]
fn large_policies_are_read_by_path_and_symlinks_stay_inside() {
    let mut tree = bootable();
    put(&mut tree, "etc/selinux/config", InodeKind::Symlink((*b"/../usr/../usr/config").into()));
    put(&mut tree, "usr/config", file("SELINUXTYPE=t"));
    let id = crate::digest::object_id_of(crate::digest::Algorithm::Sha256, b"");
    let external = InodeKind::Regular(Regular::External { id, size: 100 });
    put(&mut tree, "etc/real/file_contexts", external);
    put(&mut tree, "etc/selinux/t/contexts/files", InodeKind::Symlink((*b"../../../real").into()));
    let mut asked = Vec::new();
    let mut read = |path: &[&[u8]], _: &Regular| {
        asked.push(path.join(&b'/'));
        Ok(b"/usr/x label".to_vec())
    };
    boot_transform(&mut tree, &mut read, &BootLimits::default()).unwrap();
    assert_eq!(asked, [b"etc/real/file_contexts"]);
    assert_eq!(label(&tree, "usr/x").unwrap(), "label");
}

#[test]
fn limits_hold() {
    let refused = |limits: BootLimits| {
        let mut tree = with_policy("/usr/x.* a\n/usr/(y|z).* b\n");
        boot_transform(&mut tree, &mut |_, _| unreachable!(), &limits).unwrap_err()
    };
    assert!(matches!(refused(BootLimits::default().file_bytes(16)), BootError::TooLarge { limit: 16, .. }));
    assert!(matches!(refused(BootLimits::default().specs(1)), BootError::TooMany(1)));
    assert!(matches!(refused(BootLimits::default().compiled_bytes(10)), BootError::TooComplex(10)));
    let mut tree = with_policy("/((a{1000}){1000}){1000} a\n");
    assert!(matches!(transform(&mut tree), Err(BootError::TooComplex(_))));
    for (line, fault) in [
        (format!("/{} a", "\\D".repeat(2048)), SpecFault::LongRegex(4097)),
        (format!("/a {}", "l".repeat(4097)), SpecFault::LongLabel(4097)),
    ] {
        let error = transform(&mut with_policy(&line)).unwrap_err();
        assert!(matches!(error, BootError::Line { source, .. } if source == fault), "{line}");
    }
}

/// A class was translated to each of its bytes, so that a policy of 16 MiB became one of gigabytes.
#[test]
fn translated_classes_stay_short() {
    let translated = super::pcre::translate("\\D[^a-c\\d]\\Q.\\E").unwrap();
    assert_eq!(translated, "[\\x00-\\x2f\\x3a-\\xff][^\\x30-\\x39\\x61-\\x63]\\x2e");
    let line = format!("/{}\\Qx\\E a\n", "\\D".repeat(2000));
    assert!(transform(&mut with_policy(&line)).is_ok());
    let limits = BootLimits::default().compiled_bytes(10_000);
    let error = boot_transform(&mut with_policy(&line), &mut |_, _| unreachable!(), &limits).unwrap_err();
    assert!(matches!(error, BootError::TooComplex(_)));
}

#[test]
fn expressions_that_look_around_are_refused() {
    for regex in ["/(?!x)y", "/(?<=x)y", "/(x)\\1", "/(?>x)y", "/[[]x++"] {
        let mut tree = with_policy(&format!("{regex} a\n"));
        let error = transform(&mut tree).unwrap_err();
        assert!(
            matches!(error, BootError::Line { source: SpecFault::Regex { .. }, .. }),
            "{regex}: {error:?}"
        );
    }
}

#[test]
fn shapes() {
    let regex = |prefix: &str| Shape::Regex(prefix.as_bytes().to_vec());
    for (text, shape) in [
        ("/usr/lib\\.so", Shape::Literal(b"/usr/lib.so".to_vec())),
        ("/usr(/.*)?", Shape::Subtree(b"/usr".to_vec())),
        ("/usr/lib(64)?/x", regex("/usr/")),
        ("/usr/?", regex("/")),
        ("/usr/x|/y", regex("")),
        ("/usr/(x|y)", regex("/usr/")),
        ("/usr/[(]x|y", regex("")),
        ("/usr/x)|(y", regex("")),
        ("^/usr", regex("")),
    ] {
        assert_eq!(super::pattern::shape(text), shape, "{text}");
    }
}

/// How long it takes to label 100,000 files; `BOOT_BENCH` names a file of contexts.
#[test]
#[ignore = "a measurement"]
fn measure() {
    let contexts = std::fs::read_to_string(std::env::var("BOOT_BENCH").unwrap()).unwrap();
    let limits = BootLimits::default();
    let start = std::time::Instant::now();
    let mut builder = matcher::Builder::new(&limits);
    for line in contexts.lines() {
        builder.add(spec::parse(line).unwrap()).unwrap();
    }
    let mut labels = builder.build(subs::Substitutions::default()).unwrap();
    let built = start.elapsed();
    let mut labelled = 0;
    for number in 0..100_000 {
        let directory = [
            "usr/lib/python3/site-packages/some",
            "usr/share/doc/any",
            "usr/lib64",
            "etc/x.d",
            "var/lib/dpkg/info",
        ];
        let path = format!("/{}/sub{}/file{number}.so", directory[number % 5], number % 977);
        labelled += usize::from(labels.matcher.find(path.as_bytes(), b'-').is_some());
    }
    assert!(labelled > 0, "nothing labelled in {:?}, after {built:?}", start.elapsed());
    panic!("{labelled} labelled in {:?}, after {built:?}", start.elapsed().checked_sub(built));
}
