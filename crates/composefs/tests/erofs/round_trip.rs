//! Random trees, in every version: written, read, written again.

use composefs::{
    digest::Algorithm,
    erofs::{FormatVersion, Image, ReadError, ReadLimits},
    filetree::{FileTree, InodeKind},
};
use proptest::prelude::*;

use crate::{
    dump, read,
    strategies::{expected, fit, tree},
    write,
};

/// Looks every name up in the image, and one that is not there beside it.
fn look_up(image: &Image<'_>, tree: &FileTree) {
    let mut path: Vec<&[u8]> = Vec::new();
    for step in tree.depth_first() {
        path.truncate(step.depth.saturating_sub(1));
        path.extend(step.name.map(|name| name.as_bytes()));
        let found = image.lookup(&path).unwrap();
        let inode = tree.inode(step.inode);
        assert_eq!(found.mode() & 0o7777, inode.stat.mode);
        assert_eq!(found.is_directory(), inode.kind.is_directory());
        if let InodeKind::Symlink(target) = &inode.kind {
            assert_eq!(found.symlink_target(), Ok(&**target));
        }
        let below = [&*path, &[b"no such name"]].concat();
        match image.lookup(&below) {
            Err(ReadError::NotFound(_)) => assert!(found.is_directory()),
            Err(ReadError::NotADirectory(at)) => assert_eq!(at, path.join(&b'/')),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn trees_survive(tree in tree()) {
        for version in FormatVersion::ALL {
            let tree = fit(&tree, version);
            let image = match write(&tree, version) {
                Ok(image) => image,
                Err(error) => return Err(TestCaseError::fail(format!("V{version}: {error}"))),
            };
            let again = read(&image, Algorithm::Sha256);
            prop_assert_eq!(dump(&expected(&tree, version)), dump(&again), "V{}", version);
            prop_assert!(write(&again, version).unwrap() == image, "V{version}: another image when written again");
            look_up(&Image::open(&image, &ReadLimits::default()).unwrap(), &again);
        }
    }
}
