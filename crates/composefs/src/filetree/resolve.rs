//! Paths looked up as the kernel would with the tree as its root: symlinks followed, never out of it.
//!
//! # Format
//! `path_resolution(7)`: `..` of the root is the root, an absolute target begins there.

use super::{DEPTH_MAX, FileTree, InodeId, InodeKind, Name, TreeError};

/// The most symlinks on the way, as the kernel has it.
pub const SYMLINKS_MAX: usize = 40;

/// The most components that are walked, those of symlinks' targets included: no path the kernel takes has more.
const STEPS_MAX: usize = SYMLINKS_MAX * 4096;

/// What becomes of a symlink at the end of a path. One before the end is always followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastLink {
    /// Where it leads is found.
    #[default]
    Follow,
    /// The symlink itself is found, unless the path ends in a slash.
    Keep,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved<'t> {
    /// What is there.
    pub inode: InodeId,
    /// Its names from the root, without symlinks; none for the root itself.
    pub names: Vec<&'t Name>,
}

impl Resolved<'_> {
    /// Returns the absolute path without symlinks.
    #[must_use]
    pub fn path(&self) -> Vec<u8> {
        if self.names.is_empty() {
            return b"/".to_vec();
        }
        self.names.iter().flat_map(|name| std::iter::once(&b'/').chain(name.as_bytes())).copied().collect()
    }
}

impl FileTree {
    /// Looks a path up, from the root whether it begins with a slash or not.
    ///
    /// # Errors
    /// [`TreeError::NotFound`], [`TreeError::NotADirectory`], [`TreeError::Symlinks`] with the path as given.
    pub fn resolve(&self, path: &[u8], last: LastLink) -> Result<Resolved<'_>, TreeError> {
        let mut at: Vec<(&Name, InodeId)> = Vec::new();
        // What is still to be walked, the next one last.
        let mut pending: Vec<&[u8]> = path.split(|byte| *byte == b'/').rev().collect();
        let here = |at: &[(&Name, InodeId)]| at.last().map_or(InodeId::ROOT, |(_, inode)| *inode);
        let (mut links, mut steps) = (0_usize, 0_usize);
        while let Some(component) = pending.pop() {
            steps = steps.saturating_add(1);
            if steps > STEPS_MAX {
                return Err(TreeError::Symlinks(path.to_vec()));
            }
            match component {
                // A slash at the end: what is before it is a directory.
                b"" | b"." => {
                    self.entries(here(&at)).ok_or_else(|| TreeError::NotADirectory(path.to_vec()))?;
                    continue;
                }
                b".." => {
                    self.entries(here(&at)).ok_or_else(|| TreeError::NotADirectory(path.to_vec()))?;
                    at.pop();
                    continue;
                }
                _ => {}
            }
            let entries = self.entries(here(&at)).ok_or_else(|| TreeError::NotADirectory(path.to_vec()))?;
            let (name, &inode) =
                entries.get_key_value(component).ok_or_else(|| TreeError::NotFound(path.to_vec()))?;
            match &self.inode(inode).kind {
                InodeKind::Symlink(target) if last == LastLink::Follow || !pending.is_empty() => {
                    links = links.saturating_add(1);
                    if links > SYMLINKS_MAX {
                        return Err(TreeError::Symlinks(path.to_vec()));
                    }
                    if target.is_empty() {
                        return Err(TreeError::NotFound(path.to_vec()));
                    }
                    if target.starts_with(b"/") {
                        at.clear();
                    }
                    pending.extend(target.split(|byte| *byte == b'/').rev());
                }
                _ if at.len() > DEPTH_MAX => return Err(TreeError::TooDeep),
                _ => at.push((name, inode)),
            }
        }
        Ok(Resolved { inode: here(&at), names: at.into_iter().map(|(name, _)| name).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Inode, Regular, Stat};
    use super::*;

    /// `/usr/bin/sh`, `/bin -> usr/bin`, `/abs -> /usr/bin`, `/up -> ../../usr`, `/loop -> loop`, `/empty` of no target.
    fn tree() -> FileTree {
        let mut tree = FileTree::new(Stat::default());
        let directory =
            || Inode { stat: Stat::default(), kind: InodeKind::Directory(super::super::Entries::new()) };
        let name = |text: &str| Name::new(text.as_bytes()).unwrap();
        let usr = tree.insert(InodeId::ROOT, name("usr"), directory()).unwrap();
        let bin = tree.insert(usr, name("bin"), directory()).unwrap();
        let file = InodeKind::Regular(Regular::Inline(b"x".as_slice().into()));
        tree.insert(bin, name("sh"), Inode { stat: Stat::default(), kind: file }).unwrap();
        for (link, target) in
            [("bin", "usr/bin"), ("abs", "/usr/bin/"), ("up", "../../usr"), ("loop", "loop"), ("empty", "")]
        {
            let kind = InodeKind::Symlink(target.as_bytes().into());
            tree.insert(InodeId::ROOT, name(link), Inode { stat: Stat::default(), kind }).unwrap();
        }
        tree
    }

    fn found(path: &str, last: LastLink) -> Result<String, TreeError> {
        tree().resolve(path.as_bytes(), last).map(|found| String::from_utf8(found.path()).unwrap())
    }

    #[test]
    fn links_lead_to_what_the_kernel_would_find() {
        for (path, real) in [
            ("", "/"),
            ("/", "/"),
            ("..", "/"),
            ("/bin/sh", "/usr/bin/sh"),
            ("bin//./sh", "/usr/bin/sh"),
            ("/abs/sh", "/usr/bin/sh"),
            ("/up/bin/../bin/sh", "/usr/bin/sh"),
            ("/usr/bin/../../../..", "/"),
            ("/bin", "/usr/bin"),
        ] {
            assert_eq!(found(path, LastLink::Follow).as_deref(), Ok(real), "{path}");
        }
    }

    #[test]
    fn the_last_link_is_kept_when_asked() {
        assert_eq!(found("/bin", LastLink::Keep).as_deref(), Ok("/bin"));
        assert_eq!(found("/bin/", LastLink::Keep).as_deref(), Ok("/usr/bin"));
        assert_eq!(found("/bin/sh", LastLink::Keep).as_deref(), Ok("/usr/bin/sh"));
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        let follow = |path| found(path, LastLink::Follow);
        assert!(matches!(follow("/usr/lib"), Err(TreeError::NotFound(_))));
        assert!(matches!(follow("/empty"), Err(TreeError::NotFound(_))));
        assert!(matches!(follow("/bin/sh/"), Err(TreeError::NotADirectory(_))));
        assert!(matches!(follow("/bin/sh/.."), Err(TreeError::NotADirectory(_))));
        assert!(matches!(follow("/loop"), Err(TreeError::Symlinks(_))));
    }
}
