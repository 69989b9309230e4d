use proptest::prelude::*;

use super::*;

fn contents(generator: &str, size: usize) -> Vec<u8> {
    match generator {
        "zero" => vec![0; size],
        "ff" => vec![0xff; size],
        "mod251" => (0..size).map(|i| (i % 251) as u8).collect(),
        "hello" => b"hello world"[..size].to_vec(),
        other => panic!("unknown generator {other}"),
    }
}

#[test]
fn every_vector_agrees() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/fsverity/vectors.tsv");
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = 0;
    for line in text.lines().skip(1) {
        let [name, size, generator, spec, root, digest] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let (hash, lg) = spec.strip_prefix("fsverity-").unwrap().split_once('-').unwrap();
        let data = contents(generator, size.parse().unwrap());
        let mut hasher = VerityHasher::with_block_size(hash.parse().unwrap(), lg.parse().unwrap());
        for piece in data.chunks(100_003) {
            hasher.update(piece);
        }
        let mut hex = String::new();
        crate::digest::object_id::push_hex(&mut hex, &hasher.clone().finish_root());
        assert_eq!(hex, root, "{name} {spec}: root");
        assert_eq!(hasher.finish().to_hex(), digest, "{name} {spec}: digest");
        rows += 1;
    }
    assert_eq!(rows, 80);
}

/// The definition, level by level, with nothing streamed.
fn by_definition(algorithm: Algorithm, data: &[u8]) -> Vec<u8> {
    let digest = |block: &[u8]| {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(block);
        pad(&mut hasher, 4096 - block.len());
        let mut out = Vec::new();
        hasher.finish_into(&mut out);
        out
    };
    let mut level: Vec<u8> = data.chunks(4096).flat_map(digest).collect();
    while level.len() > algorithm.digest_size() {
        level = level.chunks(4096).flat_map(digest).collect();
    }
    if level.is_empty() { vec![0; algorithm.digest_size()] } else { level }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_split_gives_the_definition(size in 0_usize..700_000, cuts in prop::collection::vec(1_usize..70_000, 1..20), sha512: bool) {
        let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let data = contents("mod251", size);
        let mut hasher = VerityHasher::new(algorithm);
        let (mut rest, mut next) = (&data[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*next.next().unwrap()));
            hasher.update(now);
            rest = later;
        }
        prop_assert_eq!(hasher.finish_root(), by_definition(algorithm, &data));
    }

    /// Beside a tar's digest, which goes on between and after, in pieces; and many files at once.
    #[test]
    fn beside_a_tar_and_together(sizes in prop::collection::vec(prop_oneof![8 => 0_usize..9000, 4 => 0_usize..60_000, 1 => Just(4096), 1 => Just(8192), 1 => Just(524_289)], 1..10), cut in 1_usize..60_000, lead in 0_usize..130, sha512: bool) {
        let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let data: Vec<u8> = (0..600_000).map(|i| (i * 13 + i / 256) as u8).collect();
        let files: Vec<&[u8]> = sizes.iter().enumerate().map(|(n, size)| &data[n..n + size]).collect();
        let (mut tar, mut whole) = (Sha256::new(), vec![3; lead]);
        tar.update(&whole);
        let mut ids = Vec::new();
        for file in files.iter().copied() {
            let mut hasher = VerityHasher::new(algorithm);
            for piece in file.chunks(cut) {
                hasher.update_with(&mut tar, piece);
            }
            let padding = vec![0; file.len().next_multiple_of(512) - file.len()];
            tar.update(&padding);
            whole.extend_from_slice(file);
            whole.extend_from_slice(&padding);
            let mut plain = Hasher::new(algorithm);
            plain.update(&descriptor(algorithm, 12, file.len() as u64, &by_definition(algorithm, file)));
            let expected = plain.finish();
            prop_assert_eq!(hasher.finish(), expected);
            prop_assert_eq!(object_id_of(algorithm, file), expected);
            ids.push(expected);
        }
        prop_assert_eq!(tar.finish(), Sha256::digest(&whole));
        prop_assert_eq!(object_ids_of(algorithm, &files), ids);
    }
}

#[test]
fn texts_of_ids() {
    let id = object_id_of(Algorithm::Sha256, b"hello world");
    let hex = "1e2eaa4202d750a41174ee454970b92c1bc2f925b1e35076d8c7d5f56362ba64";
    assert_eq!(id.to_string(), hex);
    assert_eq!(id.prefixed(), format!("sha256:{hex}"));
    assert_eq!(id.object_path(), format!("1e/{}", &hex[2..]));
    assert_eq!(format!("{}/{}", id.object_directory(), id.object_file_name()), id.object_path());
    for path in
        [format!("1e/{}", &hex[2..]), format!("/1E/{}", &hex[2..]), format!("objects/1e/{}", &hex[2..])]
    {
        assert_eq!(ObjectId::from_object_path(Algorithm::Sha256, path), Ok(id));
    }
    for path in
        [format!("x1e/{}", &hex[2..]), format!("1e{}", &hex[2..]), format!("1e/{}", &hex[3..]), String::new()]
    {
        assert!(ObjectId::from_object_path(Algorithm::Sha256, &path).is_err(), "{path}");
    }
    assert_eq!(ObjectId::from_any_hex(hex.to_uppercase()), Ok(id));
    assert!(ObjectId::from_any_hex(&hex[1..]).is_err());
    assert!(ObjectId::from_hex(Algorithm::Sha256, hex.replace('a', "g")).is_err());
}

#[test]
fn texts_of_algorithms() {
    use crate::digest::{AlgorithmError, VerityAlgorithm};
    assert_eq!("fsverity-sha512-12".parse(), Ok(VerityAlgorithm(Algorithm::Sha512)));
    assert_eq!(VerityAlgorithm(Algorithm::Sha256).to_string(), "fsverity-sha256-12");
    let parse = |text: &str| text.parse::<VerityAlgorithm>().unwrap_err();
    assert!(matches!(parse("sha256-12"), AlgorithmError::NoPrefix(_)));
    assert!(matches!(parse("fsverity-sha256"), AlgorithmError::NoSeparator(_)));
    assert!(matches!(parse("fsverity-md5-12"), AlgorithmError::UnknownHash(_)));
    assert!(matches!(parse("fsverity-sha256-"), AlgorithmError::BlockSizeNotANumber(_)));
    assert!(matches!(parse("fsverity-sha256-+12"), AlgorithmError::BlockSizeNotANumber(_)));
    assert!(matches!(parse("fsverity-sha256-16"), AlgorithmError::BlockSizeUnsupported(_)));
}
