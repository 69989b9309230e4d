//! What differs between two trees, path by path.

use std::cmp::Ordering;

use super::{FileTree, InodeId, InodeKind, Name, Stat, walk::join};

/// What is different about a path that both trees have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Another type of file. What lies below a directory that became something else is removed, and the reverse.
    pub kind: bool,
    /// Another content, size, target or device number.
    pub content: bool,
    /// Other permission bits.
    pub mode: bool,
    /// Another owner or group.
    pub owner: bool,
    /// Other extended attributes.
    pub xattrs: bool,
    /// Another time of modification.
    pub mtime: bool,
}

impl Changes {
    /// Tells whether anything differs.
    #[must_use]
    pub const fn any(self) -> bool {
        self.kind || self.content || self.mode || self.owner || self.xattrs || self.mtime
    }

    /// Returns the words for what differs, in a fixed order.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        [
            (self.kind, "type"),
            (self.content, "content"),
            (self.mode, "mode"),
            (self.owner, "owner"),
            (self.xattrs, "xattrs"),
            (self.mtime, "mtime"),
        ]
        .into_iter()
        .filter_map(|(differs, word)| differs.then_some(word))
        .collect()
    }

    fn between(a: &FileTree, old: InodeId, b: &FileTree, new: InodeId) -> Self {
        let (old, new) = (a.inode(old), b.inode(new));
        let kind = old.kind.type_bits() != new.kind.type_bits();
        let content = match (&old.kind, &new.kind) {
            (InodeKind::Directory(_), InodeKind::Directory(_)) => false,
            (old, new) => !kind && old != new,
        };
        let times = |stat: &Stat| (stat.mtime_seconds, stat.mtime_nanos);
        Self {
            kind,
            content,
            mode: old.stat.mode != new.stat.mode,
            owner: (old.stat.uid, old.stat.gid) != (new.stat.uid, new.stat.gid),
            xattrs: old.stat.xattrs != new.stat.xattrs,
            mtime: times(&old.stat) != times(&new.stat),
        }
    }
}

/// A path that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the second tree has it.
    Added(InodeId),
    /// Only the first tree has it.
    Removed(InodeId),
    /// Both have it.
    Changed {
        /// The inode in the first tree.
        old: InodeId,
        /// The inode in the second tree.
        new: InodeId,
        /// What differs.
        changes: Changes,
    },
}

/// Calls `found` with every path that differs, a directory before what is below it, names in byte order.
///
/// Both trees must be of one algorithm: contents are compared by object id and size. Which names are hard links of
/// each other is not compared.
///
/// # Errors
/// What `found` gives.
pub fn diff<E>(
    a: &FileTree,
    b: &FileTree,
    mut found: impl FnMut(&[u8], Difference) -> Result<(), E>,
) -> Result<(), E> {
    let mut pending: Vec<(Vec<u8>, Option<InodeId>, Option<InodeId>)> =
        vec![(Vec::new(), Some(InodeId::ROOT), Some(InodeId::ROOT))];
    while let Some((path, old, new)) = pending.pop() {
        let shown: &[u8] = if path.is_empty() { b"/" } else { &path };
        match (old, new) {
            (Some(old), Some(new)) => {
                let changes = Changes::between(a, old, b, new);
                if changes.any() {
                    found(shown, Difference::Changed { old, new, changes })?;
                }
            }
            (Some(old), None) => found(shown, Difference::Removed(old))?,
            (None, Some(new)) => found(shown, Difference::Added(new))?,
            (None, None) => {}
        }
        let children = merged(below(a, old), below(b, new));
        // The last one pushed comes first.
        pending.extend(children.into_iter().rev().map(|(name, old, new)| (join(&path, name), old, new)));
    }
    Ok(())
}

/// What is in a directory; nothing for anything else.
fn below(tree: &FileTree, inode: Option<InodeId>) -> impl Iterator<Item = (&Name, InodeId)> {
    let entries = inode.and_then(|inode| tree.entries(inode)).into_iter().flatten();
    entries.map(|(name, inode)| (name, *inode))
}

type Pair<'t> = (&'t Name, Option<InodeId>, Option<InodeId>);

/// Two sorted lists of names as one.
fn merged<'t>(
    a: impl Iterator<Item = (&'t Name, InodeId)>,
    b: impl Iterator<Item = (&'t Name, InodeId)>,
) -> Vec<Pair<'t>> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    let mut both = Vec::new();
    loop {
        let order = match (a.peek(), b.peek()) {
            (None, None) => return both,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = if order.is_le() { a.next() } else { None };
        let new = if order.is_ge() { b.next() } else { None };
        if let Some((name, _)) = old.or(new) {
            both.push((name, old.map(|(_, id)| id), new.map(|(_, id)| id)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Entries, Inode, Regular};
    use super::*;

    fn tree(files: &[(&str, u16, &str)]) -> FileTree {
        let mut tree = FileTree::new(Stat::default());
        let dir = Inode { stat: Stat::default(), kind: InodeKind::Directory(Entries::new()) };
        let dir = tree.insert(InodeId::ROOT, Name::new(b"d").unwrap(), dir).unwrap();
        for (name, mode, content) in files {
            let kind = InodeKind::Regular(Regular::Inline(content.as_bytes().into()));
            let stat = Stat { mode: *mode, ..Stat::default() };
            tree.insert(dir, Name::new(name.as_bytes()).unwrap(), Inode { stat, kind }).unwrap();
        }
        tree
    }

    fn lines(a: &FileTree, b: &FileTree) -> Vec<String> {
        let mut lines = Vec::new();
        let _ = diff::<()>(a, b, |path, difference| {
            let path = String::from_utf8_lossy(path);
            lines.push(match difference {
                Difference::Added(_) => format!("A {path}"),
                Difference::Removed(_) => format!("D {path}"),
                Difference::Changed { changes, .. } => format!("C {path} {}", changes.words().join(",")),
            });
            Ok(())
        });
        lines
    }

    #[test]
    fn every_kind_of_difference_is_told_once() {
        let a = tree(&[("gone", 0, ""), ("mode", 0o644, "x"), ("same", 0, "x"), ("text", 0, "x")]);
        let mut b = tree(&[("mode", 0o600, "x"), ("new", 0, ""), ("same", 0, "x"), ("text", 0, "y")]);
        assert_eq!(lines(&a, &a), Vec::<String>::new());
        assert_eq!(lines(&a, &b), ["D /d/gone", "C /d/mode mode", "A /d/new", "C /d/text content"]);
        let d = b.resolve(b"/d", super::super::resolve::LastLink::Follow).unwrap().inode;
        *b.inode_mut(d) =
            Inode { stat: Stat::default(), kind: InodeKind::Symlink(b"elsewhere".as_slice().into()) };
        assert_eq!(lines(&a, &b), ["C /d type", "D /d/gone", "D /d/mode", "D /d/same", "D /d/text"]);
    }
}
