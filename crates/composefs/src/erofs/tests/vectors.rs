//! Every row of `ids.tsv`, and the images.
#![allow(clippy::disallowed_methods)]

use std::{fs, io::Read, path::PathBuf};

use crate::digest::{Algorithm, ObjectId};
use crate::dumpfile::{self, Parsed};
use crate::erofs::{self, FormatVersion, Refusal, WriteError, WriteOptions};

fn vectors() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/erofs").into()
}

fn load(name: &str, algorithm: Algorithm) -> Parsed {
    let plain = vectors().join(format!("{name}.dump"));
    let bytes = if plain.exists() {
        fs::read(plain).unwrap()
    } else {
        let packed = fs::File::open(vectors().join(format!("{name}.dump.gz"))).unwrap();
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
        bytes
    };
    dumpfile::parse(&bytes, algorithm).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Computes the id without and with the names that the dumpfile calls the original ones.
fn ids(name: &str, version: FormatVersion, algorithm: Algorithm) -> [ObjectId; 2] {
    let Parsed { tree, primary_names } = load(name, algorithm);
    let compute = |options| erofs::compute_id(&tree, version, algorithm, options).unwrap();
    [compute(&WriteOptions::default()), compute(&WriteOptions::default().primary_names(primary_names))]
}

#[test]
fn ids_are_those_of_other_programs() {
    let rows = fs::read_to_string(vectors().join("ids.tsv")).unwrap();
    let (mut checked, mut wrong) = (0, Vec::new());
    for row in rows.lines().skip(1) {
        let [name, version, sha256, sha512, tools, status, ..] = row.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{row}")
        };
        let version = FormatVersion::from_number(version.parse().unwrap()).unwrap();
        for (algorithm, hex) in [(Algorithm::Sha256, sha256), (Algorithm::Sha512, sha512)] {
            if hex == "-" {
                continue;
            }
            let expected = ObjectId::from_hex(algorithm, hex).unwrap();
            let [plain, primary] = ids(name, version, algorithm);
            checked += 1;
            let right = match status {
                "agree" | "single" | "expected" => plain == expected && primary == expected,
                "other" => plain != expected && primary != expected,
                "either" if tools.contains("C-") => primary == expected && plain != expected,
                "either" => plain == expected && primary != expected,
                _ => panic!("{row}"),
            };
            if !right {
                wrong.push(format!("{name} V{version} {algorithm} {status}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 300, "{checked}");
}

#[test]
fn images_are_those_of_other_programs() {
    let mut checked = 0;
    for entry in fs::read_dir(vectors().join("images")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let (name, version) = file.strip_suffix(".img.xz").unwrap().rsplit_once(".v").unwrap();
        let version = FormatVersion::from_number(version.parse().unwrap()).unwrap();
        let mut expected = Vec::new();
        let packed = fs::File::open(&path).unwrap();
        lzma_rust2::XzReader::new(packed, false).read_to_end(&mut expected).unwrap();
        let tree = load(name, Algorithm::Sha256).tree;
        let image = erofs::to_vec(&tree, version, &WriteOptions::default()).unwrap();
        let differ = image.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!((differ, image.len()), (None, expected.len()), "{file}");
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn files_of_more_than_1024_chunks_need_v2() {
    let Parsed { tree, .. } = load("should-fail/file-too-big", Algorithm::Sha256);
    let write = |version| erofs::to_vec(&tree, version, &WriteOptions::default());
    for version in [FormatVersion::V0, FormatVersion::V1] {
        let error = write(version).unwrap_err();
        assert!(matches!(&error, WriteError::Refused { reason: Refusal::FileTooBig(_), .. }), "{error:?}");
    }
    write(FormatVersion::V2).unwrap();
}
