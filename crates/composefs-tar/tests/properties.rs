//! Round trips, and archives nobody would write.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;

use composefs_tar::build::{Archive, HeaderBuilder, pax_record};
use composefs_tar::{Content, Entry, EntryKind, Event, Format, Mtime, Options, Parser};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[path = "../../../fuzz/fuzz_targets/tar.rs"]
mod target;

/// Bytes of a name: any, but for what makes a `..`.
fn name(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>().prop_map(|byte| if byte == b'.' { b'/' } else { byte }), 1..max)
}

fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..=64).prop_map(|data| EntryKind::Regular {
            size: data.len() as u64,
            content: Content::Inline(data)
        }),
        4 => (65..3000_u64).prop_map(|size| EntryKind::Regular { size, content: Content::External }),
        1 => name(250).prop_map(|target| EntryKind::Hardlink { target }),
        1 => name(250).prop_map(|target| EntryKind::Symlink { target }),
        1 => (0..=4095_u32, 0..1_u32 << 20).prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        1 => (0..=4095_u32, 0..1_u32 << 20).prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
        1 => Just(EntryKind::Directory),
        1 => Just(EntryKind::Fifo),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let id = || prop_oneof![0..3_000_000_u32, any::<u32>()];
    let seconds = prop_oneof![0..1_i64 << 34, any::<i64>()];
    let nanos = prop_oneof![Just(0), 0..1_000_000_000_u32];
    let mtime = (seconds, nanos).prop_map(|(seconds, nanos)| Mtime { seconds, nanos });
    let xattrs = btree_map(
        "(user|security)\\.[a-zé.]{1,9}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..80),
        0..3,
    );
    (name(300), kind(), 0..=0o7777_u32, id(), id(), mtime, xattrs).prop_map(
        |(path, kind, mode, uid, gid, mtime, xattrs)| Entry { path, kind, mode, uid, gid, mtime, xattrs },
    )
}

fn contents(entry: &Entry) -> Vec<u8> {
    match &entry.kind {
        EntryKind::Regular { content: Content::Inline(data), .. } => data.clone(),
        EntryKind::Regular { size, .. } => (0..*size).map(|i| (i % 251) as u8).collect(),
        _ => Vec::new(),
    }
}

/// A part of an archive that may be good, bad, or good only in company.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let digits = || {
        select(vec![
            "0",
            "1",
            "60",
            "65",
            "100",
            "512",
            "1000",
            "x",
            "-1.5",
            "0,60,500,5",
            "99999999999999999999",
        ])
    };
    let key = select(vec![
        "path",
        "linkpath",
        "size",
        "uid",
        "mtime",
        "SCHILY.xattr.user.a",
        "SCHILY.xattr.",
        "comment",
        "GNU.sparse.map",
        "GNU.sparse.size",
        "GNU.sparse.realsize",
        "GNU.sparse.offset",
        "GNU.sparse.numbytes",
        "GNU.sparse.major",
        "GNU.sparse.minor",
        "GNU.sparse.name",
    ]);
    let records = vec((key, digits()), 0..5).prop_map(|records| {
        records.iter().flat_map(|(key, value)| pax_record(key.as_bytes(), value.as_bytes())).collect()
    });
    let lines = vec(select(vec!["0", "1", "2", "10", "60", "100", "500", "1000"]), 0..12).prop_map(|lines| {
        lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect::<Vec<u8>>()
    });
    let map = (lines, vec(any::<u8>(), 0..200)).prop_map(|(mut data, stored)| {
        data.resize(512, 0);
        data.extend(stored);
        data
    });
    let data = prop_oneof![vec(any::<u8>(), 0..700), records, map, name(200)];
    let type_flag = prop_oneof![select(b"0\x001234567xgLKS".to_vec()), any::<u8>()];
    let format = select(vec![Format::V7, Format::Ustar, Format::Gnu, Format::Gnu]);
    let overwrite = (0..512_usize, vec(select(b"\0\x80\xff01 x/.".to_vec()), 0..12));
    let member =
        (type_flag, format, data, overwrite).prop_map(|(type_flag, format, data, (offset, bytes))| {
            let header = HeaderBuilder::new(type_flag).name(b"name").format(format).raw(offset, &bytes);
            Archive::new().member(header, &data).into_bytes()
        });
    let slots = vec((0..4_u64, 0..3_u64), 4).prop_map(|slots| {
        let slots =
            slots.iter().enumerate().map(|(i, (offset, len))| (i as u64 * 1000 + offset * 512, len * 100));
        slots
            .flat_map(|(offset, len)| format!("{offset:011o}\0{len:011o}\0").into_bytes())
            .collect::<Vec<u8>>()
    });
    let sparse = (slots, select(vec![0, 100, 200, 500, 800_usize]), any::<bool>()).prop_map(
        |(slots, stored, more)| {
            let header = HeaderBuilder::new(b'S').name(b"sparse").format(Format::Gnu).raw(386, &slots);
            let header =
                header.raw(482, &[u8::from(more)]).raw(483, b"00000010000\0").size(stored as u64).build();
            Archive::new()
                .raw(&header)
                .raw(&vec![0; if more { 512 } else { 0 }])
                .padded(&vec![7; stored])
                .into_bytes()
        },
    );
    let extension = prop_oneof![
        name(200).prop_map(|name| Archive::new().long_name(&name).into_bytes()),
        vec(any::<u8>(), 0..700).prop_map(|data| Archive::new().file(b"file", &data).into_bytes()),
    ];
    prop_oneof![4 => member, 2 => sparse, 2 => extension, 1 => Just(vec![0; 512]), 1 => vec(any::<u8>(), 0..20)]
}

fn archive() -> impl Strategy<Value = Vec<u8>> {
    let mutations = prop_oneof![Just(vec![]), vec((any::<Index>(), any::<u8>()), 0..6)];
    (vec(part(), 0..8), mutations).prop_map(|(parts, mutations)| {
        let mut tar = parts.concat();
        for (index, byte) in mutations {
            if !tar.is_empty() {
                let position = index.index(tar.len());
                tar[position] = byte;
            }
        }
        tar
    })
}

proptest! {
    #[test]
    fn entries_come_back_as_they_were_written(entries in vec(entry(), 0..6), split in 1..2000_usize, tail in vec(any::<u8>(), 0..99)) {
        let mut archive = Archive::new();
        for entry in &entries {
            archive = archive.entry(entry, &contents(entry)).unwrap();
        }
        let tar = [archive.finish(), tail].concat();
        let (mut read, mut stored) = (Vec::new(), BTreeMap::<usize, Vec<u8>>::new());
        let mut parser = Parser::new(Options::default());
        for mut chunk in tar.chunks(split) {
            while let Some(event) = parser.parse(&mut chunk).unwrap() {
                match event {
                    Event::Member(member) | Event::Begin(member) => read.push(member.entry.unwrap()),
                    Event::Content(bytes) => stored.entry(read.len() - 1).or_default().extend_from_slice(bytes),
                    Event::Inline(_) | Event::End => {}
                }
            }
        }
        parser.finish().unwrap();
        for (index, content) in stored {
            prop_assert_eq!(content, contents(&entries[index]));
        }
        prop_assert_eq!(read, entries);
        target::run(&tar);
    }

    #[test]
    fn odd_archives_are_told_the_same_in_any_split(tar in archive()) {
        target::run(&tar);
    }
}
