//! The layers of the merge vectors: read whole, put together again, and compared with the trees they make; and what
//! GNU tar writes.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use composefs_tar::{Content, Entry, EntryKind, Event, Member, Mode, Options, Parser, Piece};

#[path = "../../../fuzz/fuzz_targets/tar.rs"]
mod target;

fn cases() -> Vec<PathBuf> {
    let merge = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/merge"));
    let mut cases: Vec<_> = std::fs::read_dir(merge).unwrap().map(|case| case.unwrap().path()).collect();
    cases.retain(|case| case.join("1.tar").exists());
    cases.sort();
    assert_eq!(cases.len(), 14);
    cases
}

fn layers(case: &Path) -> Vec<Vec<u8>> {
    (1..).map_while(|layer| std::fs::read(case.join(format!("{layer}.tar"))).ok()).collect()
}

fn entries(tar: &[u8]) -> Vec<Entry> {
    let mut parser = Parser::new(Options::default().mode(Mode::Strict));
    let (mut input, mut entries, mut bytes) = (tar, Vec::new(), Vec::new());
    while let Some(event) = parser.parse(&mut input).unwrap() {
        match event {
            Event::Inline(piece) | Event::Content(piece) => bytes.extend_from_slice(piece),
            Event::Member(member) | Event::Begin(member) => entries.push(member.entry.unwrap()),
            Event::End => {}
        }
    }
    parser.finish().unwrap();
    assert_eq!(bytes, tar);
    entries
}

#[test]
fn every_layer_is_read_and_comes_back() {
    for case in cases() {
        let layers = layers(&case);
        assert!(!layers.is_empty());
        for layer in &layers {
            assert!(!entries(layer).is_empty());
            target::run(layer);
        }
    }
}

/// A field of a dumpfile without its escapes.
fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (*first, tail) {
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let hex = String::from_utf8(vec![*high, *low]).unwrap();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                rest = tail;
            }
            (b'\\', [escape, tail @ ..]) => {
                bytes.push(match escape {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                rest = tail;
            }
            (byte, _) => bytes.push(byte),
        }
    }
    bytes
}

#[derive(Debug, Clone, PartialEq)]
struct Stat {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: String,
    size: Option<u64>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn from_entry(entry: &Entry) -> Stat {
    let (format, size) = match entry.kind {
        EntryKind::Regular { size, .. } => (0o100_000, Some(size)),
        EntryKind::Hardlink { .. } => panic!("hard links have no metadata"),
        EntryKind::Symlink { .. } => (0o120_000, None),
        EntryKind::CharDevice { .. } => (0o020_000, None),
        EntryKind::BlockDevice { .. } => (0o060_000, None),
        EntryKind::Directory => (0o040_000, None),
        EntryKind::Fifo => (0o010_000, None),
    };
    let mtime = format!("{}.{}", entry.mtime.seconds, entry.mtime.nanos);
    Stat {
        mode: format | entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime,
        size,
        xattrs: entry.xattrs.clone(),
    }
}

fn from_dump(line: &str) -> (Vec<u8>, Stat) {
    let fields: Vec<&str> = line.split(' ').collect();
    let mode = u32::from_str_radix(fields[2], 8).unwrap();
    let xattrs = fields[11..].iter().map(|xattr| xattr.split_once('=').unwrap());
    let stat = Stat {
        mode,
        uid: fields[4].parse().unwrap(),
        gid: fields[5].parse().unwrap(),
        mtime: fields[7].to_owned(),
        size: (mode & 0o170_000 == 0o100_000).then(|| fields[1].parse().unwrap()),
        xattrs: xattrs.map(|(name, value)| (unescape(name), unescape(value))).collect(),
    };
    (unescape(fields[0]), stat)
}

#[test]
fn entries_are_those_of_the_merged_tree() {
    let mut compared = 0;
    for case in cases() {
        let [layer] = &layers(&case)[..] else { continue };
        // Of an entry that comes twice the tree has the last.
        let mut tree = BTreeMap::new();
        for entry in entries(layer) {
            let path: Vec<u8> =
                entry.components().unwrap().into_iter().flat_map(|part| [b"/", part].concat()).collect();
            if !path.is_empty() && !matches!(entry.kind, EntryKind::Hardlink { .. }) {
                tree.insert(path, from_entry(&entry));
            }
        }
        let dump = std::fs::read_to_string(case.join("raw.dump")).unwrap();
        let (links, inodes): (Vec<_>, Vec<_>) = dump.lines().partition(|line| line.contains(" @"));
        let mut dump: BTreeMap<_, _> = inodes.into_iter().map(from_dump).collect();
        for link in links {
            let fields: Vec<&str> = link.split(' ').collect();
            dump.insert(unescape(fields[0]), dump[&unescape(fields[8])].clone());
        }
        for (path, stat) in tree {
            assert_eq!(dump.remove(&path), Some(stat), "{}: {}", case.display(), path.escape_ascii());
            compared += 1;
        }
    }
    assert!(compared > 60, "{compared}");
}

fn gnu_tar(name: &str) -> Vec<(Member, Vec<u8>)> {
    let path = format!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/tar/{}.tar"), name);
    let tar = std::fs::read(path).unwrap();
    target::run(&tar);
    let mut parser = Parser::new(Options::default());
    let (mut input, mut members) = (tar.as_slice(), Vec::<(Member, Vec<u8>)>::new());
    while let Some(event) = parser.parse(&mut input).unwrap() {
        match event {
            Event::Member(member) | Event::Begin(member) => members.push((member, Vec::new())),
            Event::Content(piece) => members.last_mut().unwrap().1.extend_from_slice(piece),
            Event::Inline(_) | Event::End => {}
        }
    }
    parser.finish().unwrap();
    members
}

#[test]
fn gnu_tars_sparse_members_expand() {
    let mut expected = vec![0; 20_000];
    expected[9000..9003].copy_from_slice(b"abc");
    for name in ["gnu-sparse", "pax-sparse-0.0", "pax-sparse-0.1", "pax-sparse-1.0"] {
        let (member, stored) = gnu_tar(name).remove(0);
        let entry = member.entry.unwrap();
        assert_eq!(entry.path, b"h", "{name}");
        let EntryKind::Regular { size: 20_000, content: Content::Sparse(map) } = entry.kind else {
            panic!("{name}")
        };
        let (mut file, mut stored, mut expander) =
            (Vec::new(), stored.as_slice(), map.clone().into_expander());
        while let Some(piece) = expander.next(&mut stored) {
            match piece {
                Piece::Hole(len) => file.resize(file.len() + len as usize, 0),
                Piece::Data(data) => file.extend_from_slice(data),
            }
        }
        assert!(expander.is_done() && file == expected, "{name}");
    }
}

#[test]
fn gnu_tars_long_names_and_old_headers() {
    let entries: Vec<_> = gnu_tar("gnu-long").into_iter().map(|(member, _)| member.entry.unwrap()).collect();
    let long = [b'n'; 150];
    assert_eq!((&entries[0].path[..], &entries[1].path[..]), (&long[..], &b"l"[..]));
    assert_eq!(entries[1].kind, EntryKind::Symlink { target: [&long[..], b"/", &long].concat() });
    let (member, _) = gnu_tar("v7").remove(0);
    let entry = member.entry.unwrap();
    assert_eq!((&entry.path[..], entry.kind), (&b"dd/"[..], EntryKind::Directory));
}
