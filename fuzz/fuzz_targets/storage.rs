//! Podman's store: records of images and layers, and tars put together from tar-split. No input panics, and a tar
//! that comes out whole is as long as its parts say.
//!
//! The input is lines of tar-split; the first byte says how files fail.
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::io::{Cursor, Read};

use composefs_oci::transport::containers_storage::{
    StorageError,
    store::{parse_images, parse_layers},
    tar_split::{Files, Parts, Reassembler, length},
};

/// The largest file that is made up.
const FILE_MAX: u64 = 1 << 16;

struct MadeUp(u8);

impl Files for MadeUp {
    fn open(&self, name: &[u8], size: u64, _: u64) -> Result<Box<dyn Read + Send>, StorageError> {
        if size > FILE_MAX || name.len() % 7 == usize::from(self.0 % 7) {
            return Err(StorageError::BadPath(String::from_utf8_lossy(name).into_owned()));
        }
        // Sometimes too short.
        let have = if self.0 & 0x80 == 0 { size } else { size / 2 };
        Ok(Box::new(Cursor::new(vec![self.0; usize::try_from(have).unwrap()])))
    }
}

/// Runs one input.
pub fn run(data: &[u8]) {
    if let Ok(images) = parse_images(data) {
        for image in images {
            let _ = (image.names().len(), image.documents().len(), image.manifest_digest());
        }
    }
    let _ = parse_layers(data);
    let (how, lines) = data.split_first().map_or((0, data), |(how, lines)| (*how, lines));
    let expected = length(Parts::new(lines));
    let mut tar = Vec::new();
    let mut reader = Reassembler::new(Parts::new(lines), MadeUp(how));
    match reader.read_to_end(&mut tar) {
        Ok(_) => assert_eq!(expected.unwrap(), tar.len() as u64),
        Err(_) => assert!(reader.read(&mut [0; 8]).is_err(), "nothing comes after a fault"),
    }
}
