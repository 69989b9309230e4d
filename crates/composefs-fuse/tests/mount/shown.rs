//! What a mount shows beside what the tree says, entry by entry.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use composefs::filetree::{FileTree, InodeId, InodeKind, Regular, inode::major_minor};

use super::scene::contents;

/// What is compared, and what is not.
#[derive(Clone, Copy)]
pub(crate) struct Eyes {
    /// Sees attributes that only root may see.
    pub(crate) trusted: bool,
    /// Shows whose ids are.
    pub(crate) owner: fn(u32) -> u32,
}

impl Eyes {
    pub(crate) const ROOT: Self = Self { trusted: true, owner: |id| id };
}

pub(crate) fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect()
}

/// Compares all of a mount with a tree; returns how many names there are.
pub(crate) fn compare(tree: &FileTree, mountpoint: &Path, eyes: Eyes) -> usize {
    let links = tree.name_counts();
    let mut numbers = BTreeMap::new();
    let mut pending = vec![(InodeId::ROOT, mountpoint.to_owned())];
    let mut names = 0;
    while let Some((id, path)) = pending.pop() {
        names += 1;
        let inode = tree.inode(id);
        let shown = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let stat = &inode.stat;
        let said = (
            inode.kind.type_bits() | u32::from(stat.mode),
            (eyes.owner)(stat.uid),
            (eyes.owner)(stat.gid),
            (stat.mtime_seconds, i64::from(stat.mtime_nanos)),
        );
        let seen = (shown.mode(), shown.uid(), shown.gid(), (shown.mtime(), shown.mtime_nsec()));
        assert_eq!(said, seen, "{}", path.display());
        assert_eq!(
            *numbers.entry(shown.ino()).or_insert(id),
            id,
            "{}: one number, two inodes",
            path.display()
        );
        let mut wanted: BTreeMap<Vec<u8>, Vec<u8>> =
            stat.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        wanted.retain(|name, _| eyes.trusted || !name.starts_with(b"trusted."));
        assert_eq!(wanted, xattrs(&path), "{}", path.display());
        if !inode.kind.is_directory() {
            assert_eq!(shown.nlink(), u64::from(links[id.index()]), "{}", path.display());
        }
        match &inode.kind {
            InodeKind::Directory(entries) => {
                let mut seen: Vec<_> =
                    fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
                seen.sort_unstable();
                let said: Vec<_> = entries.keys().map(|name| name.as_bytes()).collect();
                assert_eq!(seen.iter().map(|name| name.as_bytes()).collect::<Vec<_>>(), said);
                pending.extend(
                    entries.iter().map(|(name, child)| {
                        (*child, path.join(std::ffi::OsStr::from_bytes(name.as_bytes())))
                    }),
                );
            }
            InodeKind::Regular(regular) => {
                assert_eq!(shown.len(), regular.size(), "{}", path.display());
                let said = match regular {
                    Regular::Inline(bytes) => bytes.to_vec(),
                    Regular::Sparse(size) => vec![0; usize::try_from(*size).unwrap()],
                    _ => contents(usize::try_from(regular.size()).unwrap()),
                };
                assert!(fs::read(&path).unwrap() == said, "{}", path.display());
            }
            InodeKind::Symlink(target) => {
                assert_eq!(fs::read_link(&path).unwrap().as_os_str().as_bytes(), &target[..]);
            }
            InodeKind::CharDevice(number) | InodeKind::BlockDevice(number) => {
                let (major, minor) = major_minor(*number);
                assert_eq!(shown.rdev(), rustix::fs::makedev(major, minor), "{}", path.display());
            }
            _ => {}
        }
    }
    names
}
