//! Walks through a tree: depth first and breadth first, with paths, and the number of names and links each inode has.

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

/// Paths and what has them; from [`FileTree::paths`].
#[derive(Debug)]
pub struct Paths<'a> {
    tree: &'a FileTree,
    /// The next one last.
    pending: Vec<(Vec<u8>, InodeId)>,
}

impl Iterator for Paths<'_> {
    type Item = (Vec<u8>, InodeId);

    fn next(&mut self) -> Option<Self::Item> {
        let (path, inode) = self.pending.pop()?;
        let entries = self.tree.entries(inode).into_iter().flatten().rev();
        self.pending.extend(entries.map(|(name, child)| (join(&path, name), *child)));
        Some((path, inode))
    }
}

/// Returns the path of a name in a directory. The root is `/` or nothing.
#[must_use]
pub fn join(directory: &[u8], name: &Name) -> Vec<u8> {
    let mut path =
        Vec::with_capacity(directory.len().saturating_add(1).saturating_add(name.as_bytes().len()));
    path.extend_from_slice(directory);
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    path
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

    /// Returns an inode's link count as a file system tells it: a directory's subdirectories and two, else its names,
    /// which `counts` of [`FileTree::name_counts`] has.
    #[must_use]
    pub fn link_count(&self, inode: InodeId, counts: &[u32]) -> u32 {
        match self.entries(inode) {
            Some(entries) => {
                let directories = entries.values().filter(|id| self.inode(**id).kind.is_directory()).count();
                u32::try_from(directories).unwrap_or(u32::MAX).saturating_add(2)
            }
            None => counts.get(inode.index()).copied().unwrap_or(1),
        }
    }

    /// Walks depth first through an inode, which has this path, and all below it, names in byte order.
    #[must_use]
    pub fn paths(&self, path: &[u8], inode: InodeId) -> Paths<'_> {
        Paths { tree: self, pending: vec![(path.to_vec(), inode)] }
    }
}
