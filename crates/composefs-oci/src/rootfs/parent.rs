//! Finding the directory an entry goes into, following symlinks inside the root and making what is missing.
//!
//! # Format
//! `docs/formats/tree.md`, section 2, "Cases".

use std::borrow::Cow;

use composefs::filetree::{DEPTH_MAX, Inode, InodeId, InodeKind, Name, Regular, Stat};
use composefs_tar::PathError;

use super::{MergeFault, MergeMode, Merger};

/// The most symlinks that one path may lead through.
pub(super) const SYMLINKS_MAX: usize = 40;

/// The most directories made because an entry lay below them; one long path makes thousands, so they are not
/// bounded by the archive's size as entries are.
pub(super) const IMPLIED_MAX: usize = 1 << 20;

/// The most bytes that a tree may take: what readers of images allow, too.
pub(super) const TREE_BYTES_MAX: u64 = 2 << 30;
/// What an inode and its entry in a directory take beside what they hold.
const INODE_BYTES: usize = 256;
/// What an extended attribute takes beside name and value.
const XATTR_BYTES: usize = 32;

/// The most components of symlinks' targets that are walked for all entries together. One entry may lead through 40 targets
/// of two thousand components, and an archive of millions of such entries packs to nothing.
pub(super) const STEPS_MAX: u64 = 1 << 27;

/// Where directories are, and the last one looked up.
#[derive(Debug)]
pub(super) struct Parents {
    /// Parent and depth of each inode after the root, by its number; of leaves whatever they had first.
    above: Vec<(InodeId, u16)>,
    /// The path as the archive had it, and where it led. Archives mostly stay in one directory.
    last: Option<(Vec<u8>, InodeId)>,
    implied: usize,
    /// Components of symlinks' targets that may still be walked.
    pub(super) steps_left: u64,
}

impl Default for Parents {
    fn default() -> Self {
        Self { above: Vec::new(), last: None, implied: 0, steps_left: STEPS_MAX }
    }
}

impl Parents {
    fn get(&self, directory: InodeId) -> (InodeId, u16) {
        // The root is not in the list, and its own parent.
        let at = directory.index().checked_sub(1);
        at.and_then(|at| self.above.get(at)).copied().unwrap_or((InodeId::ROOT, 0))
    }

    pub(super) fn of(&self, directory: InodeId) -> InodeId {
        self.get(directory).0
    }

    /// Forgets the last path: a directory or symlink that it led through may be gone.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }
}

/// What to do where a directory is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make it.
    Make,
    /// Nothing: there is no such directory then.
    Ignore,
}

/// Splits a path as an archive has it into what precedes the last component, and that; `None` for the root.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = path;
    loop {
        let (before, name) = match rest.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => {
                let (before, name) = rest.split_at_checked(slash)?;
                (before, name.strip_prefix(b"/")?)
            }
            None => (&[][..], rest),
        };
        if !matches!(name, b"" | b".") {
            return Some((before, name));
        }
        if before.is_empty() {
            return None;
        }
        rest = before;
    }
}

impl Merger {
    /// Adds an inode under a name, replacing what had it.
    pub(super) fn insert(
        &mut self,
        directory: InodeId,
        name: Name,
        inode: Inode,
    ) -> Result<InodeId, MergeFault> {
        let depth = self.parents.get(directory).1.saturating_add(1);
        if usize::from(depth) > DEPTH_MAX {
            return Err(MergeFault::TooDeep);
        }
        self.charge(name.as_bytes().len().saturating_add(bytes_of(&inode)))?;
        let id = self.tree.insert(directory, name, inode)?;
        self.parents.above.push((directory, depth));
        self.mark(directory);
        Ok(id)
    }

    /// Counts what the tree takes.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), MergeFault> {
        self.bytes_left = self.bytes_left.checked_sub(bytes as u64).ok_or(MergeFault::TreeTooLarge)?;
        Ok(())
    }

    /// Finds the directory at `path`; `None` if it is missing and stays so.
    pub(super) fn directory(&mut self, path: &[u8], missing: Missing) -> Result<Option<InodeId>, MergeFault> {
        if let Some((last, id)) = &self.parents.last
            && last == path
        {
            return Ok(Some(*id));
        }
        let found = self.walk(path, missing)?;
        if let Some(id) = found {
            let mut buffer = self.parents.last.take().map(|(last, _)| last).unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(path);
            self.parents.last = Some((buffer, id));
        }
        Ok(found)
    }

    fn walk(&mut self, path: &[u8], missing: Missing) -> Result<Option<InodeId>, MergeFault> {
        let strict = self.options.mode == MergeMode::Strict;
        let mut at = InodeId::ROOT;
        let mut links = 0_usize;
        // Targets of symlinks being followed, the innermost last; each with how far it has been read.
        let mut targets: Vec<(Box<[u8]>, usize)> = Vec::new();
        let mut rest = path;
        loop {
            let component: Cow<'_, [u8]> = if let Some((target, done)) = targets.last_mut() {
                self.parents.steps_left =
                    self.parents.steps_left.checked_sub(1).ok_or(MergeFault::TooManySteps)?;
                let mut rest = target.get(*done..).unwrap_or_default();
                let component = next_component(&mut rest).map(<[u8]>::to_vec);
                *done = target.len().saturating_sub(rest.len());
                match component {
                    Some(component) => Cow::Owned(component),
                    None => {
                        targets.pop();
                        continue;
                    }
                }
            } else {
                match next_component(&mut rest) {
                    Some(b"..") => return Err(PathError::Parent.into()),
                    Some(component) => Cow::Borrowed(component),
                    None => return Ok(Some(at)),
                }
            };
            if *component == *b".." {
                at = self.parents.of(at);
                continue;
            }
            let Ok(found) = self.tree.lookup_in(at, &component) else {
                let name = Name::new(&component)?;
                match missing {
                    _ if strict => return Err(MergeFault::ParentMissing(self.path_of(at, &component))),
                    Missing::Ignore => return Ok(None),
                    Missing::Make => at = self.imply(at, name)?,
                }
                continue;
            };
            match &self.tree.inode(found).kind {
                InodeKind::Directory(_) => at = found,
                InodeKind::Symlink(target) if !strict => {
                    links = links.saturating_add(1);
                    if links > SYMLINKS_MAX {
                        return Err(MergeFault::TooManySymlinks);
                    }
                    if target.starts_with(b"/") {
                        at = InodeId::ROOT;
                    }
                    targets.push((target.clone(), 0));
                }
                _ => return Err(MergeFault::ParentNotADirectory(self.path_of(at, &component))),
            }
        }
    }

    /// Makes a directory that no entry described.
    fn imply(&mut self, directory: InodeId, name: Name) -> Result<InodeId, MergeFault> {
        self.parents.implied = self.parents.implied.saturating_add(1);
        if self.parents.implied > IMPLIED_MAX {
            return Err(MergeFault::TooManyImplied);
        }
        let stat = Stat { mode: 0o755, ..Stat::default() };
        self.insert(directory, name, Inode { stat, kind: InodeKind::Directory(Default::default()) })
    }

    /// Tells the path of a name in the tree, for errors.
    fn path_of(&self, directory: InodeId, name: &[u8]) -> Vec<u8> {
        let mut parts = vec![name.to_vec()];
        let mut at = directory;
        while at != InodeId::ROOT {
            let above = self.parents.of(at);
            let name = self.tree.entries(above).and_then(|entries| entries.iter().find(|(_, id)| **id == at));
            parts.push(name.map(|(name, _)| name.as_bytes().to_vec()).unwrap_or_default());
            at = above;
        }
        parts.reverse();
        parts.join(&b'/')
    }
}

/// Returns about how much memory an inode with its name takes.
pub(super) fn bytes_of(inode: &Inode) -> usize {
    let contents = match &inode.kind {
        InodeKind::Symlink(target) => target.len(),
        InodeKind::Regular(Regular::Inline(contents)) => contents.len(),
        _ => 0,
    };
    contents.saturating_add(stat_bytes(&inode.stat)).saturating_add(INODE_BYTES)
}

/// Returns how much memory the extended attributes take.
pub(super) fn stat_bytes(stat: &Stat) -> usize {
    let bytes = stat
        .xattrs
        .iter()
        .map(|(name, value)| name.len().saturating_add(value.len()).saturating_add(XATTR_BYTES));
    bytes.fold(0, usize::saturating_add)
}

/// Takes the next component off a path; empty ones and `.` are passed over.
pub(super) fn next_component<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    while !rest.is_empty() {
        let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
        let (component, after) = rest.split_at_checked(end)?;
        *rest = after.strip_prefix(b"/").unwrap_or(after);
        if !matches!(component, b"" | b".") {
            return Some(component);
        }
    }
    None
}
