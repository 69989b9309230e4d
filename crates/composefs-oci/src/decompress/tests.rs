use std::io::Write as _;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::stream::encode_all(bytes, 1).unwrap()
}

/// Hands out a byte at a time: no decoder may count on more.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let one = buffer.len().min(1);
        self.0.read(&mut buffer[..one])
    }
}

fn unpack(blob: &[u8]) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    let result = Decompressor::new(blob)?.read_to_end(&mut whole);
    let mut dripped = Vec::new();
    let slow = Decompressor::new(Drip(blob)).and_then(|mut blob| blob.read_to_end(&mut dripped));
    assert_eq!(result.is_ok(), slow.is_ok());
    result?;
    assert!(whole == dripped);
    Ok(whole)
}

#[test]
fn every_form_that_stores_keep() {
    let text = b"hello hello hello".repeat(100);
    let twice = [&text[..], &text[..]].concat();
    let skippable = [&[0x53, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4][..]].concat();
    for (blob, expected) in [
        (text.clone(), &text),
        (gzip(&text), &text),
        ([gzip(&text), gzip(&text)].concat(), &twice),
        ([gzip(&text), vec![0; 1000], gzip(&text), vec![0; 7]].concat(), &twice),
        (zstd(&text), &text),
        ([zstd(&text), zstd(&text)].concat(), &twice),
        ([skippable.clone(), zstd(&text), skippable.clone(), zstd(&text), skippable].concat(), &twice),
        ([zstd(&text), vec![0; 3]].concat(), &text),
    ] {
        assert!(&unpack(&blob).unwrap() == expected);
    }
    assert_eq!(unpack(b"").unwrap(), b"");
    assert_eq!(unpack(&gzip(b"")).unwrap(), b"");
}

#[test]
fn cut_and_damaged_blobs_are_refused() {
    let text: Vec<u8> = (0..100_000_u32).flat_map(|i| i.wrapping_mul(i).to_le_bytes()).collect();
    for blob in [gzip(&text), zstd(&text)] {
        for cut in [5, 30, blob.len() / 2, blob.len() - 1] {
            assert!(unpack(&blob[..cut]).is_err(), "cut at {cut}");
        }
        assert!(unpack(&[&blob[..], b"garbage"].concat()).is_err());
        assert!(unpack(&[&blob[..], &[0, 0, 0], b"garbage"].concat()).is_err());
    }
    let mut flipped = gzip(&text);
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    assert!(unpack(&flipped).is_err());
}
