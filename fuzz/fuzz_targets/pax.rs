//! PAX records: read as a naive reader would, who has all of them at hand; in any split.
//!
//! The input is the data of an extended header.
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::collections::BTreeMap;

use composefs_tar::{
    Entry, EntryKind, Error, Event, Options, Parser,
    build::{Archive, HeaderBuilder},
};

/// Runs one input.
pub fn run(data: &[u8]) {
    let member = HeaderBuilder::new(b'2').name(b"name").link(b"target");
    let header = HeaderBuilder::new(b'x').name(b"PaxHeaders/name").size(data.len() as u64);
    let archive = Archive::new().member(header, data).member(member, b"").finish();
    let read = entry(std::iter::once(&archive[..]));
    for size in [1, 7, 511] {
        assert_eq!(entry(archive.chunks(size)), read);
    }
    let naive = naive(data);
    match (read, naive) {
        (Err(Error::Pax { .. }), None) => {}
        (read, None) => panic!("taken, though it is none: {read:?}"),
        // The size is not that of a symlink, so what follows is no header.
        (_, Some(records)) if records.contains_key(&b"size"[..]) => {}
        (Ok(Some(entry)), Some(records)) => check(&entry, &records),
        // A member that no entry can be made of.
        (Ok(None), Some(records)) => {
            let number = |key: &[u8]| {
                records.get(key).is_some_and(|text| digits(text).is_none_or(|id| id > u32::MAX.into()))
            };
            let time = records.contains_key(&b"mtime"[..]);
            let path = |key: &[u8]| {
                records.get(key).is_some_and(|path| {
                    path.is_empty() || path.split(|&b| b == b'/').any(|part| part == b"..")
                })
            };
            let nameless = records.contains_key(&b"SCHILY.xattr."[..]);
            assert!(
                number(b"uid")
                    || number(b"gid")
                    || time
                    || nameless
                    || path(b"path")
                    || path(b"GNU.sparse.name")
            );
        }
        (Err(error), Some(_)) => panic!("{error}"),
    }
}

/// Reads the first entry; `Ok(None)` for a member that is none.
fn entry<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Option<Entry>, Error> {
    let mut parser = Parser::new(Options::default());
    let mut found = None;
    for mut piece in pieces {
        while let Some(event) = parser.parse(&mut piece)? {
            if let Event::Member(member) = event {
                found = found.or(Some(member.entry.ok()));
            }
        }
    }
    parser.finish()?;
    Ok(found.unwrap())
}

/// All records, of a key given twice the last; `None` if one of them is none.
fn naive(mut data: &[u8]) -> Option<BTreeMap<&[u8], &[u8]>> {
    let mut records = BTreeMap::new();
    while !data.is_empty() {
        let blank = data.iter().position(|&byte| byte == b' ')?;
        let length: usize = digits(&data[..blank])?.try_into().ok()?;
        // Zeros in front are as long as they like to be, within reason.
        let (record, rest) = data.split_at_checked(length).filter(|_| blank < 20)?;
        let body = record.get(blank + 1..)?.strip_suffix(b"\n")?;
        let equals = body.iter().position(|&byte| byte == b'=')?;
        std::str::from_utf8(&body[..equals]).ok()?;
        if &body[..equals] == b"size" {
            digits(&body[equals + 1..])?;
        }
        records.insert(&body[..equals], &body[equals + 1..]);
        data = rest;
    }
    Some(records)
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.iter().all(u8::is_ascii_digit) { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

fn check(entry: &Entry, records: &BTreeMap<&[u8], &[u8]>) {
    let get = |key: &[u8]| records.get(key).copied();
    assert_eq!(entry.path, get(b"GNU.sparse.name").or(get(b"path")).unwrap_or(b"name"));
    assert_eq!(entry.kind, EntryKind::Symlink { target: get(b"linkpath").unwrap_or(b"target").to_vec() });
    for (key, value) in [(&b"uid"[..], entry.uid), (b"gid", entry.gid)] {
        assert_eq!(u64::from(value), get(key).map_or(0, |text| digits(text).unwrap()));
    }
    let xattrs =
        records.iter().filter_map(|(key, value)| Some((key.strip_prefix(b"SCHILY.xattr.")?, *value)));
    assert!(xattrs.eq(entry.xattrs.iter().map(|(name, value)| (&name[..], &value[..]))));
    if let Some(seconds) = get(b"mtime").and_then(digits) {
        assert_eq!((entry.mtime.seconds as u64, entry.mtime.nanos), (seconds, 0));
    }
}
