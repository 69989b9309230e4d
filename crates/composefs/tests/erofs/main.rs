//! Writing and reading images against each other, against the vectors, and against damage.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod damage;
mod hostile;
mod round_trip;
mod strategies;
mod vectors;
#[allow(missing_docs, unreachable_pub)]
#[path = "../../../../fuzz/fuzz_targets/erofs.rs"]
mod fuzz_target;

use composefs::{
    digest::Algorithm,
    dumpfile,
    erofs::{self, FormatVersion, Image, ReadLimits, WriteError, WriteOptions},
    filetree::FileTree,
};

/// Writes a tree into memory.
fn write(tree: &FileTree, version: FormatVersion) -> Result<Vec<u8>, WriteError> {
    erofs::to_vec(tree, version, &WriteOptions::default())
}

/// Reads a whole image, which must be sound to every reader.
#[track_caller]
fn read(bytes: &[u8], algorithm: Algorithm) -> FileTree {
    let image = Image::open(bytes, &ReadLimits::default()).unwrap();
    let tree = erofs::to_tree(&image, algorithm)
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
    assert_eq!(erofs::check(&image, algorithm), Ok(()));
    let mut ids: Vec<_> = (tree.depth_first())
        .filter_map(|step| match &tree.inode(step.inode).kind {
            composefs::filetree::InodeKind::Regular(regular) => regular.object().copied(),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(erofs::object_ids(&image, algorithm), Ok(ids));
    tree
}

/// Prints a tree as the canonical dumpfile.
fn dump(tree: &FileTree) -> String {
    let mut text = Vec::new();
    dumpfile::write(tree, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}
