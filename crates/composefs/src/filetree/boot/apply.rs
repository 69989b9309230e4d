//! Giving every inode its label.

use std::collections::HashMap;

use super::{BootError, SELINUX_XATTR, matcher::Labels, resolve::tree_error, spec, subs::WalkPath};
use crate::filetree::{FileTree, Inode, InodeId, Name};

/// A name of an inode that has several, and what it is labelled by that name.
struct Linked {
    directory: InodeId,
    name: Name,
    inode: InodeId,
    label: Option<u32>,
}

/// Removes all labels, and sets those of the policy.
pub(super) fn apply(tree: &mut FileTree, labels: Option<Labels>) -> Result<(), BootError> {
    for inode in &mut tree.inodes {
        inode.stat.xattrs.remove(SELINUX_XATTR);
    }
    let Some(mut labels) = labels else { return Ok(()) };
    let counts = tree.name_counts();
    let mut found: Vec<(InodeId, u32)> = Vec::new();
    let mut linked: Vec<Linked> = Vec::new();
    let mut walk = WalkPath::new();
    for step in tree.depth_first() {
        let path = match step.name {
            Some(name) => walk.enter(step.depth, name.as_bytes(), &labels.substitutions),
            None => b"/",
        };
        let label = labels.matcher.find(path, spec::letter(&tree.inode(step.inode).kind));
        match step.name {
            Some(name) if counts.get(step.inode.index()).is_some_and(|count| *count > 1) => {
                linked.push(Linked { directory: step.parent, name: name.clone(), inode: step.inode, label });
            }
            _ => found.extend(label.map(|label| (step.inode, label))),
        }
    }
    let set = |tree: &mut FileTree, inode: InodeId, label: Option<u32>| {
        if let Some(text) = label.and_then(|label| labels.matcher.label(label)) {
            tree.inode_mut(inode).stat.xattrs.set(SELINUX_XATTR, text);
        }
    };
    for (inode, label) in found {
        set(tree, inode, Some(label));
    }
    // The first name decides; a name with another label becomes a file of its own.
    let mut first: HashMap<InodeId, (Option<u32>, Inode)> = HashMap::new();
    for link in linked {
        match first.get(&link.inode) {
            None => {
                first.insert(link.inode, (link.label, tree.inode(link.inode).clone()));
                set(tree, link.inode, link.label);
            }
            Some((label, _)) if *label == link.label => {}
            Some((_, inode)) => {
                let copy = tree.insert(link.directory, link.name, inode.clone()).map_err(tree_error)?;
                set(tree, copy, link.label);
            }
        }
    }
    Ok(())
}
