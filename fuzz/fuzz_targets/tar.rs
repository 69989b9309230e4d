//! Archives of any bytes: however they are split, the parser tells the same, loses no byte and never panics.
#![allow(clippy::unwrap_used, unreachable_pub)]

use composefs_tar::{Content, EntryKind, Error, Event, Member, Mode, Options, Parser, Piece, SparseMap};

/// One event with its bytes, neighbouring pieces joined.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Inline(Vec<u8>),
    Member(Member),
    Begin(Member),
    Content(Vec<u8>),
    End,
}

fn tell(told: &mut Vec<Told>, event: Event<'_>) {
    match (told.last_mut(), event) {
        (Some(Told::Inline(bytes)), Event::Inline(piece))
        | (Some(Told::Content(bytes)), Event::Content(piece)) => {
            assert!(!piece.is_empty());
            bytes.extend_from_slice(piece);
        }
        (_, Event::Inline(piece)) => told.push(Told::Inline(piece.to_vec())),
        (_, Event::Content(piece)) => told.push(Told::Content(piece.to_vec())),
        (_, Event::Member(member)) => told.push(Told::Member(member)),
        (_, Event::Begin(member)) => told.push(Told::Begin(member)),
        (_, Event::End) => told.push(Told::End),
    }
}

fn read<'a>(options: Options, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Told>, Result<(), Error>) {
    let (mut parser, mut told) = (Parser::new(options), Vec::new());
    for mut piece in pieces {
        loop {
            match parser.parse(&mut piece) {
                Ok(Some(event)) => tell(&mut told, event),
                Ok(None) => break assert!(piece.is_empty()),
                Err(error) => return (told, Err(error)),
            }
        }
    }
    let result = parser.finish();
    (told, result)
}

/// Reads a splitstream's parts: inline runs as bytes, objects as their sizes.
fn read_back(options: Options, parts: &[Told]) -> Vec<Told> {
    let (mut parser, mut told) = (Parser::new(options), Vec::new());
    for part in parts {
        let mut piece = match part {
            Told::Inline(bytes) => bytes.as_slice(),
            Told::Content(bytes) => {
                parser.skip_external(bytes.len() as u64).unwrap();
                told.push(part.clone());
                &[]
            }
            _ => continue,
        };
        while let Some(event) = parser.parse(&mut piece).unwrap() {
            tell(&mut told, event);
        }
    }
    parser.finish().unwrap();
    told
}

fn check_members(told: &[Told]) {
    for (index, event) in told.iter().enumerate() {
        let (member, stored) = match (event, told.get(index + 1)) {
            (Told::Member(member), _) => (member, None),
            (Told::Begin(member), Some(Told::Content(bytes))) => (member, Some(bytes)),
            (Told::Begin(_), _) => panic!("object without contents"),
            _ => continue,
        };
        assert_eq!(member.external, stored.map(|bytes| bytes.len() as u64));
        assert!(member.external.is_none_or(|size| size > 64));
        let Ok(entry) = &member.entry else { continue };
        assert!(!entry.path.is_empty() && entry.components().is_ok());
        assert!(entry.mode <= 0o7777 && entry.mtime.nanos < 1_000_000_000);
        let EntryKind::Regular { size, content } = &entry.kind else { continue };
        match content {
            Content::Inline(data) => assert!(data.len() <= 64 && data.len() as u64 == *size),
            Content::External => assert_eq!(member.external, Some(*size)),
            Content::Sparse(map) => {
                assert_eq!(map.size(), *size);
                check_map(map, stored.map_or_else(|| map.inline_data().unwrap(), Vec::as_slice));
            }
        }
    }
}

fn check_map(map: &SparseMap, mut stored: &[u8]) {
    let (mut expander, mut size) = (map.clone().into_expander(), 0);
    while let Some(piece) = expander.next(&mut stored) {
        size += match piece {
            Piece::Hole(len) => len,
            Piece::Data(data) => data.len() as u64,
        };
    }
    assert!(expander.is_done() && stored.is_empty());
    assert_eq!(size, map.size());
}

fn check(options: Options, tar: &[u8]) -> Result<(), Error> {
    let (mut whole, result) = read(options, std::iter::once(tar));
    let size = 1 + tar.len().wrapping_mul(7) % 1021;
    for size in [size, size % 7 + 1] {
        let (mut split, split_result) = read(options, tar.chunks(size));
        assert_eq!(split_result, result);
        if result.is_err() {
            // A bad header is not told, but the parts of one that came before its last are.
            for told in [&mut whole, &mut split] {
                told.pop_if(|last| matches!(last, Told::Inline(_)));
            }
        }
        assert_eq!(split, whole);
    }
    let bytes = whole.iter().flat_map(|told| match told {
        Told::Inline(bytes) | Told::Content(bytes) => bytes.as_slice(),
        _ => &[],
    });
    if result.is_ok() {
        assert!(bytes.eq(tar));
        check_members(&whole);
        assert_eq!(read_back(options, &whole), whole);
    } else {
        assert!(bytes.zip(tar).all(|(told, pushed)| told == pushed));
    }
    result
}

/// Checks one archive in both modes, and what it becomes when wrong checksums are put right.
pub fn run(data: &[u8]) {
    let mut tar = data.to_vec();
    for mode in [Mode::Strict, Mode::Lenient] {
        let options = Options::default().mode(mode);
        for _ in 0..32 {
            let Err(Error::Checksum { offset, actual, .. }) = check(options, &tar) else { break };
            let field = usize::try_from(offset).unwrap() + 148;
            tar[field..field + 8].copy_from_slice(format!("{actual:06o}\0 ").as_bytes());
        }
    }
}
