use std::collections::HashMap;

use super::*;

const SHA: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn table(entries: &str) -> Result<Table, TocError> {
    Table::parse(format!(r#"{{"version":1,"entries":[{entries}]}}"#).as_bytes(), 1_000)
}

#[test]
fn entries_as_tools_write_them() {
    let table = table(&format!(
        r#"{{"type":"dir","name":"usr/","mode":493,"modtime":"2023-11-14T22:13:20Z","accesstime":"0001-01-01T00:00:00Z"}},
        {{"type":"reg","name":"usr/a","size":5,"uid":1,"gid":2,"digest":"{SHA}","offset":10,"endOffset":20,"xattrs":{{"user.x":"YWJj"}}}},
        {{"type":"reg","name":"usr/empty","xattrs":null}},
        {{"type":"reg","name":"usr/b","size":9,"digest":"{SHA}","offset":20,"endOffset":90,"chunkSize":4,"chunkDigest":"{SHA}"}},
        {{"type":"chunk","name":"usr/b","offset":30,"chunkSize":2,"chunkOffset":4}},
        {{"type":"chunk","name":"usr/b","chunkSize":2,"chunkOffset":6,"chunkType":"zeros"}},
        {{"type":"chunk","name":"usr/b","offset":50,"chunkOffset":8}},
        {{"type":"char","name":"null","devMajor":1,"devMinor":3}},
        {{"type":"hardlink","name":"c","linkName":"usr/b"}}"#
    ))
    .unwrap();
    let [directory, a, empty, b, device, link] = table.entries() else { panic!("{table:?}") };
    assert_eq!((directory.kind, directory.mode), (EntryKind::Directory, 0o755));
    assert_eq!((a.uid, a.gid, a.xattrs["user.x"].as_slice()), (1, 2, &b"abc"[..]));
    assert_eq!(a.pieces, [Piece { offset: 0, size: 5, packed: 10..20, digest: None }]);
    assert_eq!((empty.pieces.len(), &empty.digest), (0, &None));
    let pieces: Vec<_> =
        b.pieces.iter().map(|piece| (piece.offset, piece.size, piece.packed.clone())).collect();
    assert_eq!(pieces, [(0, 4, 20..30), (4, 2, 30..50), (6, 2, 0..0), (8, 1, 50..90)]);
    assert!(b.pieces[2].is_zeros() && b.pieces[0].digest.is_some());
    assert_eq!((device.device, link.link_name.as_str()), ((1, 3), "usr/b"));
}

#[test]
fn without_ends_pieces_go_on_to_the_next() {
    let table = table(
        r#"{"type":"reg","name":"a","size":5,"offset":10},{"type":"dir","name":"d"},
        {"type":"reg","name":"b","size":5,"offset":30}"#,
    )
    .unwrap();
    let packed: Vec<_> =
        table.entries().iter().flat_map(|entry| &entry.pieces).map(|piece| piece.packed.clone()).collect();
    assert_eq!(packed, [10..30, 30..1_000]);
}

#[test]
fn what_cannot_be() {
    let file = |fields: &str| format!(r#"{{"type":"reg","name":"a","size":5,{fields}}}"#);
    let whole = file(r#""offset":10,"endOffset":20"#);
    for (entries, number, reason) in [
        (r#"{"type":"nonsense","name":"a"}"#.to_owned(), 0, "its type is unknown"),
        (r#"{"type":"dir"}"#.to_owned(), 0, "its name is none"),
        (r#"{"type":"dir","name":"a\u0000b"}"#.to_owned(), 0, "its name is none"),
        (r#"{"type":"dir","name":"a","xattrs":{"x":"?"}}"#.to_owned(), 0, "an attribute is no base64"),
        (r#"{"type":"dir","name":"a","digest":"x"}"#.to_owned(), 0, "a digest is none"),
        (r#"{"type":"chunk","name":"a"}"#.to_owned(), 0, "it is a piece of no file"),
        (
            format!(r#"{whole},{{"type":"chunk","name":"b","offset":20,"chunkOffset":5}}"#),
            1,
            "it is a piece of another file than the one before",
        ),
        (
            format!(r#"{whole},{{"type":"chunk","name":"a","offset":20,"chunkOffset":5}}"#),
            1,
            "the pieces have more bytes than their file",
        ),
        (file(r#""offset":1,"chunkSize":6"#), 0, "the pieces have more bytes than their file"),
        (file(r#""offset":1,"chunkOffset":1"#), 0, "pieces of its file leave a gap, or lie over each other"),
        (file(r#""offset":1,"chunkSize":4"#), 0, "the pieces before it have fewer bytes than their file"),
        (file(r#""offset":1,"chunkType":"x""#), 0, "its kind of piece is unknown"),
        (file(r#""offset":990,"endOffset":1001"#), 0, "it lies outside the blob's files"),
        (file(r#""offset":18446744073709551615"#), 0, "it lies outside the blob's files"),
        (file(r#""offset":1000"#), 0, "a piece has no place in the blob"),
        (file(r#""offset":10,"endOffset":10"#), 0, "a piece has no place in the blob"),
        (
            format!("{whole},{}", file(r#""offset":19,"endOffset":30"#)),
            1,
            "its contents lie over those of another",
        ),
    ] {
        match table(&entries) {
            Err(TocError::Entry { number: at, reason: why }) => {
                assert_eq!((at, why), (number, reason), "{entries}");
            }
            other => panic!("{entries}: {other:?}"),
        }
    }
    assert!(matches!(Table::parse(b"{\"version\":2,\"entries\":[]}", 1), Err(TocError::Version(2))));
    for nonsense in ["", "[]", "{\"version\":1}", "{\"version\":1,\"entries\":[1]}"] {
        assert!(matches!(Table::parse(nonsense.as_bytes(), 1), Err(TocError::Json(_))), "{nonsense}");
    }
}

#[test]
fn too_many_entries_are_not_kept() {
    let one = r#"{"type":"dir","name":"a"},"#;
    let json =
        format!(r#"{{"version":1,"entries":[{}{}]}}"#, one.repeat(ENTRIES_MAX), one.trim_end_matches(','));
    assert!(json.len() as u64 <= TABLE_MAX);
    assert!(
        matches!(Table::parse(json.as_bytes(), 1), Err(TocError::Json(error)) if error.to_string().contains("more than"))
    );
    assert!(matches!(Table::parse(&vec![b' '; 64 << 20 | 1], 1), Err(TocError::TooLarge { .. })));
}

fn annotations(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const NEW: &str = "io.github.containers.zstd-chunked.manifest-position";
const OLD: &str = "io.containers.zstd-chunked.manifest-position";
const SPLIT: &str = "io.github.containers.zstd-chunked.tarsplit-position";

#[test]
fn tables_by_annotations() {
    let read = |pairs: &[(&str, &str)]| Tables::from_annotations(&annotations(pairs), 1_000);
    assert_eq!(read(&[("org.example", "1:2:3:1")]).unwrap(), None);
    let old = read(&[(OLD, "100:20:300:1"), ("io.containers.zstd-chunked.manifest-checksum", SHA)])
        .unwrap()
        .unwrap();
    assert_eq!((old.table.range(), old.table.unpacked), (100..120, 300));
    assert_eq!(old.table.checksum.as_ref().map(Digest::as_str), Some(SHA));
    assert_eq!((old.data_end(), &old.tar_split), (92, &None));
    let new = read(&[(OLD, "1:2:3:1"), (NEW, "100:20:300:1"), (SPLIT, "128:30:400")]).unwrap().unwrap();
    assert_eq!((new.table.offset, new.data_end()), (100, 92));
    let split = new.tar_split.unwrap();
    assert_eq!((split.range(), split.unpacked, split.checksum), (128..158, 400, None));
    for wrong in ["", "1:2:3", "1:2:3:1:1", "1:2:3:", "+1:2:3:1", "1:2:3:99999999999999999999", "a:b:c:d"] {
        assert!(matches!(read(&[(NEW, wrong)]), Err(TocError::Annotation { .. })), "{wrong}");
    }
    let sum = "io.github.containers.zstd-chunked.manifest-checksum";
    assert!(
        matches!(read(&[(NEW, "1:2:3:1"), (sum, "x")]), Err(TocError::Annotation { key, .. }) if key == sum)
    );
    assert!(matches!(read(&[(NEW, "1:2:3:2")]), Err(TocError::Kind(2))));
    assert!(matches!(read(&[(NEW, "990:20:300:1")]), Err(TocError::Outside { .. })));
    assert!(matches!(read(&[(NEW, "18446744073709551615:20:300:1")]), Err(TocError::Outside { .. })));
    assert!(matches!(read(&[(NEW, "1:20:99999999999:1")]), Err(TocError::TooLarge { .. })));
    assert!(matches!(read(&[(NEW, "1:20:20:1"), (SPLIT, "900:200:1")]), Err(TocError::Outside { .. })));
}

fn footer(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = vec![0x50, 0x2a, 0x4d, 0x18];
    bytes.extend(u32::try_from(numbers.len() * 8 + 8).unwrap().to_le_bytes());
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend(b"GnUlInUx");
    bytes
}

#[test]
fn tables_by_the_footer() {
    let read = |end: &[u8]| Tables::from_footer(end, 1_000);
    let today = read(&footer(&[100, 20, 300, 1, 128, 30, 400])).unwrap().unwrap();
    assert_eq!((today.table.range(), today.tar_split.as_ref().unwrap().range()), (100..120, 128..158));
    assert_eq!(today.table.checksum, None);
    assert_eq!(footer(&[0; 7]).len(), FOOTER_MAX);
    let old = read(&[&[9; 100][..], &footer(&[100, 20, 300, 1])].concat()).unwrap().unwrap();
    assert_eq!((old.table.range(), old.tar_split), (100..120, None));
    assert_eq!(read(&footer(&[100, 20, 300, 1, 0, 0, 0])).unwrap().unwrap().tar_split, None);
    let mut spoilt = footer(&[100, 20, 300, 1]);
    spoilt[47] = b'y';
    for none in [&b""[..], &[0; 200], &footer(&[1, 2, 3]), &footer(&[1; 7])[1..], &spoilt] {
        assert_eq!(read(none).unwrap(), None);
    }
    assert!(matches!(read(&footer(&[100, 20, 300, 2])), Err(TocError::Kind(2))));
    assert!(matches!(read(&footer(&[1_000, 20, 300, 1])), Err(TocError::Outside { .. })));
}

#[test]
fn spans_are_unpacked_whole_or_not() {
    let text = b"{\"version\":1,\"entries\":[]}".repeat(3);
    let packed = ::zstd::stream::encode_all(&text[..], 1).unwrap();
    let span = |unpacked: usize, checksum: Option<Digest>| {
        let position = format!("0:{}:{unpacked}:1", packed.len());
        let mut tables = Tables::from_annotations(&annotations(&[(NEW, &position)]), 1_000).unwrap().unwrap();
        tables.table.checksum = checksum;
        tables.table
    };
    assert_eq!(span(text.len(), None).unpack(&packed).unwrap(), text);
    assert_eq!(span(text.len(), Some(Digest::sha256(&packed))).unpack(&packed).unwrap(), text);
    for other in [0, 1, text.len() - 1, text.len() + 1] {
        let error = span(other, None).unpack(&packed).unwrap_err();
        assert!(matches!(error, TocError::Length { expected, .. } if expected == other as u64), "{error}");
    }
    let error = span(text.len(), Some(Digest::sha256(b"other"))).unpack(&packed).unwrap_err();
    assert!(matches!(error, TocError::Checksum { .. }));
    let unknown = format!("sha999:{}", "0".repeat(64)).parse().unwrap();
    assert!(matches!(span(1, Some(unknown)).unpack(&packed), Err(TocError::Algorithm(_))));
    assert!(matches!(span(text.len(), None).unpack(&packed[1..]), Err(TocError::Length { .. })));
    let mut spoilt = packed.clone();
    spoilt[0] = 0;
    assert!(matches!(span(text.len(), None).unpack(&spoilt), Err(TocError::Unpack { .. })));
}
