//! One entry onto the tree.
//!
//! # Format
//! `docs/formats/tree.md`, section 2.

use composefs::{
    digest::ObjectId,
    filetree::{Inode, InodeId, InodeKind, Name, Regular, Stat, inode::device_number},
};
use composefs_tar::{Content, Entry, EntryError, EntryKind, Mtime, PathError};

use super::{
    MergeError, MergeFault, Merger, Rules,
    hide::Whiteout,
    parent::{Missing, next_component, split, stat_bytes},
};

/// The longest target of a symlink in bytes.
pub(super) const TARGET_MAX: usize = 4095;

/// What a name takes beside its bytes.
const NAME_BYTES: usize = 64;

impl Merger {
    /// Merges the next entry of the current layer. `object` holds the contents of a regular file that are not inline
    /// in the entry, of a sparse one expanded; otherwise it has no meaning.
    ///
    /// # Errors
    /// [`MergeError`] names the layer and the entry; the merger is of no use then. A member without an entry is
    /// refused here, so that it has the same form.
    pub fn apply(
        &mut self,
        entry: Result<Entry, EntryError>,
        object: Option<ObjectId>,
    ) -> Result<(), MergeError> {
        let layer = self.layer;
        let mut entry = entry.map_err(|EntryError { path, fault, .. }| MergeError {
            layer,
            path,
            fault: fault.into(),
        })?;
        let path = std::mem::take(&mut entry.path);
        self.apply_at(&path, entry, object).map_err(|fault| MergeError { layer, path, fault })
    }

    fn apply_at(&mut self, path: &[u8], entry: Entry, object: Option<ObjectId>) -> Result<(), MergeFault> {
        let Some((parent, last)) = split(path) else { return self.root(&entry) };
        if last == b".." {
            return Err(PathError::Parent.into());
        }
        if let Some(whiteout) = Whiteout::new(last, self.options.rules) {
            return match self.directory(parent, Missing::Ignore)? {
                Some(directory) => self.hide(directory, whiteout),
                None => Ok(()),
            };
        }
        let name = Name::new(last)?;
        if let EntryKind::Hardlink { target } = &entry.kind {
            let target = self.link_target(target)?;
            let directory = self.make_directory(parent)?;
            return self.link(directory, name, target);
        }
        let inode = self.inode(entry, object)?;
        let directory = self.make_directory(parent)?;
        self.merge(directory, name, inode)
    }

    fn root(&mut self, entry: &Entry) -> Result<(), MergeFault> {
        if !matches!(entry.kind, EntryKind::Directory) {
            return Err(MergeFault::RootNotADirectory);
        }
        self.root_seen = true;
        let stat = self.stat(entry);
        self.charge(stat_bytes(&stat))?;
        self.tree.inode_mut(InodeId::ROOT).stat = stat;
        Ok(())
    }

    fn make_directory(&mut self, path: &[u8]) -> Result<InodeId, MergeFault> {
        let found = self.directory(path, Missing::Make)?;
        found.ok_or_else(|| MergeFault::ParentMissing(path.to_vec()))
    }

    /// Finds what a hard link names, in the tree so far and without following symlinks.
    fn link_target(&self, target: &[u8]) -> Result<InodeId, MergeFault> {
        let mut inode = InodeId::ROOT;
        let mut rest = target;
        while let Some(component) = next_component(&mut rest) {
            if component == b".." {
                return Err(PathError::Parent.into());
            }
            inode = self
                .tree
                .lookup_in(inode, component)
                .map_err(|_| MergeFault::LinkTargetMissing(target.to_vec()))?;
        }
        if self.tree.inode(inode).kind.is_directory() {
            return Err(MergeFault::LinkToDirectory(target.to_vec()));
        }
        Ok(inode)
    }

    fn link(&mut self, directory: InodeId, name: Name, inode: InodeId) -> Result<(), MergeFault> {
        self.forget_if_on_the_way(directory, &name);
        if !self.ours.made(inode) {
            self.ours.links.entry(directory).or_default().insert(name.clone());
        }
        self.mark(directory);
        // Twice: among the links of this layer, and in the directory.
        self.charge(name.as_bytes().len().saturating_add(NAME_BYTES).saturating_mul(2))?;
        self.tree.link(directory, name, inode)?;
        Ok(())
    }

    fn merge(&mut self, directory: InodeId, name: Name, inode: Inode) -> Result<(), MergeFault> {
        if inode.kind.is_directory()
            && let Ok(old) = self.tree.lookup_in(directory, name.as_bytes())
            && self.tree.inode(old).kind.is_directory()
        {
            self.charge(stat_bytes(&inode.stat))?;
            self.tree.inode_mut(old).stat = inode.stat;
            self.mark(old);
            return Ok(());
        }
        self.forget_if_on_the_way(directory, &name);
        self.insert(directory, name, inode)?;
        Ok(())
    }

    /// Drops what is remembered of paths if a way leads through what is about to be replaced.
    fn forget_if_on_the_way(&mut self, directory: InodeId, name: &Name) {
        if let Ok(old) = self.tree.lookup_in(directory, name.as_bytes())
            && matches!(self.tree.inode(old).kind, InodeKind::Directory(_) | InodeKind::Symlink(_))
        {
            self.parents.forget();
        }
    }

    fn stat(&self, entry: &Entry) -> Stat {
        let Mtime { seconds, nanos } = entry.mtime;
        let mut stat = Stat {
            mode: u16::try_from(entry.mode & 0o7777).unwrap_or_default(),
            uid: entry.uid,
            gid: entry.gid,
            mtime_seconds: seconds,
            mtime_nanos: if self.options.rules == Rules::V03 { 0 } else { nanos },
            ..Stat::default()
        };
        for (name, value) in &entry.xattrs {
            stat.xattrs.set(name, value);
        }
        stat
    }

    fn inode(&self, entry: Entry, object: Option<ObjectId>) -> Result<Inode, MergeFault> {
        let stat = self.stat(&entry);
        let device = |major: u32, minor: u32| {
            device_number(major.into(), minor.into()).ok_or(MergeFault::Device { major, minor })
        };
        let kind = match entry.kind {
            EntryKind::Regular { content: Content::Inline(contents), .. } => {
                InodeKind::Regular(Regular::Inline(contents.into()))
            }
            EntryKind::Regular { size, content: Content::External | Content::Sparse(_) } => {
                let id = object.ok_or(MergeFault::NoObject)?;
                InodeKind::Regular(Regular::External { id, size })
            }
            EntryKind::Symlink { target } => InodeKind::Symlink(check_target(target)?),
            EntryKind::CharDevice { major, minor } => InodeKind::CharDevice(device(major, minor)?),
            EntryKind::BlockDevice { major, minor } => InodeKind::BlockDevice(device(major, minor)?),
            EntryKind::Directory => InodeKind::Directory(Default::default()),
            EntryKind::Fifo => InodeKind::Fifo,
            // Handled before, where the tree is at hand.
            EntryKind::Hardlink { target } => return Err(MergeFault::LinkTargetMissing(target)),
        };
        Ok(Inode { stat, kind })
    }
}

fn check_target(target: Vec<u8>) -> Result<Box<[u8]>, MergeFault> {
    if target.is_empty() {
        return Err(MergeFault::EmptyTarget);
    }
    if target.len() > TARGET_MAX {
        return Err(MergeFault::TargetTooLong(target.len()));
    }
    if target.contains(&0) {
        return Err(MergeFault::TargetNul);
    }
    Ok(target.into())
}
