//! Layers to a nested tree, by the rules of 0.3.

use std::os::unix::ffi::OsStrExt as _;

use composefs::{
    fsverity::FsVerityHashValue,
    repository::Repository,
    tree::{Directory, FileSystem, Inode, Leaf},
};

use super::{
    config::{diff_ids, open_config},
    tar::{TarEntry, TarItem},
};
use crate::{
    digest::{ConfigDigest, Digest},
    error::Error,
    rootfs::{
        Rules,
        image::{RootfsOptions, tree},
    },
};

/// Adds an entry of a layer to a tree, as 0.3 does: whiteouts act when they are met.
///
/// # Errors
/// [`Error::Repository`] with the path, if its parent is no directory or a hard link leads nowhere.
pub fn process_entry<ObjectID: FsVerityHashValue>(
    file_system: &mut FileSystem<ObjectID>,
    entry: TarEntry<ObjectID>,
) -> Result<(), Error> {
    let TarEntry { path, stat, item } = entry;
    let refuse = |source| composefs::Error::Tree { path: path.clone(), source };
    if path.as_os_str().as_bytes().iter().all(|byte| *byte == b'/') {
        if item != TarItem::Directory {
            return Err(composefs::Error::caller("the root is not a directory").into());
        }
        file_system.set_root_stat(stat);
        return Ok(());
    }
    let inode = match item {
        TarItem::Directory => Inode::Directory(Box::new(Directory::new(stat))),
        TarItem::Leaf(content) => Inode::Leaf(std::rc::Rc::new(Leaf { stat, content })),
        TarItem::Hardlink(target) => Inode::Leaf(file_system.root.ref_leaf(&target).map_err(refuse)?),
    };
    let (directory, name) = file_system.root.split_mut(path.as_os_str()).map_err(refuse)?;
    match name.as_bytes().strip_prefix(b".wh.") {
        // The opaque marker is `.wh..wh..opq`; 0.3 looked for this.
        Some(b".wh.opq") => directory.clear(),
        Some(whiteout) => directory.remove(std::ffi::OsStr::from_bytes(whiteout)),
        None => directory.merge(name, inode),
    }
    Ok(())
}

/// Builds the tree of a config's layers.
///
/// # Errors
/// As [`open_config`]; [`Error::Merge`].
pub fn create_filesystem<ObjectID: FsVerityHashValue>(
    repo: &Repository<ObjectID>,
    config_name: &str,
    config_verity: Option<&ObjectID>,
) -> Result<FileSystem<ObjectID>, Error> {
    let (config, refs) = open_config(repo, config_name, config_verity)?;
    let layers = diff_ids(&config, &refs)?;
    let name = ConfigDigest::new(Digest::sha256(config_name.as_bytes()));
    let tree = tree(&repo.reader(), &name, &layers, &RootfsOptions::default().rules(Rules::V03))?;
    Ok(FileSystem::from_native(&tree)?)
}
