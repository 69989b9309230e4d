//! Finding and reading the policy of a tree.

use std::io;

use super::{
    BootError, BootLimits, SpecFault,
    matcher::{Builder, Labels},
    resolve::resolve,
    spec,
    subs::Substitutions,
};
use crate::filetree::{FileTree, InodeKind, Regular};

/// Reads a file that the tree has no contents of, given the components of its path in the tree.
///
/// The path leads through no symlink of the tree. The caller must not read more than the size that the file
/// has in the tree.
pub type ReadPolicy<'r> = dyn FnMut(&[&[u8]], &Regular) -> io::Result<Vec<u8>> + 'r;

const CONFIG: &str = "etc/selinux/config";

struct Files<'a, 'r> {
    tree: &'a FileTree,
    read: &'a mut ReadPolicy<'r>,
    limits: &'a BootLimits,
}

impl Files<'_, '_> {
    fn get(&mut self, path: &str) -> Result<Option<Vec<u8>>, BootError> {
        let Some(found) = resolve(self.tree, path.as_bytes())? else { return Ok(None) };
        let path = || format!("/{path}");
        let InodeKind::Regular(regular) = &self.tree.inode(found.inode).kind else {
            return Err(BootError::NotAFile { path: path() });
        };
        let limit = self.limits.file_bytes;
        let check = |size: u64| {
            if size > limit { Err(BootError::TooLarge { path: path(), size, limit }) } else { Ok(()) }
        };
        check(regular.size())?;
        if let Regular::Inline(contents) = regular {
            return Ok(Some(contents.to_vec()));
        }
        let contents =
            (self.read)(&found.path, regular).map_err(|source| BootError::Read { path: path(), source })?;
        check(contents.len() as u64)?;
        Ok(Some(contents))
    }
}

fn line_error(path: &str, line: u64) -> impl FnOnce(SpecFault) -> BootError {
    move |source| BootError::Line { path: format!("/{path}"), line, source }
}

/// Finds the name of the policy: the value of the first line `SELINUXTYPE = NAME`, in any case.
fn policy_name(config: &[u8]) -> Result<Option<&str>, BootError> {
    for (number, line) in (1..).zip(config.split(|byte| *byte == b'\n')) {
        let line = std::str::from_utf8(line).map_err(|_| line_error(CONFIG, number)(SpecFault::Encoding))?;
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        if let Some((key, value)) = line.split_once('=')
            && key.trim().eq_ignore_ascii_case("SELINUXTYPE")
        {
            return Ok(Some(value.trim()));
        }
    }
    Ok(None)
}

/// Reads the lines of a policy file that are neither empty nor comments, as fields between white space.
fn each_line(
    path: &str,
    contents: &[u8],
    mut take: impl FnMut(&str) -> Result<(), SpecFault>,
) -> Result<(), BootError> {
    let text = std::str::from_utf8(contents).map_err(|_| line_error(path, 0)(SpecFault::Encoding))?;
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            take(line).map_err(line_error(path, number))?;
        }
    }
    Ok(())
}

/// Reads the policy of a tree; `None` if the tree names none.
pub(super) fn load(
    tree: &FileTree,
    read: &mut ReadPolicy<'_>,
    limits: &BootLimits,
) -> Result<Option<Labels>, BootError> {
    let mut files = Files { tree, read, limits };
    let Some(config) = files.get(CONFIG)? else { return Ok(None) };
    let Some(name) = policy_name(&config)? else { return Ok(None) };
    let base = format!("etc/selinux/{name}/contexts/files/file_contexts");
    if name.is_empty() {
        return Err(BootError::NoPolicy { path: format!("/{base}") });
    }
    let mut builder = Builder::new(limits);
    // The later file wins, and the later line in a file.
    for suffix in ["", ".local", ".homedirs"] {
        let path = format!("{base}{suffix}");
        match files.get(&path)? {
            Some(contents) => {
                let mut many = false;
                each_line(&path, &contents, |line| {
                    many = many || !builder.add(spec::parse(line)?)?;
                    Ok(())
                })?;
                if many {
                    return Err(BootError::TooMany(limits.specs));
                }
            }
            None if suffix.is_empty() => return Err(BootError::NoPolicy { path: format!("/{path}") }),
            None => {}
        }
    }
    let mut substitutions = Substitutions::default();
    for suffix in [".subs", ".subs_dist"] {
        let path = format!("{base}{suffix}");
        if let Some(contents) = files.get(&path)? {
            each_line(&path, &contents, |line| substitutions.add(line))?;
        }
    }
    builder.build(substitutions).map(Some)
}
