//! Compressed layers: no input panics, pieces of any size tell the same, the end comes only after the whole input.
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::io::{self, Read};

use composefs_oci::decompress::Decompressor;

/// Bytes that are inflated at most: a bomb must cost no more memory than it is given.
const MOST: u64 = 1 << 20;

/// Hands out few bytes at a time, and counts.
struct Drip<'a> {
    rest: &'a [u8],
    most: usize,
}

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.most);
        self.rest.read(&mut buffer[..most])
    }
}

/// The bytes, whether all came, and whether the input was read to its end.
fn unpack(data: &[u8], most: usize) -> (Vec<u8>, bool, bool) {
    let mut drip = Drip { rest: data, most };
    let mut bytes = Vec::new();
    let ended = match Decompressor::new(&mut drip) {
        Ok(decompressor) => decompressor.take(MOST).read_to_end(&mut bytes).is_ok(),
        Err(_) => false,
    };
    (bytes, ended, drip.rest.is_empty())
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let (bytes, ended, read) = unpack(data, usize::MAX);
    if ended && (bytes.len() as u64) < MOST {
        assert!(read, "an end before the end");
    }
    for most in [1, 7] {
        let (dripped, dripped_ended, _) = unpack(data, most);
        assert_eq!(ended, dripped_ended);
        // What precedes an error may be told in part; it is thrown away.
        let both = bytes.len().min(dripped.len());
        assert!(bytes[..both] == dripped[..both]);
        assert!(!ended || bytes == dripped);
    }
}
