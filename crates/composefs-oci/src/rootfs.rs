//! Layers to a file tree: entries of tar archives go in, in order, the merged tree comes out.
//!
//! Nothing here reads archives or objects; the caller brings each entry and the id of its object. A merger
//! keeps the tree, and of the current layer only which lower names it took over.
//!
//! ```
//! use composefs_oci::rootfs::{MergeOptions, Merger};
//! use composefs_tar::{Event, Options, Parser, build::Archive};
//!
//! let layers = [
//!     Archive::new().directory(b"etc").file(b"etc/old", b"1").finish(),
//!     Archive::new().file(b"etc/.wh.old", b"").file(b"etc/new", b"2").finish(),
//! ];
//! let mut merger = Merger::new(MergeOptions::default());
//! for layer in &layers {
//!     merger.begin_layer();
//!     let (mut parser, mut rest) = (Parser::new(Options::default()), &layer[..]);
//!     while let Some(event) = parser.parse(&mut rest)? {
//!         if let Event::Member(member) | Event::Begin(member) = event {
//!             merger.apply(member.entry, None)?;
//!         }
//!     }
//! }
//! let tree = merger.finish();
//! assert!(tree.lookup(&[b"etc", b"new"]).is_ok() && tree.lookup(&[b"etc", b"old"]).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Format
//! `docs/formats/tree.md`, section 2; `docs/formats/oci.md`, section 4.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod error;
mod parent;
mod hide;
mod apply;
pub mod image;

pub use error::{MergeError, MergeFault};
pub use image::{RootfsOptions, tree};

use std::collections::{HashMap, HashSet};

use composefs::filetree::{FileTree, InodeId, Name, Stat};

use parent::Parents;

/// What to do with layers that upstream refuses but container runtimes take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MergeMode {
    /// Take them: missing parents are made, symlinks on the way are followed inside the root.
    #[default]
    Lenient,
    /// Refuse them, as upstream does.
    Strict,
}

/// Whose rules make the tree, and thus the image id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rules {
    /// Today's: whiteouts hide lower layers only; the container transform sets the root afterwards.
    #[default]
    Current,
    /// Those of 0.3, for sealed images of its time: whiteouts act when met, opaque markers are looked for under
    /// a name that nobody writes, times are whole seconds, and a root without an entry is 0555 and as new as
    /// the newest file. No transform belongs to these.
    V03,
}

/// How layers are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergeOptions {
    /// What runtimes take and upstream refuses.
    pub mode: MergeMode,
    /// Whose rules.
    pub rules: Rules,
}

impl MergeOptions {
    /// Sets what to do with layers that upstream refuses.
    #[must_use]
    pub const fn mode(mut self, mode: MergeMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets whose rules are followed.
    #[must_use]
    pub const fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }
}

/// Merges layers, entry by entry.
#[derive(Debug)]
pub struct Merger {
    options: MergeOptions,
    tree: FileTree,
    parents: Parents,
    /// From 1; 0 before the first.
    layer: usize,
    root_seen: bool,
    ours: Ours,
    /// Bytes that the tree may still take.
    bytes_left: u64,
}

/// What the current layer put where lower layers had something. Inodes it made itself are told by their
/// numbers, since the table only grows.
#[derive(Debug, Default)]
struct Ours {
    /// The first inode of this layer.
    first: usize,
    /// Lower directories it listed again, and those with anything of its own below.
    kept_directories: HashSet<InodeId>,
    /// Names it gave to lower inodes, by directory.
    links: HashMap<InodeId, HashSet<Name>>,
    /// Lower directories without anything lower in them any more.
    cleared: HashSet<InodeId>,
}

impl Merger {
    /// Makes a merger with an empty root.
    #[must_use]
    pub fn new(options: MergeOptions) -> Self {
        let mode = match options.rules {
            Rules::Current => 0,
            Rules::V03 => 0o555,
        };
        Self {
            options,
            tree: FileTree::new(Stat { mode, ..Stat::default() }),
            parents: Parents::default(),
            layer: 0,
            root_seen: false,
            ours: Ours::default(),
            bytes_left: parent::TREE_BYTES_MAX,
        }
    }

    /// Begins a layer, the lowest first. What has been applied so far is lower from now on.
    pub fn begin_layer(&mut self) {
        self.layer = self.layer.saturating_add(1);
        self.ours = Ours { first: self.tree.table_len(), ..Ours::default() };
    }

    /// Returns the tree; today's rules want [`FileTree::transform_for_oci`] on it before an image is made.
    #[must_use]
    pub fn finish(self) -> FileTree {
        let mut tree = self.tree;
        if self.options.rules == Rules::V03 && !self.root_seen {
            let newest = tree.newest_mtime_seconds().unwrap_or(0);
            tree.inode_mut(InodeId::ROOT).stat.mtime_seconds = newest;
        }
        tree
    }
}

#[cfg(test)]
mod tests;
