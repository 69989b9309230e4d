//! A tree to its canonical dumpfile.
//!
//! # Format
//! `docs/formats/dumpfile.md`, section 2.

use std::{borrow::Cow, collections::HashMap, io};

use crate::filetree::{FileTree, InodeId};

use super::{HardlinkLine, Line};

/// Output is handed on in pieces of about this many bytes.
const BUFFER: usize = 64 * 1024;

/// Prints a tree in canonical form, depth first.
///
/// Memory holds a small buffer and the first path of each inode with several names.
///
/// # Errors
/// Those of `out`.
pub fn write(tree: &FileTree, out: &mut dyn io::Write) -> io::Result<()> {
    let counts = tree.name_counts();
    let mut first_paths: HashMap<InodeId, Box<[u8]>> = HashMap::new();
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut path: Vec<u8> = Vec::new();
    // Where the parent's path ends, for each depth.
    let mut ends: Vec<usize> = Vec::new();
    for step in tree.depth_first() {
        match step.name {
            None => path.push(b'/'),
            Some(name) => {
                ends.truncate(step.depth);
                path.truncate(ends.last().copied().unwrap_or(0));
                path.push(b'/');
                path.extend_from_slice(name.as_bytes());
            }
        }
        let inode = tree.inode(step.inode);
        if inode.kind.is_directory() {
            // The root's own path is empty in front of its children.
            ends.push(if step.name.is_none() { 0 } else { path.len() });
        }
        let nlink = tree.link_count(step.inode, &counts);
        let first = if nlink > 1 && !inode.kind.is_directory() { first_paths.get(&step.inode) } else { None };
        if let Some(first) = first {
            HardlinkLine { path: Cow::Borrowed(&path), target: Cow::Borrowed(first) }.append_to(&mut buffer);
        } else {
            Line::new(path.as_slice(), inode, nlink).append_to(&mut buffer);
            if nlink > 1 && !inode.kind.is_directory() {
                first_paths.insert(step.inode, path.as_slice().into());
            }
        }
        buffer.push(b'\n');
        if buffer.len() >= BUFFER {
            out.write_all(&buffer)?;
            buffer.clear();
        }
    }
    out.write_all(&buffer)
}
