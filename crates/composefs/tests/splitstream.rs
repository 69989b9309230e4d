//! Splitstreams against files made by other programs: every edge case of `tests/vectors/repo/splitstream`, and
//! the streams of the golden repositories.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Cursor, Read as _},
    path::PathBuf,
};

use composefs::{
    digest::{Algorithm, ObjectId, object_id_of},
    splitstream::{
        Builder, Chunk, ContentType, Layout, Limits, NamedRefFault, Outline, ReplayError, Section,
        SplitStream, SplitstreamError, replay,
    },
};
use sha2::{Digest as _, Sha256};

fn vectors() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/repo"))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

type Store = HashMap<ObjectId, Vec<u8>>;

fn parse(bytes: &[u8], algorithm: Algorithm) -> Result<SplitStream<&[u8]>, SplitstreamError> {
    SplitStream::parse(bytes, bytes.len() as u64, algorithm, &Limits::default())
}

/// Returns the contents of a stream, and whether their length is the one stated.
fn cat(stream: &SplitStream<&[u8]>, objects: &Store) -> Result<(Vec<u8>, bool), ReplayError<io::Error>> {
    let mut out = Vec::new();
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let mut open = |id: &ObjectId| objects.get(id).map(Cursor::new).ok_or_else(missing);
    let replayed = replay(stream, &mut open, &mut out)?;
    Ok((out, replayed.agrees()))
}

/// Writes a stream anew from what a reader sees.
fn rebuild(stream: &SplitStream<&[u8]>, objects: &Store) -> Vec<u8> {
    let mut builder = Builder::new(stream.algorithm(), stream.content_type()).unwrap();
    for id in stream.stream_refs().iter() {
        builder.stream_ref(&id).unwrap();
    }
    for (name, id) in stream.named_refs() {
        builder.named_ref(name, &id).unwrap();
    }
    let mut chunks = stream.chunks().unwrap();
    while let Some(chunk) = chunks.next_chunk().unwrap() {
        match chunk {
            Chunk::Inline(bytes) => builder.inline(bytes).unwrap(),
            Chunk::External(id) => builder.external(&id, objects[&id].len() as u64).unwrap(),
        }
    }
    for id in stream.object_refs().iter() {
        builder.object_ref(&id).unwrap();
    }
    builder.finish().unwrap().into_bytes().unwrap()
}

#[test]
fn every_edge_case_gets_its_verdict() {
    let folder = vectors().join("splitstream");
    let mut objects = Store::new();
    for entry in std::fs::read_dir(folder.join("objects")).unwrap() {
        let entry = entry.unwrap();
        let id = ObjectId::from_any_hex(entry.file_name().into_string().unwrap()).unwrap();
        let contents = std::fs::read(entry.path()).unwrap();
        assert_eq!(object_id_of(id.algorithm(), &contents), id);
        objects.insert(id, contents);
    }
    let text = std::fs::read_to_string(folder.join("expected.tsv")).unwrap();
    let mut rows = 0;
    for line in text.lines() {
        rows += 1;
        let row: Vec<&str> = line.split('\t').collect();
        let (name, verdict) = (row[0], row[3]);
        let algorithm: Algorithm = row[1].parse().unwrap();
        let bytes = std::fs::read(folder.join(format!("{name}.split"))).unwrap();
        assert_eq!(object_id_of(algorithm, &bytes).to_hex(), row[2], "{name}");
        let result = parse(&bytes, algorithm)
            .map_err(ReplayError::Stream)
            .and_then(|stream| cat(&stream, &objects).map(|(out, agrees)| (stream, out, agrees)));
        match (verdict, name) {
            ("bad", "v03") => {
                let (stream, out, _) = result.unwrap();
                assert_eq!((stream.layout(), stream.v03_map().len()), (Layout::V03, 0));
                assert_eq!(stream.content_type(), ContentType::NONE);
                assert!(!out.is_empty());
            }
            ("bad", _) => {
                let error = result.map(|_| ()).unwrap_err();
                assert!(is_expected(name, &error), "{name}: {error:?}");
            }
            // The chapter refuses ranges outside of the file; taking the rest would hide a cut file.
            ("either", "stream-beyond") => {
                assert!(is_expected(name, &result.map(|_| ()).unwrap_err()));
            }
            ("ok" | "either", _) => {
                let (stream, out, agrees) = result.unwrap_or_else(|error| panic!("{name}: {error:?}"));
                assert_eq!(
                    (sha256(&out).as_str(), out.len().to_string().as_str()),
                    (row[4], row[5]),
                    "{name}"
                );
                assert_eq!(agrees, name != "size-wrong", "{name}");
                assert_eq!(format!("{:#x}", stream.content_type().number()), row[6], "{name}");
                assert_eq!(stream.object_refs().len().to_string(), row[7], "{name}");
                let names: Vec<_> = stream.named_refs().map(|(name, id)| format!("{name}={id}")).collect();
                assert_eq!(names.join(" "), row[8], "{name}");
                let layout = if name == "old-header" { Layout::Old } else { Layout::Current };
                assert_eq!(stream.layout(), layout, "{name}");

                let again = rebuild(&stream, &objects);
                let again = parse(&again, algorithm).unwrap();
                let (mut before, mut after) = (Outline::of(&stream).unwrap(), Outline::of(&again).unwrap());
                if name == "size-wrong" {
                    (before.stream_size, after.stream_size) = (None, None);
                }
                assert_eq!(before, after, "{name}");
            }
            other => panic!("unknown verdict {other:?}"),
        }
    }
    assert_eq!(rows, 57);
}

/// Says whether a bad file fails for the reason it was made for.
fn is_expected(name: &str, error: &ReplayError<io::Error>) -> bool {
    use SplitstreamError as E;
    let error = match error {
        ReplayError::Open { .. } => return name == "missing-object",
        ReplayError::Stream(error) => error,
        _ => return false,
    };
    let named = |expected| matches!(error, E::NamedRef { record: 0, fault } if *fault == expected);
    let section = |expected| match error {
        E::Range { section, .. } | E::TableSize { section, .. } | E::Decompress { section, .. } => {
            *section == expected
        }
        E::Incomplete(section) => *section == expected,
        _ => false,
    };
    match name {
        "bad-magic" | "short-header" | "empty-file" => matches!(error, E::NotASplitstream),
        "bad-version" => matches!(error, E::Version(1)),
        "bad-algorithm" => matches!(error, E::Algorithm { expected: Algorithm::Sha256, found: 2 }),
        "bad-blocksize" => matches!(error, E::BlockSize(16)),
        "info-short" => matches!(error, E::InfoShort(79)),
        "info-negative" | "info-beyond" => section(Section::Info),
        "srefs-odd" => section(Section::StreamRefs),
        "orefs-odd" => section(Section::ObjectRefs),
        "stream-beyond" | "stream-garbage" | "stream-cut" | "stream-bad-checksum" => section(Section::Stream),
        "named-garbage" => section(Section::NamedRefs),
        "named-no-colon" => named(NamedRefFault::NoColon),
        "named-no-index" | "named-negative" => named(NamedRefFault::Index),
        "named-range" => named(NamedRefFault::OutOfRange),
        "named-no-nul" => named(NamedRefFault::Unterminated),
        "named-latin1" => named(NamedRefFault::Utf8),
        "chunk-range" => matches!(error, E::ObjectIndex { .. }),
        "chunk-cut-header" => matches!(error, E::ChunkCut),
        "chunk-cut-inline" | "chunk-huge-inline" | "chunk-min" => matches!(error, E::InlineCut { .. }),
        _ => false,
    }
}

/// A golden repository, held in memory.
struct Golden {
    algorithm: Algorithm,
    objects: Store,
    /// Entry in `streams/` and the id it leads to.
    streams: BTreeMap<String, ObjectId>,
}

fn golden(archive: &str) -> Golden {
    let file = std::fs::File::open(vectors().join(archive)).unwrap();
    let algorithm = if archive.contains("sha512") { Algorithm::Sha512 } else { Algorithm::Sha256 };
    let mut golden = Golden { algorithm, objects: Store::new(), streams: BTreeMap::new() };
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(file));
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().trim_start_matches("./").to_owned();
        if path.starts_with("objects/") && entry.header().entry_type().is_file() {
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).unwrap();
            let id = ObjectId::from_object_path(algorithm, &path).unwrap();
            assert_eq!(object_id_of(algorithm, &contents), id);
            golden.objects.insert(id, contents);
        } else if let Some(name) = path.strip_prefix("streams/")
            && !name.contains('/')
            && let Some(target) = entry.link_name().unwrap()
        {
            let id = ObjectId::from_object_path(algorithm, target.to_str().unwrap()).unwrap();
            golden.streams.insert(name.to_owned(), id);
        }
    }
    golden
}

#[test]
fn golden_streams_come_out_exactly_and_are_rebuilt_to_the_byte() {
    let text = std::fs::read_to_string(vectors().join("expected.tsv")).unwrap();
    let mut repositories: BTreeMap<&str, Golden> = BTreeMap::new();
    let (mut streams, mut names) = (0, 0);
    for row in text.lines().map(|line| line.split('\t').collect::<Vec<_>>()) {
        if !["stream", "named-ref"].contains(&row[1]) {
            continue;
        }
        let repository = repositories.entry(row[0]).or_insert_with(|| golden(&format!("{}.tar.gz", row[0])));
        let id = repository.streams[row[2]];
        let bytes = repository.objects[&id].as_slice();
        let stream = parse(bytes, repository.algorithm).unwrap();
        if row[1] == "named-ref" {
            assert_eq!(stream.named_ref(row[3]).unwrap().to_hex(), row[4], "{row:?}");
            names += 1;
            continue;
        }
        streams += 1;
        assert_eq!(stream.content_type().to_string(), row[3], "{row:?}");
        assert_eq!(id.to_hex(), row[4], "{row:?}");
        assert_eq!(stream.stream_size().unwrap().to_string(), row[5], "{row:?}");
        assert_eq!(stream.object_refs().len().to_string(), row[6], "{row:?}");
        let (out, agrees) = cat(&stream, &repository.objects).unwrap();
        assert!(agrees, "{row:?}");
        assert_eq!(sha256(&out), row[7], "{row:?}");

        let again = rebuild(&stream, &repository.objects);
        if stream.layout() == Layout::Current {
            assert_eq!(object_id_of(repository.algorithm, &again), id, "{row:?}");
        }
        let again = parse(&again, repository.algorithm).unwrap();
        assert_eq!(Outline::of(&again).unwrap(), Outline::of(&stream).unwrap(), "{row:?}");
    }
    assert_eq!((streams, names), (73, 108));
}

#[test]
fn streams_of_0_3_hash_to_their_names() {
    let repository = golden("r03-sha256.tar.gz");
    assert_eq!(repository.streams.len(), 11);
    let mut maps = 0;
    for (name, id) in &repository.streams {
        let bytes = repository.objects[id].as_slice();
        let stream = parse(bytes, repository.algorithm).unwrap();
        assert_eq!((stream.layout(), stream.stream_size()), (Layout::V03, None));
        let (out, _) = cat(&stream, &repository.objects).unwrap();
        assert_eq!(sha256(&out), *name);
        for entry in stream.v03_map() {
            let layer: String = entry.body_sha256.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(repository.streams[&layer], entry.stream);
            maps += 1;
        }
        let mut objects = Vec::new();
        stream.for_each_object(&mut |id| objects.push(id)).unwrap();
        let outline = Outline::of(&stream).unwrap();
        assert_eq!(outline.object_refs, objects.into_iter().collect());
        assert_eq!(outline.stream_refs.is_empty(), stream.v03_map().is_empty());
    }
    assert!(maps > 0);
}

#[path = "../../../fuzz/fuzz_targets/splitstream.rs"]
mod target;

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(vectors().join("splitstream")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "split") {
            samples.push(std::fs::read(path).unwrap());
        }
    }
    samples.sort();
    for sample in samples.iter().filter(|sample| sample.len() < 512) {
        for cut in 0..sample.len() {
            target::run(&sample[..cut]);
        }
        for at in 0..sample.len() {
            for value in [0xff, sample[at] ^ 1, sample[at] ^ 0x80] {
                let mut damaged = sample.clone();
                damaged[at] = value;
                target::run(&damaged);
            }
        }
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let folder = vectors().join("splitstream");
    for (name, text) in [
        ("bad-magic", "not a splitstream"),
        ("bad-algorithm", "made for fs-verity algorithm 2, expected sha256"),
        ("info-short", "info section has 79 bytes, at least 80 are needed"),
        ("srefs-odd", "stream refs section of 31 bytes holds no whole number of ids"),
        ("named-no-colon", "named ref 0: no colon"),
        ("stream-cut", "stream section is cut short"),
        ("chunk-range", "chunk refers to object 1 of 1"),
        ("chunk-cut-header", "stream ends inside a chunk header"),
        (
            "chunk-huge-inline",
            "stream ends 4398046511099 bytes before its inline chunk of 4398046511104 bytes does",
        ),
    ] {
        let bytes = std::fs::read(folder.join(format!("{name}.split"))).unwrap();
        let error =
            parse(&bytes, Algorithm::Sha256).and_then(|stream| Outline::of(&stream).map(|_| ())).unwrap_err();
        let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
        let found = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        assert_eq!(found, text, "{name}");
    }
}
