use super::*;
use crate::build::{Archive, HeaderBuilder, pax_record};
use crate::entry::{Content, Entry, EntryFault, EntryKind, PathError};
use crate::header::Field;
use crate::limits::Limits;
use crate::pax::{Mtime, PaxError};
use crate::sparse::{Segment, SparseMap};

/// Members, with the bytes of external ones, after checking that the events are the archive.
fn read_with(options: Options, tar: &[u8]) -> Result<Vec<(Member, Vec<u8>)>, Error> {
    let (mut parser, mut input) = (Parser::new(options), tar);
    let (mut members, mut bytes) = (Vec::new(), Vec::new());
    while let Some(event) = parser.parse(&mut input)? {
        match event {
            Event::Inline(piece) => bytes.extend_from_slice(piece),
            Event::Member(member) | Event::Begin(member) => members.push((member, Vec::new())),
            Event::Content(piece) => {
                bytes.extend_from_slice(piece);
                members.last_mut().unwrap().1.extend_from_slice(piece);
            }
            Event::End => {
                let (member, content) = members.last().unwrap();
                assert_eq!(member.external, Some(content.len() as u64));
            }
        }
    }
    assert_eq!(bytes, tar);
    assert_eq!(parser.offset(), tar.len() as u64);
    parser.finish()?;
    Ok(members)
}

fn read(tar: &[u8]) -> Result<Vec<(Member, Vec<u8>)>, Error> {
    read_with(Options::default(), tar)
}

fn strict(tar: &[u8]) -> Result<Vec<(Member, Vec<u8>)>, Error> {
    read_with(Options::default().mode(Mode::Strict), tar)
}

fn entries(tar: &[u8]) -> Vec<Entry> {
    read(tar).unwrap().into_iter().map(|(member, _)| member.entry.unwrap()).collect()
}

fn entry(archive: Archive) -> Entry {
    let mut entries = entries(&archive.finish());
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

fn fault(archive: Archive) -> EntryFault {
    read(&archive.finish()).unwrap().remove(0).0.entry.unwrap_err().fault
}

fn header(type_flag: u8) -> HeaderBuilder {
    HeaderBuilder::new(type_flag).name(b"name")
}

fn one(header: HeaderBuilder) -> Archive {
    Archive::new().member(header, b"")
}

fn pax(key: &str, value: &[u8]) -> Archive {
    Archive::new().pax(&[(key, value)]).file(b"name", b"")
}

#[test]
fn sixty_four_bytes_are_inline_and_one_more_is_an_object() {
    for type_flag in [b'0', 0, b'7'] {
        for len in [0, 1, 63, 64, 65, 511, 512, 513, 70_000] {
            let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let members = read(&Archive::new().member(header(type_flag), &data).finish()).unwrap();
            let (member, content) = &members[0];
            let expected = if len > 64 { Content::External } else { Content::Inline(data.clone()) };
            let kind = EntryKind::Regular { size: len as u64, content: expected };
            assert_eq!(member.entry.as_ref().unwrap().kind, kind);
            assert_eq!(member.external, (len > 64).then_some(len as u64));
            assert_eq!(content, if len > 64 { &data[..] } else { b"" });
        }
    }
}

#[test]
fn other_types_keep_their_data_inline() {
    for type_flag in *b"123456Zx" {
        let header =
            header(type_flag).link(b"t").format(if type_flag == b'x' { Format::V7 } else { Format::Ustar });
        let members = read(&Archive::new().member(header, &[7; 700]).file(b"next", b"").finish()).unwrap();
        assert_eq!(members.len(), 2);
        assert_eq!((members[0].0.external, members[0].0.size), (None, 700));
    }
}

#[test]
fn types_become_kinds() {
    let kind = |header: HeaderBuilder| entry(one(header)).kind;
    assert_eq!(kind(header(b'1').link(b"/t/")), EntryKind::Hardlink { target: b"/t/".to_vec() });
    assert_eq!(kind(header(b'2').link(b"./t//")), EntryKind::Symlink { target: b"./t//".to_vec() });
    assert_eq!(kind(header(b'3').device(1, 3)), EntryKind::CharDevice { major: 1, minor: 3 });
    assert_eq!(
        kind(header(b'4').device(4095, 1048575)),
        EntryKind::BlockDevice { major: 4095, minor: 1048575 }
    );
    assert_eq!(kind(header(b'5')), EntryKind::Directory);
    assert_eq!(kind(header(b'6')), EntryKind::Fifo);
    for type_flag in *b"8AMNVDXs\xff" {
        assert_eq!(fault(one(header(type_flag))), EntryFault::UnknownType { type_flag });
    }
    // Extension types count as such only with a known magic, and GNU's sparse type only with GNU's.
    for type_flag in *b"xLKS" {
        assert_eq!(fault(one(header(type_flag).format(Format::V7))), EntryFault::UnknownType { type_flag });
    }
    assert_eq!(fault(one(header(b'S'))), EntryFault::UnknownType { type_flag: b'S' });
}

#[test]
fn devices_have_numbers_within_bounds() {
    assert_eq!(fault(one(header(b'3').format(Format::V7))), EntryFault::NoDeviceNumber);
    assert_eq!(fault(one(header(b'3').device(4096, 0))), EntryFault::DeviceNumber { major: 4096, minor: 0 });
    assert_eq!(
        fault(one(header(b'4').device(0, 1 << 20))),
        EntryFault::DeviceNumber { major: 0, minor: 1 << 20 }
    );
    let base256 = header(b'3').raw(329, b"\x80\0\0\0\0\0\0\x01");
    assert_eq!(
        fault(one(base256)),
        EntryFault::Number { field: Field::DevMajor, source: NumberError::Malformed }
    );
}

#[test]
fn old_headers_mark_directories_with_a_slash() {
    let v7 = |type_flag| HeaderBuilder::new(type_flag).name(b"dir/").format(Format::V7);
    assert_eq!(entry(one(v7(b'0'))).kind, EntryKind::Directory);
    assert_eq!(entry(one(v7(0))).kind, EntryKind::Directory);
    assert!(matches!(entry(one(v7(b'7'))).kind, EntryKind::Regular { .. }));
    assert!(matches!(entry(one(v7(b'0').format(Format::Ustar))).kind, EntryKind::Regular { .. }));
    // The stream does not care: there it is a file.
    let members = read(&Archive::new().member(v7(b'0'), &[1; 100]).finish()).unwrap();
    assert_eq!(members[0].0.external, Some(100));
    assert_eq!(members[0].0.entry.as_ref().unwrap().kind, EntryKind::Directory);
}

#[test]
fn paths_by_precedence() {
    let ustar = || HeaderBuilder::new(b'0').name(b"name").prefix(b"prefix");
    assert_eq!(entry(one(ustar())).path, b"prefix/name");
    assert_eq!(entry(one(ustar().format(Format::Gnu))).path, b"name");
    assert_eq!(entry(one(ustar().format(Format::V7))).path, b"name");
    assert_eq!(entry(one(ustar().name(&[b'n'; 100]).prefix(&[b'p'; 155]))).path.len(), 256);
    let long = || Archive::new().long_name(b"long");
    assert_eq!(entry(long().member(ustar(), b"")).path, b"long");
    assert_eq!(entry(long().pax(&[("path", b"pax")]).member(ustar(), b"")).path, b"pax");
    let both: [(&str, &[u8]); 2] = [("GNU.sparse.name", b"sparse"), ("path", b"pax")];
    assert_eq!(entry(long().pax(&both).member(ustar(), b"")).path, b"sparse");
    // One terminator goes, not more.
    let raw = |name: &[u8]| Archive::new().member(HeaderBuilder::new(b'L').format(Format::Gnu), name);
    assert_eq!(entry(raw(b"a").file(b"x", b"")).path, b"a");
    assert_eq!(entry(raw(b"a\0\0").file(b"x", b"")).path, b"a\0");
    // They hold for one member.
    assert_eq!(entries(&long().file(b"a", b"").file(b"b", b"").finish())[1].path, b"b");
}

#[test]
fn links_by_precedence() {
    let link = || header(b'2').link(b"header");
    let target = |archive: Archive| match entry(archive.member(link(), b"")).kind {
        EntryKind::Symlink { target } => target,
        other => panic!("{other:?}"),
    };
    assert_eq!(target(Archive::new()), b"header");
    assert_eq!(target(Archive::new().long_link(b"long")), b"long");
    assert_eq!(target(Archive::new().long_link(b"long").pax(&[("linkpath", b"pax")])), b"pax");
}

#[test]
fn paths_that_lead_nowhere() {
    assert_eq!(fault(one(HeaderBuilder::new(b'0'))), EntryFault::EmptyPath);
    assert_eq!(fault(pax("path", b"")), EntryFault::EmptyPath);
    assert_eq!(fault(Archive::new().long_name(b"").file(b"x", b"")), EntryFault::EmptyPath);
    for path in [&b".."[..], b"a/..", b"/../a", b"a/../b"] {
        assert_eq!(fault(pax("path", path)), EntryFault::Path(PathError::Parent));
    }
    assert_eq!(entry(one(HeaderBuilder::new(b'5').name(b"./"))).components(), Ok(vec![]));
}

#[test]
fn numbers_of_the_header() {
    let fields = entry(one(header(b'0').mode(0o104_755).uid(3_000_000).gid(0xffff_ffff).mtime(1 << 33)));
    assert_eq!((fields.mode, fields.uid, fields.gid), (0o4755, 3_000_000, 0xffff_ffff));
    assert_eq!(fields.mtime, Mtime { seconds: 1 << 33, nanos: 0 });
    assert_eq!(entry(one(header(b'0').mtime(-5))).mtime.seconds, -5);
    let blank = header(b'0').raw(100, &[b' '; 24]).raw(136, &[0; 12]);
    assert_eq!(entry(one(blank)).mode, 0);
    let bad = |field, source| EntryFault::Number { field, source };
    assert_eq!(fault(one(header(b'0').uid(1 << 32))), bad(Field::Uid, NumberError::TooLarge));
    assert_eq!(fault(one(header(b'0').raw(116, &[0xff; 8]))), bad(Field::Gid, NumberError::Negative));
    assert_eq!(fault(one(header(b'0').raw(100, b"rwxr-xr-"))), bad(Field::Mode, NumberError::Malformed));
    assert_eq!(
        fault(one(header(b'0').raw(136, b"\x80\0\0\0\xff"))),
        bad(Field::Mtime, NumberError::TooLarge)
    );
}

#[test]
fn records_replace_numbers_even_bad_ones() {
    let bad = header(b'0').raw(108, &[b'x'; 16]).raw(136, &[b'x'; 12]);
    let records: [(&str, &[u8]); 3] = [("uid", b"4000000000"), ("gid", b"70000"), ("mtime", b"-1.5")];
    let fields = entry(Archive::new().pax(&records).member(bad, b""));
    assert_eq!((fields.uid, fields.gid), (4_000_000_000, 70_000));
    assert_eq!(fields.mtime, Mtime { seconds: -2, nanos: 500_000_000 });
    let bad = |field, source| EntryFault::Number { field, source };
    assert_eq!(fault(pax("uid", b"4294967297")), bad(Field::Uid, NumberError::TooLarge));
    assert_eq!(fault(pax("gid", b"x")), bad(Field::Gid, NumberError::Malformed));
    assert_eq!(fault(pax("mtime", b"1.x")), bad(Field::Mtime, NumberError::Malformed));
    assert_eq!(fault(pax("SCHILY.xattr.", b"v")), EntryFault::XattrName);
}

#[test]
fn the_size_record_governs_the_data() {
    let tar = Archive::new().pax(&[("size", b"100")]).raw(&header(b'0').build()).padded(&[5; 100]);
    let members = read(&tar.file(b"next", b"").finish()).unwrap();
    assert_eq!((members[0].1.len(), members.len()), (100, 2));
    // A size in the header that is none does not matter then, but must be one otherwise.
    let bad = header(b'0').raw(124, b"garbage");
    let tar = Archive::new().pax(&[("size", b"0")]).raw(&bad.clone().build()).finish();
    assert_eq!(read(&tar).unwrap().len(), 1);
    let size = |tar: &[u8]| match read(tar) {
        Err(Error::Size { offset, path, source }) => (offset, path, source),
        other => panic!("{other:?}"),
    };
    let name = b"name".to_vec();
    assert_eq!(size(&bad.build()), (0, name.clone(), NumberError::Malformed));
    assert_eq!(size(&header(b'5').raw(124, &[0xff; 12]).build()), (0, name.clone(), NumberError::Negative));
    assert_eq!(size(&header(b'x').size(1 << 63).build()), (0, name, NumberError::TooLarge));
    let huge =
        Archive::new().pax(&[("size", b"9223372036854775808")]).raw(&header(b'0').build()).into_bytes();
    assert_eq!(size(&huge).0, 1024);
    let bad = Archive::new().pax(&[("size", b"x")]).into_bytes();
    assert!(matches!(read(&bad), Err(Error::Pax { source: PaxError::Size { .. }, .. })));
}

#[test]
fn global_records_change_nothing_and_are_not_read() {
    let tar = Archive::new().member(header(b'g').format(Format::V7), b"no records at all");
    assert_eq!(entry(tar.file(b"a", b"")).path, b"a");
    let records = pax_record(b"path", b"global");
    let tar = Archive::new().pax(&[("mtime", b"7")]).member(header(b'g'), &records).file(b"a", b"");
    let between = entry(tar);
    assert_eq!((&between.path[..], between.mtime.seconds), (&b"a"[..], 7));
    // Nobody holds their data, so no limit counts them.
    let tar = Archive::new().raw(&header(b'g').size(1 << 40).build()).into_bytes();
    assert_eq!(read(&tar), Err(Error::Cut { offset: 512, path: vec![] }));
    assert_eq!(read(&Archive::new().member(header(b'g'), b"x").into_bytes()), Ok(vec![]));
}

#[test]
fn of_two_extension_headers_the_last_counts() {
    let twice = Archive::new().pax(&[("uid", b"1"), ("path", b"a")]).pax(&[("gid", b"2")]).file(b"name", b"");
    let fields = entry(twice.clone());
    assert_eq!((&fields.path[..], fields.uid, fields.gid), (&b"name"[..], 0, 2));
    let names = Archive::new().long_name(b"first").long_name(b"second").file(b"name", b"");
    assert_eq!(entry(names.clone()).path, b"second");
    let links = Archive::new().long_link(b"first").long_link(b"second").file(b"name", b"");
    for (tar, type_flag) in [(twice, b'x'), (names, b'L'), (links, b'K')] {
        assert_eq!(strict(&tar.finish()), Err(Error::DuplicateExtension { offset: 1024, type_flag }));
    }
}

#[test]
fn a_member_begins_at_its_first_extension_header() {
    let tar =
        Archive::new().file(b"a", b"").long_name(b"n").pax(&[("uid", b"1")]).file(b"b", b"").file(b"c", b"");
    let offsets: Vec<u64> = read(&tar.finish()).unwrap().iter().map(|(member, _)| member.offset).collect();
    assert_eq!(offsets, [0, 512, 512 * 6]);
}

#[test]
fn extension_headers_are_bounded() {
    let limits = Limits::default().extension_bytes(2000).extension_headers(3);
    let options = Options::default().limits(limits);
    let long = |archive: Archive| archive.long_name(&[b'n'; 700]);
    assert!(read_with(options, &long(long(Archive::new())).file(b"a", b"").finish()).is_ok());
    assert_eq!(
        read_with(options, &long(long(long(Archive::new()))).finish()),
        Err(Error::ExtensionBytes { offset: 2 * (512 + 1024), limit: 2000 }),
    );
    let many = (0..4).fold(Archive::new(), |archive, _| archive.long_link(b"x"));
    assert_eq!(read_with(options, &many.finish()), Err(Error::ExtensionHeaders { offset: 3072, limit: 3 }));
    // The bound is per member, and on what is claimed.
    let again = |archive: Archive| long(archive).file(b"a", b"");
    assert!(read_with(options, &again(again(again(Archive::new()))).finish()).is_ok());
    let claimed = header(b'x').size((64 << 20) + 1).build();
    assert_eq!(read(&claimed), Err(Error::ExtensionBytes { offset: 0, limit: 64 << 20 }));
    let claimed = header(b'x').size((1 << 20) + 1).build();
    assert_eq!(strict(&claimed), Err(Error::ExtensionBytes { offset: 0, limit: 1 << 20 }));
}

#[test]
fn zero_blocks_and_the_end() {
    let file = || Archive::new().file(b"a", b"");
    // Two end it, and what follows is kept but not read.
    assert_eq!(read(&file().raw(&[0; 1024]).raw(b"garbage").file(b"b", b"").into_bytes()).unwrap().len(), 1);
    // One does not.
    assert_eq!(read(&file().raw(&[0; 512]).file(b"b", b"").finish()).unwrap().len(), 2);
    assert_eq!(read(&file().raw(&[0; 512]).into_bytes()).unwrap().len(), 1);
    let apart = file().raw(&[0; 512]).file(b"b", b"").raw(&[0; 512]).file(b"c", b"");
    assert_eq!(read(&apart.into_bytes()).unwrap().len(), 3);
    // None is needed, nor anything else.
    assert_eq!(read(&file().into_bytes()).unwrap().len(), 1);
    assert_eq!(read(b""), Ok(vec![]));
    assert_eq!(read(&[0; 1024]), Ok(vec![]));
}

#[test]
fn cut_archives_are_refused_wherever_they_are_cut() {
    let tar =
        Archive::new().pax(&[("uid", b"1")]).file(b"small", b"x").file(b"large", &[1; 700]).into_bytes();
    let whole = [0, 2048];
    for len in 0..tar.len() {
        let result = read(&tar[..len]);
        if whole.contains(&len) {
            assert!(result.is_ok(), "{len}");
        } else if len == 512 * 2 {
            assert_eq!(result, Err(Error::NoMember { offset: 1024 }));
        } else {
            let path = match len {
                0..1536 => &b""[..],
                1536..2560 => b"small",
                _ => b"large",
            };
            assert_eq!(result, Err(Error::Cut { offset: len as u64, path: path.to_vec() }), "{len}");
        }
    }
    assert_eq!(read(&Archive::new().long_name(b"x").finish()), Err(Error::NoMember { offset: 1536 }));
}

#[test]
fn wrong_checksums_are_refused() {
    let mut tar = Archive::new().file(b"a", b"").file(b"b", b"").finish();
    tar[512] = b'c';
    let Err(Error::Checksum { offset: 512, claimed: Some(claimed), actual }) = read(&tar) else { panic!() };
    assert_eq!(actual, claimed + 1);
    // Unsigned bytes are summed.
    assert_eq!(entry(Archive::new().file(b"\xff\xfe", b"")).path, b"\xff\xfe");
    let garbage = header(b'0').build().map(|byte| byte | 0x40);
    assert!(matches!(read(&garbage), Err(Error::Checksum { claimed: None, .. })));
}

#[test]
fn errors_stay() {
    let mut parser = Parser::new(Options::default());
    let error = parser.parse(&mut &[1; 512][..]).unwrap_err();
    assert_eq!(parser.parse(&mut &b""[..]), Err(error.clone()));
    assert_eq!(parser.skip_external(1), Err(error.clone()));
    assert_eq!(parser.finish(), Err(error));
}

#[test]
fn objects_stand_for_contents() {
    let tar = Archive::new().file(b"a", &[1; 700]).file(b"b", b"x").finish();
    let run = |size: u64| {
        let mut parser = Parser::new(Options::default());
        assert_eq!(parser.external_size(), None);
        let mut events = Vec::new();
        for mut chunk in [&tar[..512], &tar[512 + 700..]] {
            while let Some(event) = parser.parse(&mut chunk)? {
                let begins = matches!(event, Event::Begin(_));
                events.push(event);
                if begins {
                    assert_eq!(parser.external_size(), Some(700));
                    parser.skip_external(size)?;
                    assert_eq!(parser.external_size(), None);
                }
            }
        }
        assert_eq!(parser.offset(), tar.len() as u64);
        parser.finish()?;
        Ok(events.len())
    };
    assert_eq!(run(700), Ok(9));
    assert_eq!(run(699), Err(Error::External { offset: 512, size: 699, expected: Some(700) }));
    let mut parser = Parser::new(Options::default());
    assert_eq!(parser.skip_external(5), Err(Error::External { offset: 0, size: 5, expected: None }));
}

/// Blocks of a GNU sparse header: slots of twelve digits each.
fn slots(segments: &[(u64, u64)]) -> Vec<u8> {
    segments.iter().flat_map(|(offset, len)| format!("{offset:011o}\0{len:011o}\0").into_bytes()).collect()
}

fn gnu_sparse(segments: &[(u64, u64)], real_size: u64) -> HeaderBuilder {
    let header = header(b'S').format(Format::Gnu).raw(386, &slots(segments));
    header.raw(483, format!("{real_size:011o}\0").as_bytes())
}

fn sparse_map(member: &Member) -> &SparseMap {
    match &member.entry.as_ref().unwrap().kind {
        EntryKind::Regular { size, content: Content::Sparse(map) } if *size == map.size() => map,
        other => panic!("{other:?}"),
    }
}

fn segment(offset: u64, len: u64) -> Segment {
    Segment { offset, len }
}

#[test]
fn gnu_sparse_members_expand() {
    let data = [9; 1024];
    let header = gnu_sparse(&[(4096, 512), (10_240, 512), (20_000, 0)], 20_000);
    let tar = Archive::new().member(header, &data).file(b"next", b"").finish();
    let members = read(&tar).unwrap();
    assert_eq!(sparse_map(&members[0].0).segments(), [segment(4096, 512), segment(10_240, 512)]);
    assert_eq!((members[0].0.external, members[0].1.as_slice()), (Some(1024), &data[..]));
    assert!(matches!(strict(&tar), Err(Error::Sparse { offset: 0, .. })));

    // Blocks of more slots follow the header as long as their flag says so.
    let first: Vec<_> = (0..4).map(|i| (i * 1024, 512)).collect();
    let more: Vec<_> = (4..25).map(|i| (i * 1024, 512)).collect();
    let last = [(25 * 1024, 10)];
    let size = 25 * 512 + 10;
    let tar = Archive::new()
        .raw(&gnu_sparse(&first, 30_000).size(size).raw(482, &[1]).build())
        .raw(&[slots(&more), vec![1; 8]].concat())
        .raw(&[slots(&last), vec![0; 488]].concat())
        .padded(&vec![3; size as usize]);
    let members = read(&tar.file(b"next", b"").finish()).unwrap();
    assert_eq!(sparse_map(&members[0].0).segments().len(), 26);
    assert_eq!((members[0].1.len() as u64, members.len()), (size, 2));
}

#[test]
fn few_stored_bytes_stay_inline() {
    let members = read(&Archive::new().member(gnu_sparse(&[(100, 3)], 200), b"abc").finish()).unwrap();
    assert_eq!(sparse_map(&members[0].0).inline_data(), Some(&b"abc"[..]));
    assert_eq!(members[0].0.external, None);
    // So does a file that is small with its holes.
    let small = entry(Archive::new().member(gnu_sparse(&[(2, 3)], 7), b"abc"));
    assert_eq!(small.kind, EntryKind::Regular { size: 7, content: Content::Inline(b"\0\0abc\0\0".to_vec()) });
    let holes = entry(Archive::new().member(gnu_sparse(&[], 1000), b"")).kind;
    let EntryKind::Regular { size: 1000, content: Content::Sparse(map) } = holes else { panic!() };
    assert_eq!((map.segments().len(), map.inline_data()), (0, Some(&b""[..])));
    // One without holes is no sparse file.
    let whole = entry(Archive::new().member(gnu_sparse(&[(0, 50), (50, 50)], 100), &[1; 100]));
    assert_eq!(whole.kind, EntryKind::Regular { size: 100, content: Content::External });
}

#[test]
fn pax_sparse_members_expand_in_all_three_forms() {
    let data = [8; 100];
    let name: (&str, &[u8]) = ("GNU.sparse.name", b"real");
    let pairs = Archive::new().pax(&[
        ("GNU.sparse.size", b"1000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"0"),
        ("GNU.sparse.numbytes", b"60"),
        ("GNU.sparse.offset", b"500"),
        ("GNU.sparse.numbytes", b"40"),
    ]);
    let map = Archive::new().pax(&[("GNU.sparse.size", b"1000"), ("GNU.sparse.map", b"0,60,500,40"), name]);
    let lines = Archive::new().pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.realsize", b"1000"),
        name,
    ]);
    let in_front = [&b"2\n0\n60\n500\n40\n"[..], &[0; 512 - 14], &data].concat();
    for (archive, data, path) in
        [(pairs, &data[..], "name"), (map, &data, "real"), (lines, &in_front, "real")]
    {
        let tar = archive.file(b"name", data).file(b"next", b"").finish();
        let members = read(&tar).unwrap();
        assert_eq!(sparse_map(&members[0].0).segments(), [segment(0, 60), segment(500, 40)]);
        assert_eq!(members[0].0.path(), path.as_bytes());
        assert_eq!((members[0].0.external, members[0].1.as_slice()), (Some(100), &[8; 100][..]));
        assert_eq!((members[0].0.size, members.len()), (data.len() as u64, 2));
        assert!(matches!(strict(&tar), Err(Error::Sparse { offset: 1024, .. })));
    }
}

#[test]
fn map_lines_may_cross_blocks() {
    let text: String = (0..100).map(|i| format!("{}\n{}\n", i * 1000, 10)).collect();
    let mut data = format!("100\n{text}").into_bytes();
    data.resize(data.len().next_multiple_of(512), 0);
    assert!(data.len() > 512);
    data.extend([1; 1000]);
    let records: [(&str, &[u8]); 2] = [("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"100000")];
    let members = read(&Archive::new().pax(&records).file(b"name", &data).finish()).unwrap();
    assert_eq!(sparse_map(&members[0].0).segments().len(), 100);
    assert_eq!(members[0].1, [1; 1000]);
}

#[test]
fn broken_sparse_members_are_kept_but_are_no_entries() {
    let sparse = |archive: Archive, external: Option<u64>| {
        let members = read(&archive.file(b"next", b"").finish()).unwrap();
        assert_eq!((members.len(), members[0].0.external), (2, external));
        match members[0].0.entry.as_ref().unwrap_err().fault {
            EntryFault::Sparse(fault) => fault,
            ref other => panic!("{other:?}"),
        }
    };
    let gnu =
        |segments, size, stored: usize| Archive::new().member(gnu_sparse(segments, size), &vec![1; stored]);
    assert_eq!(sparse(gnu(&[(0, 100)], 50, 100), Some(100)), SparseError::Order);
    let stored = SparseError::StoredSize { described: 100, stored: 90 };
    assert_eq!(sparse(gnu(&[(0, 100)], 500, 90), Some(90)), stored);
    let large = gnu_sparse(&[(0, 1)], 0).raw(483, &[0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(sparse(Archive::new().member(large, b"x"), None), SparseError::TooLarge { size: 1 << 40 });
    let garbage = header(b'S').format(Format::Gnu).raw(386, b"garbage");
    assert_eq!(sparse(Archive::new().member(garbage, b""), None), SparseError::Malformed);

    let lines = |realsize: &[u8], data: &[u8]| {
        let records = [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.realsize", realsize)];
        Archive::new().pax(&records).file(b"name", data)
    };
    let padded = |text: &str, more: usize| {
        let mut data = text.as_bytes().to_vec();
        data.resize(512, 0);
        data.resize(512 + more, 1);
        data
    };
    // Nobody knows where the data begin: all of it stays inline.
    assert_eq!(sparse(lines(b"1000", &padded("x\n", 1000)), None), SparseError::Malformed);
    assert_eq!(sparse(lines(b"1000", b"1\n0\n5\n"), None), SparseError::Malformed);
    assert_eq!(sparse(lines(b"1000", &[b'\n'; 600]), None), SparseError::Malformed);
    let short = format!("1\n0\n{}", "0".repeat(600));
    assert_eq!(sparse(lines(b"1000", short.as_bytes()), None), SparseError::Malformed);
    assert_eq!(sparse(lines(b"x", &padded("1\n0\n100\n", 100)), Some(100)), SparseError::NoSize);
    let version = Archive::new().pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"1")]);
    let fault = sparse(version.file(b"name", &[1; 65]), Some(65));
    assert_eq!(fault, SparseError::Version { major: 1, minor: 1 });
}

#[test]
fn texts_name_the_culprit() {
    let member = read(&one(HeaderBuilder::new(b's').name(b"dev/log\n")).finish()).unwrap().remove(0).0;
    let error = member.entry.unwrap_err();
    assert_eq!(error.to_string(), "member dev/log\\n");
    assert_eq!(error.fault.to_string(), "unknown type `s`");
    let error = Error::Cut { offset: 7, path: b"a".to_vec() };
    assert_eq!(error.to_string(), "archive ends at byte 7, in or after member a");
}

/// A name of 64 MiB was held several times, though no tree can have it.
#[test]
fn names_that_no_tree_holds_are_cut() {
    let limits = Limits::default().name_bytes(200);
    let options = Options::default().limits(limits);
    let long = [b'n'; 201];
    for archive in [
        Archive::new().long_name(&long).file(b"x", b""),
        Archive::new().long_link(&long).symlink(b"x", b"y"),
        Archive::new().pax(&[("path", &long)]).file(b"x", b""),
        Archive::new().pax(&[("linkpath", &long)]).symlink(b"x", b"y"),
    ] {
        let archive = archive.finish();
        let faults = [archive.len(), 1, 7].map(|size| {
            let (mut parser, mut faults) = (Parser::new(options), Vec::new());
            for mut piece in archive.chunks(size) {
                while let Some(event) = parser.parse(&mut piece).unwrap() {
                    if let Event::Member(member) = event {
                        faults.push(member.entry.unwrap_err());
                    }
                }
            }
            parser.finish().unwrap();
            faults
        });
        assert_eq!(faults[0].len(), 1);
        assert_eq!(faults[0][0].fault, EntryFault::LongName { limit: 200 });
        assert!(faults[0][0].path.len() <= 200 && faults.iter().all(|other| *other == faults[0]));
    }
}
