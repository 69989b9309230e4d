//! `meta.json`: no input panics, and what a repository would be made with reads back.
#![allow(unreachable_pub)]

use composefs::repo::meta::{Meta, VERSION};

/// Runs one input.
pub fn run(data: &[u8]) {
    let Ok(meta) = Meta::parse(data) else { return };
    assert!(meta.version <= VERSION);
    assert!(!meta.erofs.extra.contains(&meta.erofs.default));
    let written = Meta::new(meta.algorithm, meta.erofs);
    let bytes = written.to_bytes();
    assert_eq!(Meta::parse(&bytes).ok(), Some(written));
}
