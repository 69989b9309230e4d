//! Finding a file in a tree by a path that may lead through symlinks, never out of the tree.

use super::BootError;
use crate::filetree::{FileTree, InodeId, InodeKind, TreeError};

const SYMLINKS_MAX: usize = 40;

/// The longest symlink target or path that is walked.
const PATH_MAX: usize = 4096;

/// A file and the components of its real path.
pub(super) struct Found<'t> {
    pub(super) inode: InodeId,
    pub(super) path: Vec<&'t [u8]>,
}

fn show(path: &[u8]) -> String {
    format!("/{}", path.escape_ascii())
}

/// Finds the file at `path`, which starts at the root; `None` if there is none.
pub(super) fn resolve<'t>(tree: &'t FileTree, path: &[u8]) -> Result<Option<Found<'t>>, BootError> {
    let mut pending: Vec<Vec<u8>> = Vec::new();
    let push = |pending: &mut Vec<Vec<u8>>, path: &[u8]| {
        if path.len() > PATH_MAX {
            return Err(BootError::Loop { path: show(path) });
        }
        pending.extend(path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        Ok(())
    };
    push(&mut pending, path)?;
    let mut at: Vec<(&'t [u8], InodeId)> = Vec::new();
    let mut symlinks = 0_usize;
    while let Some(component) = pending.pop() {
        let directory = at.last().map_or(InodeId::ROOT, |(_, inode)| *inode);
        match component.as_slice() {
            b"" | b"." => continue,
            b".." => {
                at.pop();
                continue;
            }
            _ => {}
        }
        let Some(entries) = tree.entries(directory) else {
            return Err(BootError::NotAFile { path: show(path) });
        };
        let Some((name, inode)) = entries.get_key_value(component.as_slice()) else { return Ok(None) };
        if let InodeKind::Symlink(target) = &tree.inode(*inode).kind {
            symlinks = symlinks.saturating_add(1);
            if symlinks > SYMLINKS_MAX {
                return Err(BootError::Loop { path: show(path) });
            }
            if target.first() == Some(&b'/') {
                at.clear();
            }
            push(&mut pending, target)?;
            continue;
        }
        at.push((name.as_bytes(), *inode));
    }
    let inode = at.last().map_or(InodeId::ROOT, |(_, inode)| *inode);
    Ok(Some(Found { inode, path: at.into_iter().map(|(name, _)| name).collect() }))
}

/// Tells what a failed lookup of a directory is called; for [`BootError::Tree`].
pub(super) fn tree_error(error: TreeError) -> BootError {
    BootError::Tree(error)
}
