//! Tables of zstd:chunked layers. No input panics; pieces of files are in order, within the blob, and as many bytes as their
//! file.
//!
//! The input is a table, the value of an annotation, and a blob that may end in a footer, all at once.
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::collections::HashMap;

use composefs_oci::decompress::toc::{EntryKind, FOOTER_MAX, Table, Tables};

/// Checks what a table promises.
fn check(table: &Table, data_end: u64) {
    let mut free = 0;
    for entry in table.entries() {
        assert!(entry.kind == EntryKind::File || (entry.size == 0 && entry.pieces.is_empty()));
        let mut have = 0;
        for piece in &entry.pieces {
            assert_eq!(piece.offset, have);
            assert!(piece.size > 0);
            have += piece.size;
            if !piece.is_zeros() {
                assert!(free <= piece.packed.start && piece.packed.start < piece.packed.end);
                free = piece.packed.end;
            }
        }
        assert_eq!(have, entry.size);
    }
    assert!(free <= data_end);
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let blob = data.len() as u64;
    for data_end in [blob, 1 << 20, u64::MAX] {
        if let Ok(table) = Table::parse(data, data_end) {
            check(&table, data_end);
        }
    }
    let end = &data[data.len().saturating_sub(FOOTER_MAX)..];
    let by_footer = Tables::from_footer(end, blob);
    let text = std::str::from_utf8(&data[..data.len().min(200)]).unwrap_or_default();
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    let annotations: HashMap<String, String> = [("manifest-position", first), ("tarsplit-position", second)]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| (format!("io.github.containers.zstd-chunked.{key}"), value.to_owned()))
        .collect();
    let by_annotations = Tables::from_annotations(&annotations, blob);
    for tables in [by_footer, by_annotations].into_iter().filter_map(|tables| tables.ok().flatten()) {
        let part = |range: std::ops::Range<u64>| {
            &data[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
        };
        assert!(tables.data_end() <= blob);
        // A length that is said alone takes no memory; what a few bytes unpack to might.
        if let Ok(json) = tables.table.unpack(part(tables.table.range())) {
            assert_eq!(json.len() as u64, tables.table.unpacked);
            if let Ok(table) = Table::parse(&json, tables.data_end()) {
                check(&table, tables.data_end());
            }
        }
        if let Some(split) = &tables.tar_split {
            let packed = part(split.range());
            if split.unpacked < 1 << 20 {
                let _ = split.unpack(packed);
            }
        }
    }
}
