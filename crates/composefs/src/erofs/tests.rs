//! Images against the ids and bytes other programs give, and what is refused.

mod golden;
mod refusals;
mod vectors;

use crate::filetree::{FileTree, Inode, InodeId, InodeKind, Name, Stat};

fn stat(mode: u16) -> Stat {
    Stat { mode, ..Stat::default() }
}

fn name(text: &[u8]) -> Name {
    Name::new(text).unwrap()
}

/// Adds an inode to the root directory.
fn add(tree: &mut FileTree, at: &[u8], kind: InodeKind) -> InodeId {
    tree.insert(InodeId::ROOT, name(at), Inode { stat: stat(0o644), kind }).unwrap()
}
