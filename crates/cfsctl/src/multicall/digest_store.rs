//! An object store beside an image, as the C builder fills it: `XX/REST`, whole files only.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use composefs::{
    digest::{ObjectId, VerityHasher},
    filetree::{FileTree, InodeKind},
};

/// Copies the contents of a scanned tree's large files into `store`; what is there already stays.
pub(super) fn fill(tree: &FileTree, source: &Path, store: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(store).with_context(|| format!("make {}", store.display()))?;
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
            copy(&path, store, id)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, store: &Path, id: &ObjectId) -> anyhow::Result<()> {
    let to = store.join(id.object_path());
    if to.try_exists().with_context(|| format!("look for {}", to.display()))? {
        return Ok(());
    }
    let directory = store.join(id.object_directory());
    std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let mut input = File::open(from).with_context(|| format!("open {}", from.display()))?;
    let context = || format!("write {}", to.display());
    let mut output = tempfile::NamedTempFile::new_in(&directory).with_context(context)?;
    let mut hasher = VerityHasher::new(id.algorithm());
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let got = input.read(&mut buffer).with_context(|| format!("read {}", from.display()))?;
        if got == 0 {
            break;
        }
        let bytes = buffer.get(..got).unwrap_or_default();
        hasher.update(bytes);
        output.write_all(bytes).with_context(context)?;
    }
    if hasher.finish() != *id {
        bail!("{} changed while it was read", from.display());
    }
    output.as_file().set_permissions(super::mkcomposefs::mode_0644()).with_context(context)?;
    match output.persist_noclobber(&to) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error).with_context(context),
    }
}
