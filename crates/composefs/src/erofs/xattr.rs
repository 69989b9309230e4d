//! Xattrs on disk: which an inode has, in which order, and which of them are shared.
//!
//! In: the order of inodes. Out: for each inode its references and inline entries, and the shared table.
//! Equal pairs of name and value are found by number, not by comparing bytes, and the two xattrs of external
//! files, which are nearly always unique, never become bytes before they are written.
//!
//! # Format
//! `docs/formats/erofs.md`, sections 2 and 3.

mod names;
mod shared;
mod value;

use std::collections::HashMap;

pub(super) use names::Name;
pub(super) use value::Value;

use crate::digest::ObjectId;
use crate::filetree::{FileTree, InodeId, InodeKind, Regular};

use super::error::{Refusal, WriteError};
use super::format::{self, FormatVersion, XattrEntry, XattrHeader};
use super::inode;
use super::order::{Node, Order};

use names::{METACOPY, Names, REDIRECT};
use shared::{Group, Shared};

/// Position that says a pair is not in the shared table.
const NOT_SHARED: u32 = u32::MAX;
/// In place of the pair's number: the metacopy xattr of the inode's object.
const OBJECT_METACOPY: u32 = u32::MAX;
/// In place of the pair's number: the redirect xattr of the inode's object.
const OBJECT_REDIRECT: u32 = u32::MAX - 1;
/// In place of the name's number when redirects to paths are counted: their values lack the slash.
const PATH: u32 = u32::MAX;
/// In place of the group's number: no other inode has the same object.
const NO_GROUP: u32 = u32::MAX;
/// Most references of one inode in V0 and V1.
const REFERENCES_MAX: usize = 128;
/// Most bytes of an inode's xattrs, counted as the C tools do.
const INODE_BYTES_MAX: usize = 32767;

/// A distinct pair of name and value.
struct Pair<'a> {
    name: u32,
    value: Value<'a>,
    count: u32,
    /// Offset in the shared table.
    shared: u32,
}

/// The xattrs of all inodes of an image.
pub(super) struct XattrTable<'a> {
    tree: &'a FileTree,
    version: FormatVersion,
    names: Vec<Name>,
    pairs: Vec<Pair<'a>>,
    /// Numbers of pairs, inode after inode, each in the order on disk.
    lists: Vec<u32>,
    /// Where each inode's list begins, and the end of the last.
    starts: Vec<u32>,
    /// Groups by inode number.
    groups_of: Vec<u32>,
    groups: Vec<Group>,
    shared: Vec<Shared<'a>>,
    /// Length of the shared table in bytes.
    pub(super) table_size: u64,
    /// Tells whether some inode has a POSIX ACL.
    pub(super) has_acl: bool,
}

/// The xattr area of one inode.
#[derive(Default)]
pub(super) struct Area<'a> {
    /// Offsets in the shared table.
    references: Vec<u32>,
    inline: Vec<(u32, Value<'a>)>,
    filter: u32,
    empty: bool,
}

impl<'a> XattrTable<'a> {
    /// Collects the xattrs of all inodes and lays out the shared table.
    pub(super) fn new(
        tree: &'a FileTree,
        version: FormatVersion,
        order: &Order<'_>,
    ) -> Result<Self, WriteError> {
        let mut collector = Collector {
            tree,
            version,
            names: Names::new(version),
            numbers: HashMap::new(),
            pairs: Vec::new(),
            lists: Vec::new(),
            algorithm: order.algorithm,
        };
        let mut starts = Vec::with_capacity(order.nodes.len() + 1);
        starts.push(0);
        let mut scratch = Vec::new();
        for node in &order.nodes {
            scratch.clear();
            match node {
                Node::Stub(_) => collector.stub(&mut scratch),
                Node::Tree(id) => collector
                    .inode(*id, order.has_whiteouts(*id), &mut scratch)
                    .map_err(|refusal| WriteError::of(tree, *id, refusal))?,
            }
            collector.push(&scratch);
            let end = u32::try_from(collector.lists.len()).ok().filter(|end| *end < OBJECT_REDIRECT);
            starts.push(end.ok_or(WriteError::TooLarge)?);
        }
        let Collector { names: Names { names, .. }, pairs, lists, .. } = collector;
        let has_acl = names.iter().any(|name| format::XATTR_ACLS.contains(&&*name.full));
        let mut table = Self {
            tree,
            version,
            names,
            pairs,
            lists,
            starts,
            groups_of: vec![NO_GROUP; order.nodes.len()],
            groups: Vec::new(),
            shared: Vec::new(),
            table_size: 0,
            has_acl,
        };
        table.group_objects(order);
        table.lay_out_shared()?;
        Ok(table)
    }

    /// Fills `area` with the xattrs of an inode.
    pub(super) fn area_of(&self, number: u32, node: Node, area: &mut Area<'a>) -> Result<(), WriteError> {
        area.references.clear();
        area.inline.clear();
        area.filter = u32::MAX;
        let at = number as usize;
        let list = &self.lists[self.starts[at] as usize..self.starts[at + 1] as usize];
        area.empty = list.is_empty();
        for pair in list {
            let (name, value, shared) = self.resolve(*pair, at, node);
            area.filter &= !self.names[name as usize].filter_bit;
            if shared != NOT_SHARED && !(self.version.is_epoch1() && area.references.len() == REFERENCES_MAX)
            {
                area.references.push(shared);
            } else {
                area.inline.push((name, value));
            }
        }
        if area.references.len() > usize::from(u8::MAX)
            && let Node::Tree(id) = node
        {
            return Err(WriteError::of(self.tree, id, Refusal::SharedXattrs(area.references.len())));
        }
        Ok(())
    }

    /// Returns name, value and offset in the shared table of one element of an inode's list.
    fn resolve(&self, pair: u32, at: usize, node: Node) -> (u32, Value<'a>, u32) {
        if pair < OBJECT_REDIRECT {
            let pair = &self.pairs[pair as usize];
            return (pair.name, pair.value, pair.shared);
        }
        let group = self.groups.get(self.groups_of[at] as usize);
        let object = match node {
            Node::Tree(id) => inode::object(&self.tree.inode(id).kind),
            Node::Stub(_) => None,
        };
        match (object, pair) {
            (Some((id, _)), OBJECT_METACOPY) => {
                (METACOPY, Value::Metacopy(id), group.map_or(NOT_SHARED, |group| group.metacopy))
            }
            (Some((id, _)), _) => {
                (REDIRECT, Value::Redirect(id), group.map_or(NOT_SHARED, |group| group.redirect))
            }
            (None, _) => unreachable!("only inodes with an object have its xattrs in their list"),
        }
    }

    /// Returns an area's size in bytes.
    pub(super) fn area_size(&self, area: &Area<'_>) -> u64 {
        if area.empty {
            return 0;
        }
        let inline: u64 = area.inline.iter().map(|(name, value)| self.entry_size(*name, value)).sum();
        XattrHeader::SIZE as u64 + 4 * area.references.len() as u64 + inline
    }

    /// Appends an area; `bias` is added to offsets in the shared table.
    pub(super) fn append_area(&self, area: &Area<'_>, bias: u64, out: &mut Vec<u8>) {
        if area.empty {
            return;
        }
        // `area_of` checked the count, `lay_out` that references fit.
        let header = XattrHeader { filter: area.filter, shared_count: area.references.len() as u8 };
        out.extend_from_slice(&header.to_bytes());
        for offset in &area.references {
            out.extend_from_slice(&(((bias + u64::from(*offset)) / 4) as u32).to_le_bytes());
        }
        for (name, value) in &area.inline {
            self.append_entry(*name, value, out);
        }
    }

    /// Writes the shared table, entry by entry.
    pub(super) fn append_table<E>(&self, mut write: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut out = Vec::new();
        for shared in &self.shared {
            out.clear();
            self.append_entry(shared.name, &shared.value, &mut out);
            write(&out)?;
        }
        Ok(())
    }

    fn entry_size(&self, name: u32, value: &Value<'_>) -> u64 {
        let suffix = self.names[name as usize].suffix().len();
        format::round_up((XattrEntry::SIZE + suffix + value.len()) as u64, 4)
    }

    fn append_entry(&self, name: u32, value: &Value<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        let name = &self.names[name as usize];
        // The collector refused longer ones.
        let entry = XattrEntry {
            suffix_length: name.suffix().len() as u8,
            index: name.index,
            value_size: value.len() as u16,
        };
        out.extend_from_slice(&entry.to_bytes());
        out.extend_from_slice(name.suffix());
        value.append_to(out);
        out.resize(start + (out.len() - start).next_multiple_of(4), 0);
    }
}

/// Turns the xattrs of inodes into numbers of pairs.
struct Collector<'a> {
    tree: &'a FileTree,
    version: FormatVersion,
    names: Names<'a>,
    /// Numbers of pairs by name (or [`PATH`]) and bytes.
    numbers: HashMap<(u32, &'a [u8]), u32>,
    pairs: Vec<Pair<'a>>,
    lists: Vec<u32>,
    algorithm: Option<crate::digest::Algorithm>,
}

impl<'a> Collector<'a> {
    fn stub(&mut self, list: &mut Vec<(u32, Value<'a>)>) {
        const SELINUX: &[u8] = b"security.selinux";
        if let Some(label) = self.tree.root().stat.xattrs.get(SELINUX) {
            list.push((self.names.on_disk(SELINUX), Value::Bytes(label)));
        }
    }

    fn inode(
        &mut self,
        id: InodeId,
        has_whiteouts: bool,
        list: &mut Vec<(u32, Value<'a>)>,
    ) -> Result<(), Refusal> {
        let inode = self.tree.inode(id);
        self.content(&inode.kind, list)?;
        let mut bytes = 12;
        for (name, value) in inode.stat.xattrs.iter() {
            let number = self.names.given(name).ok_or_else(|| Refusal::XattrName(name.to_vec()))?;
            if value.len() > usize::from(u16::MAX) {
                return Err(Refusal::XattrValue { name: name.to_vec(), bytes: value.len() });
            }
            bytes += 7 + name.len() + value.len();
            list.push((number, Value::Bytes(value)));
        }
        if bytes > INODE_BYTES_MAX {
            return Err(Refusal::XattrBytes(bytes));
        }
        if self.version.is_epoch1() {
            self.mark(id, &inode.kind, has_whiteouts, list);
            let names = &self.names.names;
            let full = |entry: &(u32, Value<'_>)| &names[entry.0 as usize].full;
            if !list.is_sorted_by(|a, b| full(a) <= full(b)) {
                list.sort_by(|a, b| full(a).cmp(full(b)));
            }
        }
        Ok(())
    }

    /// Adds what tells overlayfs where an external file's contents are.
    fn content(&mut self, kind: &'a InodeKind, list: &mut Vec<(u32, Value<'a>)>) -> Result<(), Refusal> {
        let InodeKind::Regular(regular) = kind else { return Ok(()) };
        if regular.size() == 0 {
            return Ok(());
        }
        match regular {
            Regular::Inline(_) => {}
            Regular::External { id, .. } => {
                list.extend([(METACOPY, Value::Metacopy(id)), (REDIRECT, Value::Redirect(id))]);
            }
            Regular::Unverified { id, .. } => {
                list.extend([(METACOPY, Value::Bytes(b"")), (REDIRECT, Value::Redirect(id))]);
            }
            Regular::Redirect { path, .. } => {
                // The same value under two numbers would not be shared.
                if self.algorithm.is_some_and(|algorithm| {
                    ObjectId::from_object_path(algorithm, path)
                        .is_ok_and(|id| id.object_path().as_bytes() == &**path)
                }) {
                    return Err(Refusal::RedirectPath(path.to_vec()));
                }
                list.extend([(METACOPY, Value::Bytes(b"")), (REDIRECT, Value::Path(path))]);
            }
            Regular::Sparse(_) => list.push((METACOPY, Value::Bytes(b""))),
        }
        Ok(())
    }

    /// Adds the marks of whiteouts, of their directories and of the root.
    fn mark(&mut self, id: InodeId, kind: &InodeKind, has_whiteouts: bool, list: &mut Vec<(u32, Value<'a>)>) {
        let mut set = |name: &[u8], value: &'static [u8]| {
            let number = self.names.on_disk(name);
            list.retain(|(have, _)| *have != number);
            list.push((number, Value::Bytes(value)));
        };
        if kind.is_whiteout() {
            format::XATTR_WHITEOUT.into_iter().for_each(|name| set(name, b""));
        }
        if has_whiteouts {
            format::XATTR_WHITEOUTS.into_iter().for_each(|name| set(name, b""));
            if self.version == FormatVersion::V1 {
                format::XATTR_WHITEOUT_OPAQUE.into_iter().for_each(|name| set(name, b"x"));
            }
        }
        if id == InodeId::ROOT {
            set(format::XATTR_ROOT_OPAQUE, b"y");
        }
    }

    /// Counts the pairs of one inode and adds them to the lists.
    fn push(&mut self, list: &[(u32, Value<'a>)]) {
        for (name, value) in list {
            let key = match value {
                Value::Metacopy(_) => {
                    self.lists.push(OBJECT_METACOPY);
                    continue;
                }
                Value::Redirect(_) => {
                    self.lists.push(OBJECT_REDIRECT);
                    continue;
                }
                Value::Bytes(bytes) => (*name, *bytes),
                Value::Path(path) => (PATH, *path),
            };
            let number = *self.numbers.entry(key).or_insert_with(|| {
                // Below the length of `lists`, which is checked after each inode.
                let number = self.pairs.len() as u32;
                self.pairs.push(Pair { name: *name, value: *value, count: 0, shared: NOT_SHARED });
                number
            });
            let pair = &mut self.pairs[number as usize];
            pair.count = pair.count.saturating_add(1);
            self.lists.push(number);
        }
    }
}
