//! The two examples worked out in `docs/formats/erofs.md`, section 7.

use crate::digest::{Algorithm, ObjectId};
use crate::erofs::{self, FormatVersion, WriteOptions};
use crate::filetree::{FileTree, InodeKind, Regular};

use super::{add, stat};

#[track_caller]
fn assert_at(image: &[u8], at: usize, hex: &str) {
    let digits: String = hex.split_whitespace().collect();
    let found: String = image[at..at + digits.len() / 2].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(found, digits, "at {at:#x}");
}

#[test]
fn ext_basic_in_v2() {
    let id = "2737a24e6e4c59f23ea3be1c5a1ba4ae0cf7d4ba31f4ae2f9f2d34fcfdbe1254";
    let id = ObjectId::from_hex(Algorithm::Sha256, id).unwrap();
    let mut tree = FileTree::new(stat(0o755));
    add(&mut tree, b"big", InodeKind::Regular(Regular::External { id, size: 65 }));
    let image = erofs::to_vec(&tree, FormatVersion::V2, &WriteOptions::default()).unwrap();
    for (at, hex) in [
        (0x0, "9a6278d0 01000000 00000000 02000000"),
        (0x400, "e2e1f5e0 00000000 06000000 0c 00 2400"),
        (0x410, "0200000000000000 0000000000000000"),
        (0x420, "00000000 01000000 00000000 00000000"),
        (0x480, "0500 0000 ed41 0000 2a00000000000000"),
        (0x490, "00000000 24000000 00000000 00000000"),
        (0x4a0, "0000000000000000 00000000 02000000"),
        (0x4c0, "2400000000000000 2400 02 00"),
        (0x4cc, "2400000000000000 2500 02 00"),
        (0x4d8, "2800000000000000 2700 01 00"),
        (0x4e4, "2e 2e2e 626967 000000"),
        (0x500, "0900 2500 a481 0000 4100000000000000"),
        (0x510, "1f000000 28000000 00000000 00000000"),
        (0x520, "0000000000000000 00000000 01000000"),
        (0x540, "fffffd7f 00 00000000000000"),
        (0x54c, "10 04 2400"),
        (0x560, "00 24 00 01 2737a24e"),
        (0x584, "10 04 4200"),
        (0x5dc, "ffffffff 00000000"),
    ] {
        assert_at(&image, at, hex);
    }
    assert_eq!(image.len(), 0x1000);
    assert_eq!(&image[0x550..0x560], b"overlay.metacopy");
    assert_eq!(&image[0x588..0x59b], b"overlay.redirect/27");
}

#[test]
fn root_only_in_v1() {
    let tree = FileTree::new(stat(0o755));
    let image = erofs::to_vec(&tree, FormatVersion::V1, &WriteOptions::default()).unwrap();
    for (at, hex) in [
        (0x0, "9a6278d0 01000000 00000000 01000000"),
        (0x400, "e2e1f5e0 00000000 06000000 0c 00 2400"),
        (0x410, "0101000000000000 0000000000000000"),
        (0x420, "00000000 04000000 00000000 02000000"),
        (0x480, "0000 0600 ed41 0200 00100000 00000000"),
        (0x490, "03000000 00000000 0000 0000 00000000"),
        (0x4a0, "ffffefff 00 00000000000000"),
        (0x4ac, "0e 04 0100"),
        (0x4c0, "0000 0000 a421 0100 00000000 00000000"),
        (0x4d0, "00000000 01000000 0000 0000 00000000"),
        (0x3000, "2400000000000000 180c 02 00"),
        (0x300c, "2400000000000000 190c 02 00"),
        (0x3018, "2600000000000000 1b0c 03 00"),
    ] {
        assert_at(&image, at, hex);
    }
    assert_eq!(image.len(), 16384);
    assert_eq!(&image[0x4b0..0x4c0], b"overlay.opaquey\0");
    assert_eq!(&image[0x3c18..0x3c23], b"...00010203");
}
