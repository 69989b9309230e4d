//! An object store beside an image, as the C builder fills it: `XX/REST`, whole files only.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use composefs::{
    digest::{ObjectId, VerityHasher},
    disk::folder::Folder,
    filetree::{FileTree, InodeKind},
};

/// Copies the contents of a scanned tree's large files into `store`; what is there already stays.
pub(super) fn fill(tree: &FileTree, source: &Path, store: &Path) -> anyhow::Result<()> {
    let store = Folder::make(store)?;
    let mut path = PathBuf::from(source);
    let mut depth = 0;
    for step in tree.depth_first() {
        let Some(name) = step.name else { continue };
        while depth >= step.depth {
            path.pop();
            depth -= 1;
        }
        path.push(std::os::unix::ffi::OsStrExt::from_bytes(name.as_bytes()) as &std::ffi::OsStr);
        depth = step.depth;
        if let InodeKind::Regular(file) = &tree.inode(step.inode).kind
            && let Some(id) = file.object()
        {
            copy(&path, &store, id)?;
        }
    }
    Ok(())
}

/// Puts a file's contents under their id. No symlink within the store is followed.
fn copy(from: &Path, store: &Folder, id: &ObjectId) -> anyhow::Result<()> {
    let directory = store.folder(&id.object_directory())?;
    let name = id.object_file_name();
    if directory.size(&name)?.is_some() {
        return Ok(());
    }
    let mut input = File::open(from).with_context(|| format!("open {}", from.display()))?;
    let context = || format!("write {}", directory.path().join(&name).display());
    let output = directory.stage()?;
    let mut hasher = VerityHasher::new(id.algorithm());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let got = input.read(&mut buffer).with_context(|| format!("read {}", from.display()))?;
        if got == 0 {
            break;
        }
        let bytes = buffer.get(..got).unwrap_or_default();
        hasher.update(bytes);
        output.file().write_all(bytes).with_context(context)?;
    }
    if hasher.finish() != *id {
        bail!("{} changed while it was read", from.display());
    }
    output.file().set_permissions(super::mkcomposefs::mode_0644()).with_context(context)?;
    Ok(output.publish(&name)?)
}
