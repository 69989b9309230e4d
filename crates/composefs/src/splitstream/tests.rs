use std::{convert::Infallible, io::Cursor};

use proptest::prelude::*;

use super::{format::*, *};
use crate::digest::{Algorithm, ObjectId, object_id_of};

/// A part given to a builder.
#[derive(Clone, Debug)]
enum Part {
    Inline(Vec<u8>),
    Object(u8, usize),
}

fn contents(seed: u8, size: usize) -> Vec<u8> {
    (0..size).map(|i| seed.wrapping_add(i as u8)).collect()
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let part = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..2000).prop_map(Part::Inline),
        1 => (0..200_000_usize).prop_map(|size| Part::Inline(contents(7, size))),
        3 => (0..8_u8, 0..300_usize).prop_map(|(seed, size)| Part::Object(seed, size)),
    ];
    prop::collection::vec(part, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_built_is_what_is_parsed(
        parts in parts(),
        names in prop::collection::vec(("[a-z:é]{0,6}", 0..5_u8), 0..6),
        sha512 in any::<bool>(),
        spool in any::<bool>(),
    ) {
        let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let mut builder = Builder::new(algorithm, ContentType::OCI_LAYER).unwrap();
        let mut expected_names = std::collections::BTreeMap::new();
        for (name, seed) in &names {
            let id = object_id_of(algorithm, &[*seed]);
            builder.named_ref(name, &id).unwrap();
            expected_names.insert(name.clone(), id);
        }
        let (mut stream, mut objects, mut taken) = (Vec::new(), std::collections::HashMap::new(), Vec::new());
        for part in &parts {
            match part {
                Part::Inline(bytes) => {
                    builder.inline(bytes).unwrap();
                    stream.extend_from_slice(bytes);
                }
                Part::Object(seed, size) => {
                    let object = contents(*seed, *size);
                    let id = object_id_of(algorithm, &object);
                    builder.external(&id, object.len() as u64).unwrap();
                    stream.extend_from_slice(&object);
                    objects.insert(id, object);
                }
            }
            if spool {
                taken.append(&mut builder.take_output());
            }
        }
        let built = builder.finish().unwrap();
        prop_assert_eq!(built.stream_size, stream.len() as u64);
        let file = [built.head.clone(), taken, built.tail.clone()].concat();
        prop_assert_eq!(built.file_size(), file.len() as u64);

        let parsed = SplitStream::parse(&file[..], file.len() as u64, algorithm, &Limits::default()).unwrap();
        prop_assert_eq!(parsed.layout(), Layout::Current);
        prop_assert_eq!(parsed.content_type(), ContentType::OCI_LAYER);
        let found: Vec<_> = parsed.named_refs().collect();
        let expected: Vec<_> = expected_names.iter().map(|(name, id)| (name.as_str(), *id)).collect();
        prop_assert_eq!(found, expected);
        for (name, id) in &expected_names {
            prop_assert_eq!(parsed.named_ref(name), Some(*id));
        }
        prop_assert_eq!(parsed.object_refs().len(), objects.len());
        let mut out = Vec::new();
        let replayed = replay(
            &parsed,
            &mut |id| Ok::<_, Infallible>(Cursor::new(objects[id].clone())),
            &mut out,
        ).unwrap();
        prop_assert!(replayed.agrees());
        prop_assert!(out == stream);
    }

    #[test]
    fn how_inline_bytes_are_cut_changes_no_byte(
        bytes in prop::collection::vec(any::<u8>(), 0..400_000),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let whole = {
            let mut builder = Builder::new(Algorithm::Sha256, ContentType::OCI_LAYER).unwrap();
            builder.inline(&bytes).unwrap();
            builder.finish().unwrap().into_bytes().unwrap()
        };
        let mut builder = Builder::new(Algorithm::Sha256, ContentType::OCI_LAYER).unwrap();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut at = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            builder.inline(&bytes[at..cut]).unwrap();
            at = cut;
        }
        prop_assert!(whole == builder.finish().unwrap().into_bytes().unwrap());
    }
}

#[test]
fn content_types_are_the_documented_numbers() {
    for (content_type, number, text) in [
        (ContentType::OCI_LAYER, 0x7265_7961_6c69_636f, "ocilayer"),
        (ContentType::OCI_CONFIG, 0x6766_6e6f_6369_636f, "ociconfg"),
        (ContentType::OCI_MANIFEST, 0x6669_6e61_6d69_636f, "ocimanif"),
        (ContentType::OCI_BLOB, 0x626f_6c62_5f69_636f, "oci_blob"),
        (ContentType::OCI_INDEX, 0x0078_646e_6969_636f, "ociindx"),
        (ContentType::NONE, 0, "0x0"),
        (ContentType::from_number(0x1122), 0x1122, "0x1122"),
    ] {
        assert_eq!(content_type.number(), number);
        assert_eq!(content_type.to_string(), text);
    }
}

#[test]
fn both_headers_say_the_same() {
    let info = Extent { start: 32, end: 112 };
    let mut current = Vec::new();
    Header::encode(Algorithm::Sha512, info, &mut current);
    assert_eq!(current.len(), HEADER_SIZE);
    let old = [&current[16..32], &[0, 0], &current[..12], &current[14..16]].concat();
    assert_eq!(
        Header::decode(&current, Algorithm::Sha512).unwrap(),
        Header::Sections { layout: Layout::Current, info }
    );
    assert_eq!(
        Header::decode(&old, Algorithm::Sha512).unwrap(),
        Header::Sections { layout: Layout::Old, info }
    );
    assert!(matches!(
        Header::decode(&old, Algorithm::Sha256),
        Err(SplitstreamError::Algorithm { expected: Algorithm::Sha256, found: 2 })
    ));
}

#[test]
fn long_inline_runs_are_several_chunks() {
    let mut builder = Builder::new(Algorithm::Sha256, ContentType::OCI_LAYER).unwrap();
    let piece = contents(1, 1 << 20);
    for _ in 0..20 {
        builder.inline(&piece).unwrap();
        assert!(builder.stage_len() <= MAX_INLINE_RUN + (256 << 10));
    }
    let file = builder.finish().unwrap().into_bytes().unwrap();
    let parsed =
        SplitStream::parse(&file[..], file.len() as u64, Algorithm::Sha256, &Limits::default()).unwrap();
    let mut out = Vec::new();
    replay(&parsed, &mut |_| Ok::<&[u8], Infallible>(&[]), &mut out).unwrap();
    assert!(out == piece.repeat(20));
    assert_eq!(Outline::of(&parsed).unwrap().parts, 1);
}

#[test]
fn builders_refuse_what_readers_would() {
    let id = object_id_of(Algorithm::Sha256, b"");
    let other = object_id_of(Algorithm::Sha512, b"");
    let mut builder = Builder::new(Algorithm::Sha256, ContentType::OCI_CONFIG).unwrap();
    let named =
        |fault| move |error| matches!(error, SplitstreamError::Name { fault: found, .. } if found == fault);
    assert!(builder.named_ref("a\0b", &id).is_err_and(named(NamedRefFault::Nul)));
    assert!(builder.named_ref(&"x".repeat(4097), &id).is_err_and(named(NamedRefFault::TooLong)));
    assert!(builder.named_ref(&"x".repeat(4096), &id).is_ok());
    assert!(matches!(builder.external(&other, 0), Err(SplitstreamError::ForeignId { .. })));
    assert!(matches!(builder.named_ref("x", &other), Err(SplitstreamError::ForeignId { .. })));
}

#[test]
fn tables_keep_first_mentions() {
    let mut table = id_list::IdTable::new(Algorithm::Sha256);
    let id = |n: u32| {
        // Equal beginnings: what a table hashing the first bytes would trip over.
        let mut digest = [0; 32];
        digest[28..].copy_from_slice(&n.to_be_bytes());
        ObjectId::from_bytes(Algorithm::Sha256, &digest).unwrap()
    };
    for n in 0..5000 {
        assert_eq!(table.insert(&id(n)), n);
        assert_eq!(table.insert(&id(n / 2)), n / 2);
    }
    assert_eq!(table.list().len(), 5000);
    assert_eq!(table.list().get(4999), Some(id(4999)));
    assert_eq!(table.list().get(5000), None);
    assert!(table.list().iter().eq((0..5000).map(id)));
}
