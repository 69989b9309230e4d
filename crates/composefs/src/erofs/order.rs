//! The inodes of an image: which there are, in which order, how many links they have.
//!
//! In: a tree. Out: a list of nodes, and numbers for the tree's inodes. The tree is walked once, checked on
//! the way; the stubs of V0 and V1 exist here only.
//!
//! # Format
//! `docs/formats/erofs.md`, sections 2 and 4.

use std::collections::btree_map;

use crate::digest::Algorithm;
use crate::filetree::{DEPTH_MAX, Entries, FileTree, InodeId, InodeKind, Name, Regular};

use super::dirent::{Child, DOTS, Listing};
use super::error::{Refusal, WriteError, join};
use super::format::FormatVersion;
use super::options::PrimaryNames;

/// The number of an inode that has none.
pub(super) const NO_NUMBER: u32 = u32::MAX;

/// An inode of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// An inode of the tree.
    Tree(InodeId),
    /// The stub of a name of two hex digits in the root.
    Stub(u8),
}

/// The names of all stubs.
static STUB_NAMES: [[u8; 2]; 256] = stub_names();

const fn stub_names() -> [[u8; 2]; 256] {
    let digits = b"0123456789abcdef";
    let mut names = [[0; 2]; 256];
    let mut at = 0;
    while at < 256 {
        names[at] = [digits[at >> 4], digits[at & 15]];
        at += 1;
    }
    names
}

/// The order of an image's inodes. Vectors of "by inode" are indexed by position in the tree's table.
pub(super) struct Order<'a> {
    tree: &'a FileTree,
    /// All inodes, by number.
    pub(super) nodes: Vec<Node>,
    /// Numbers by inode.
    numbers: Vec<u32>,
    /// Numbers of the stubs.
    stub_numbers: Box<[u32; 256]>,
    /// Link counts by inode; 0 for those without a name.
    links: Vec<u32>,
    /// Directory of the first name, by inode.
    parents: Vec<InodeId>,
    /// Directories that have whiteouts, by inode.
    whiteouts: Vec<bool>,
    /// What the root has besides its entries: dots and stubs.
    root_extras: Vec<(&'static [u8], Child)>,
    /// The algorithm of the tree's objects, if there are any.
    pub(super) algorithm: Option<Algorithm>,
}

impl<'a> Order<'a> {
    /// Walks the tree, checks its shape and puts its inodes in order.
    pub(super) fn new(
        tree: &'a FileTree,
        version: FormatVersion,
        primary_names: &PrimaryNames,
    ) -> Result<Self, WriteError> {
        let mut order = Self {
            tree,
            nodes: Vec::new(),
            numbers: vec![NO_NUMBER; tree.table_len()],
            stub_numbers: Box::new([NO_NUMBER; 256]),
            links: vec![0; tree.table_len()],
            parents: vec![InodeId::ROOT; tree.table_len()],
            whiteouts: vec![false; tree.table_len()],
            root_extras: DOTS.to_vec(),
            algorithm: None,
        };
        order.survey(version)?;
        if version.is_epoch1() {
            order.add_stubs();
            order.breadth_first(primary_names)?;
        }
        Ok(order)
    }

    /// Returns the number of an inode of the tree.
    pub(super) fn number(&self, inode: InodeId) -> u32 {
        self.numbers[inode.index()]
    }

    /// Returns the number of a stub.
    pub(super) fn stub_number(&self, stub: u8) -> u32 {
        self.stub_numbers[usize::from(stub)]
    }

    /// Returns the link count of an inode of the tree.
    pub(super) fn links(&self, inode: InodeId) -> u32 {
        self.links[inode.index()]
    }

    /// Returns the directory that a directory is in.
    pub(super) fn parent(&self, inode: InodeId) -> InodeId {
        self.parents[inode.index()]
    }

    /// Tells whether a directory has a whiteout.
    pub(super) fn has_whiteouts(&self, inode: InodeId) -> bool {
        self.whiteouts[inode.index()]
    }

    /// Lists a directory as it is in the image, dots and stubs included.
    pub(super) fn listing(&self, directory: InodeId) -> Listing<'_> {
        static NONE: Entries = Entries::new();
        let entries = self.tree.entries(directory).unwrap_or(&NONE);
        Listing::new(entries, if directory == InodeId::ROOT { &self.root_extras } else { &DOTS })
    }

    /// Walks depth first: checks, counts links, finds first names. For V2 this is the order.
    fn survey(&mut self, version: FormatVersion) -> Result<(), WriteError> {
        let tree = self.tree;
        let mut stack: Vec<(InodeId, Option<&Name>, btree_map::Iter<'a, Name, InodeId>)> = Vec::new();
        let mut next = Some((InodeId::ROOT, None));
        loop {
            if let Some((inode, name)) = next {
                let parent = stack.last().map_or(InodeId::ROOT, |(parent, ..)| *parent);
                let depth = stack.len();
                self.visit(parent, inode, depth, version).map_err(|reason| {
                    let names = stack.iter().map(|(_, name, _)| *name).chain([name]);
                    WriteError::Refused { path: join(names.flatten()), reason }
                })?;
                if let Some(entries) = tree.entries(inode) {
                    stack.push((inode, name, entries.iter()));
                }
            }
            let Some((_, _, entries)) = stack.last_mut() else { break };
            next = entries.next().map(|(name, inode)| (*inode, Some(name)));
            if next.is_none() {
                stack.pop();
            }
        }
        u32::try_from(self.nodes.len()).map_err(|_| WriteError::TooLarge)?;
        Ok(())
    }

    fn visit(
        &mut self,
        parent: InodeId,
        inode: InodeId,
        depth: usize,
        version: FormatVersion,
    ) -> Result<(), Refusal> {
        let tree = self.tree;
        let at = inode.index();
        let node = tree.inode(inode);
        let first = self.links[at] == 0;
        if node.kind.is_directory() {
            if !first {
                return Err(Refusal::LinkedDirectory);
            }
            if depth > DEPTH_MAX {
                return Err(Refusal::TooDeep);
            }
            self.links[at] = 2;
            if inode != InodeId::ROOT {
                self.links[parent.index()] = self.links[parent.index()].saturating_add(1);
            }
        } else {
            self.links[at] = self.links[at].saturating_add(1);
        }
        if node.kind.is_whiteout() {
            if !first {
                return Err(Refusal::LinkedWhiteout);
            }
            self.whiteouts[parent.index()] = true;
        }
        if !first {
            return Ok(());
        }
        self.parents[at] = parent;
        if node.stat.mtime_nanos >= 1_000_000_000 {
            return Err(Refusal::Nanoseconds(node.stat.mtime_nanos));
        }
        self.check_contents(&node.kind)?;
        if !version.is_epoch1() {
            self.append(Node::Tree(inode));
        }
        Ok(())
    }

    fn check_contents(&mut self, kind: &InodeKind) -> Result<(), Refusal> {
        match kind {
            InodeKind::Symlink(target) => {
                if target.is_empty() || target.len() > 4095 {
                    return Err(Refusal::SymlinkLength(target.len()));
                }
                if target.contains(&0) {
                    return Err(Refusal::SymlinkNul);
                }
            }
            InodeKind::Regular(Regular::External { id, .. } | Regular::Unverified { id, .. }) => {
                let expected = *self.algorithm.get_or_insert(id.algorithm());
                if expected != id.algorithm() {
                    return Err(Refusal::ObjectAlgorithm { expected, actual: id.algorithm() });
                }
            }
            InodeKind::Regular(Regular::Redirect { path, .. })
                if path.is_empty() || path.len() > 4095 || path.contains(&0) =>
            {
                return Err(Refusal::RedirectPath(path.to_vec()));
            }
            _ => {}
        }
        Ok(())
    }

    fn append(&mut self, node: Node) {
        // More than 2^32 - 1 inodes are refused before anything looks at the numbers.
        let number = self.nodes.len() as u32;
        match node {
            Node::Tree(inode) => self.numbers[inode.index()] = number,
            Node::Stub(stub) => self.stub_numbers[usize::from(stub)] = number,
        }
        self.nodes.push(node);
    }

    fn add_stubs(&mut self) {
        let Some(entries) = self.tree.entries(InodeId::ROOT) else { return };
        for stub in 0..=u8::MAX {
            let name = &STUB_NAMES[usize::from(stub)][..];
            if !entries.contains_key(name) {
                self.root_extras.push((name, Child::Stub(stub)));
            }
        }
    }

    /// Walks breadth first: the list of nodes is the queue.
    fn breadth_first(&mut self, primary_names: &PrimaryNames) -> Result<(), WriteError> {
        let tree = self.tree;
        let root_extras = std::mem::take(&mut self.root_extras);
        self.append(Node::Tree(InodeId::ROOT));
        let mut head = 0;
        while let Some(node) = self.nodes.get(head).copied() {
            head += 1;
            let Node::Tree(directory) = node else { continue };
            let Some(entries) = tree.entries(directory) else { continue };
            let extras = if directory == InodeId::ROOT { &root_extras[..] } else { &[] };
            for (name, child) in Listing::new(entries, extras) {
                match child {
                    Child::Itself | Child::Parent => {}
                    Child::Stub(stub) => self.append(Node::Stub(stub)),
                    Child::Inode(inode) => {
                        if self.is_placed_at(directory, name, inode, primary_names) {
                            self.append(Node::Tree(inode));
                        }
                    }
                }
            }
        }
        self.root_extras = root_extras;
        u32::try_from(self.nodes.len()).map_err(|_| WriteError::TooLarge)?;
        Ok(())
    }

    /// Tells whether an entry is the one that puts its inode into the queue.
    fn is_placed_at(
        &self,
        directory: InodeId,
        name: &[u8],
        inode: InodeId,
        primary_names: &PrimaryNames,
    ) -> bool {
        if self.numbers[inode.index()] != NO_NUMBER {
            return false;
        }
        if !primary_names.is_empty()
            && let Some((parent, primary)) = primary_names.get(&inode)
            && self.links.get(parent.index()).is_some_and(|links| *links > 0)
            && self.tree.entries(*parent).is_some_and(|entries| entries.get(primary) == Some(&inode))
        {
            return *parent == directory && primary.as_bytes() == name;
        }
        self.parents[inode.index()] == directory
    }
}
