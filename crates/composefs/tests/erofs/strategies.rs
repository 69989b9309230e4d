//! Random trees that an image can hold, with a liking for what the format treats specially.

use composefs::{
    digest::{Algorithm, ObjectId},
    erofs::FormatVersion,
    filetree::{Entries, FileTree, Inode, InodeId, InodeKind, Name, Regular, Stat, Xattrs},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// One thing to add: the directory (modulo those there are), the name, and what.
type Step = (usize, Vec<u8>, Added);

#[derive(Clone, Debug)]
enum Added {
    Inode(Inode),
    /// Another name of a leaf (modulo those there are).
    Link(usize),
    /// A directory of so many files, with names of so many bytes.
    Many(usize, usize),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => vec(any::<u8>(), 1..20),
        3 => select(vec!["00", "7f", "ff", "FF", "!", "-", "a", "aa", "b", ".x", "...", "!-", "usr", "\u{e9}"])
            .prop_map(|name| name.as_bytes().to_vec()),
        1 => (any::<u8>(), 200..256_usize).prop_map(|(byte, length)| vec![byte; length]),
    ]
    .prop_map(|mut name| {
        for byte in &mut name {
            if matches!(byte, 0 | b'/') {
                *byte = b'\n';
            }
        }
        if name == b"." || name == b".." { b"dots".to_vec() } else { name }
    })
}

fn xattr() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let names = select(vec![
        "user.",
        "user.a",
        "user",
        "user.overlay.whiteout",
        "user.overlay.whiteouts",
        "user.overlay.opaque",
        "trusted.overlay.whiteout",
        "trusted.overlay.whiteouts",
        "trusted.overlay.opaque",
        "trusted.overlay.metacopy",
        "trusted.overlay.redirect",
        "trusted.overlay.overlay.redirect",
        "trusted.overlay.",
        "trusted.overlayx",
        "trusted.",
        "lustre.",
        "lustre.lov",
        "security.selinux",
        "security.capability",
        "system.posix_acl_access",
        "system.posix_acl_default",
        "system.posix_acl_accessX",
    ]);
    let name = prop_oneof![
        8 => names.prop_map(|name| name.as_bytes().to_vec()),
        2 => vec(1..=255_u8, 1..256),
        1 => vec(1..=255_u8, 0..248).prop_map(|rest| [b"user.", &*rest].concat()),
    ];
    let value = prop_oneof![
        4 => select(vec![&b""[..], b"x", b"y", b"\0", b"system_u:object_r:etc_t:s0\0"]).prop_map(<[u8]>::to_vec),
        2 => vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 0..4200_usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    (name, value)
}

fn stat() -> impl Strategy<Value = Stat> {
    let id =
        || prop_oneof![4 => Just(0_u32), 1 => select(vec![1000, 65535, 65536, u32::MAX]), 1 => any::<u32>()];
    let mtime = prop_oneof![
        4 => Just((1_700_000_000_i64, 0_u32)),
        2 => (-3..3_i64, 0..3_u32),
        1 => (any::<i64>(), 0..1_000_000_000_u32),
    ];
    let xattrs = prop_oneof![4 => vec(xattr(), 0..3), 1 => vec(xattr(), 0..40)];
    (0..0o10000_u16, id(), id(), mtime, xattrs).prop_map(|(mode, uid, gid, mtime, list)| {
        let mut xattrs = Xattrs::default();
        let mut bytes = 12;
        for (name, value) in list {
            bytes += 7 + name.len() + value.len();
            if bytes <= 32767 {
                xattrs.set(&name, &value);
            }
        }
        Stat { mode, uid, gid, mtime_seconds: mtime.0, mtime_nanos: mtime.1, xattrs }
    })
}

fn id() -> impl Strategy<Value = ObjectId> {
    // Few, so that some are shared.
    (0..4_u8).prop_map(|byte| ObjectId::from_bytes(Algorithm::Sha256, &[byte; 32]).unwrap())
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..70_usize,
        1 => select(vec![2047, 2048, 2049, 4000, 4031, 4032, 4033, 4063, 4064, 4065, 4094, 4095]),
        1 => select(vec![4096, 4097, 6144, 6145, 8191, 8192, 8193]),
    ]
}

fn size() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 1..1_000_000_u64,
        1 => select(vec![1, 2, 4096, 4097, 1 << 43, (1 << 43) + 1, 3 << 43, 100 << 43, 900 << 43, 1 << 53]),
    ]
}

fn bytes(length: usize) -> Box<[u8]> {
    (1..=251_u8).cycle().take(length).collect()
}

fn kind() -> impl Strategy<Value = InodeKind> {
    prop_oneof![
        4 => Just(InodeKind::Directory(Entries::new())),
        4 => length().prop_map(|length| InodeKind::Regular(Regular::Inline(bytes(length)))),
        3 => (id(), size()).prop_map(|(id, size)| InodeKind::Regular(Regular::External { id, size })),
        1 => (id(), size()).prop_map(|(id, size)| InodeKind::Regular(Regular::Unverified { id, size })),
        1 => (vec(1..=255_u8, 1..90), size())
            .prop_map(|(path, size)| InodeKind::Regular(Regular::Redirect { path: path.into(), size })),
        1 => size().prop_map(|size| InodeKind::Regular(Regular::Sparse(size))),
        3 => length().prop_map(|length| InodeKind::Symlink(bytes(length.clamp(1, 4095)))),
        2 => Just(InodeKind::CharDevice(0)),
        1 => any::<u32>().prop_map(InodeKind::CharDevice),
        1 => any::<u32>().prop_map(InodeKind::BlockDevice),
        1 => Just(InodeKind::Fifo),
        1 => Just(InodeKind::Socket),
    ]
}

/// A random tree.
pub(crate) fn tree() -> impl Strategy<Value = FileTree> {
    let inode = (stat(), kind()).prop_map(|(stat, kind)| Added::Inode(Inode { stat, kind }));
    let added = prop_oneof![
        20 => inode,
        3 => any::<usize>().prop_map(Added::Link),
        1 => (1..400_usize, 1..60_usize).prop_map(|(count, length)| Added::Many(count, length)),
    ];
    // A size of 0 makes every step go below the last directory, for depth.
    (stat(), vec((any::<usize>(), name(), added), 0..60), option::weighted(0.2, Just(())))
        .prop_map(|(root, steps, deep)| build(root, steps, deep.is_some()))
}

fn build(root: Stat, steps: Vec<Step>, deep: bool) -> FileTree {
    let mut tree = FileTree::new(root);
    let (mut directories, mut leaves): (Vec<InodeId>, Vec<InodeId>) = (vec![InodeId::ROOT], Vec::new());
    for (place, name, added) in steps {
        let at = if deep { directories.len() - 1 } else { place % directories.len() };
        let name = Name::new(&name).unwrap();
        let inode = match added {
            Added::Inode(inode) => inode,
            Added::Link(_) if leaves.is_empty() => continue,
            Added::Link(leaf) => {
                let leaf = leaves[leaf % leaves.len()];
                if tree.lookup_in(directories[at], name.as_bytes()).is_err() {
                    tree.link(directories[at], name, leaf).unwrap();
                }
                continue;
            }
            Added::Many(count, length) => {
                let empty = Inode { stat: Stat::default(), kind: InodeKind::Directory(Entries::new()) };
                if tree.lookup_in(directories[at], name.as_bytes()).is_ok() {
                    continue;
                }
                let directory = tree.insert(directories[at], name, empty).unwrap();
                for number in 0..count {
                    let kind = InodeKind::Regular(Regular::Inline(bytes(number % 3)));
                    let name = Name::new(format!("{number:0>length$}").as_bytes()).unwrap();
                    tree.insert(directory, name, Inode { stat: Stat::default(), kind }).unwrap();
                }
                continue;
            }
        };
        if tree.lookup_in(directories[at], name.as_bytes()).is_ok() {
            continue;
        }
        let (is_directory, is_whiteout) = (inode.kind.is_directory(), inode.kind.is_whiteout());
        let id = tree.insert(directories[at], name, inode).unwrap();
        if is_directory {
            directories.push(id);
        } else if !is_whiteout {
            leaves.push(id);
        }
    }
    tree
}

/// Makes of a tree what an image of `version` can hold: V2 has no long contents.
pub(crate) fn fit(tree: &FileTree, version: FormatVersion) -> FileTree {
    let mut tree = tree.clone();
    for id in ids(&tree) {
        let inode = tree.inode_mut(id);
        match &mut inode.kind {
            InodeKind::Regular(Regular::Inline(contents))
                if version == FormatVersion::V2 && contents.len() > 4095 =>
            {
                *contents = bytes(4095);
            }
            // An empty file that looks like an escaped whiteout is read as one; if it has several names, refused.
            InodeKind::Regular(Regular::Inline(contents)) if contents.is_empty() => {
                inode.stat.xattrs.remove(b"user.overlay.whiteout");
            }
            _ => (),
        }
    }
    tree
}

/// What of a tree survives in an image of `version`; all but what `docs/formats/erofs.md` excepts.
pub(crate) fn expected(tree: &FileTree, version: FormatVersion) -> FileTree {
    let mut tree = tree.clone();
    let whiteouts: Vec<_> = (tree.depth_first())
        .filter(|step| tree.inode(step.inode).kind.is_whiteout())
        .flat_map(|step| [step.parent, step.inode])
        .collect();
    for id in ids(&tree) {
        let marked = version.is_epoch1() && whiteouts.contains(&id);
        let inode = tree.inode_mut(id);
        if version == FormatVersion::V2 {
            inode.stat.mtime_nanos = 0;
        }
        // The owner's values under the names of markers were replaced when written.
        for marker in if marked { &["whiteout", "whiteouts", "opaque"][..] } else { &[] } {
            let own = if inode.kind.is_directory() {
                *marker == "whiteout" || (*marker == "opaque" && version == FormatVersion::V0)
            } else {
                *marker != "whiteout"
            };
            if !own {
                inode.stat.xattrs.remove(format!("user.overlay.{marker}").as_bytes());
                inode.stat.xattrs.remove(format!("trusted.overlay.{marker}").as_bytes());
            }
        }
    }
    tree
}

fn ids(tree: &FileTree) -> Vec<InodeId> {
    tree.depth_first().map(|step| step.inode).collect()
}
