//! Walks through a tree: depth first and breadth first, and the number of names each inode has.

use super::{FileTree, InodeId, Name};

/// One step of a walk.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The directory the name is in; the root's is the root.
    pub parent: InodeId,
    /// The name; `None` for the root.
    pub name: Option<&'a Name>,
    /// The inode that has the name.
    pub inode: InodeId,
    /// 0 for the root, 1 for what it names.
    pub depth: usize,
}

/// Walks depth first: a directory, then its entries in byte order, each with everything below it. Every name is a step.
#[derive(Debug)]
pub struct DepthFirst<'a> {
    tree: &'a FileTree,
    root: bool,
    stack: Vec<(InodeId, std::collections::btree_map::Iter<'a, Name, InodeId>)>,
}

impl<'a> Iterator for DepthFirst<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        if !self.root {
            self.root = true;
            self.stack
                .extend(self.tree.entries(InodeId::ROOT).map(|entries| (InodeId::ROOT, entries.iter())));
            return Some(Step { parent: InodeId::ROOT, name: None, inode: InodeId::ROOT, depth: 0 });
        }
        loop {
            let depth = self.stack.len();
            let (parent, entries) = self.stack.last_mut()?;
            let parent = *parent;
            match entries.next() {
                None => {
                    self.stack.pop();
                }
                Some((name, &inode)) => {
                    if let Some(entries) = self.tree.entries(inode) {
                        self.stack.push((inode, entries.iter()));
                    }
                    return Some(Step { parent, name: Some(name), inode, depth });
                }
            }
        }
    }
}

impl FileTree {
    /// Walks all names depth first, the root first.
    #[must_use]
    pub const fn depth_first(&self) -> DepthFirst<'_> {
        DepthFirst { tree: self, root: false, stack: Vec::new() }
    }

    /// Counts the names of every inode, by its position in the table; the root has one.
    #[must_use]
    pub fn name_counts(&self) -> Vec<u32> {
        let mut counts = vec![0_u32; self.table_len()];
        for step in self.depth_first() {
            if let Some(count) = counts.get_mut(step.inode.index()) {
                *count = count.saturating_add(1);
            }
        }
        counts
    }
}
