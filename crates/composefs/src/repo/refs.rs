//! Refs: names that keep streams and images, symlinks to entries in a tree of directories.
//!
//! # Format
//! `docs/formats/repository.md`, sections 1 and 4.

use std::ffi::CString;

use rustix::{fs::FileType, io::Errno};

use super::{Repository, layout};
use crate::{
    disk::beneath::{self, Listed},
    error::{Category, Error, LinkFault, Result, Step},
    name::{REF_COMPONENTS_MAX, RefName},
};

/// A ref as it is on disk, good or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefLink {
    /// The path below `refs/`, or below the prefix that was asked for.
    pub name: Vec<u8>,
    /// The entry it leads to, or why it leads to none.
    pub target: std::result::Result<String, LinkFault>,
}

impl RefLink {
    /// Returns the name as text, if it is text.
    #[must_use]
    pub fn name_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.name).ok()
    }
}

impl Repository {
    /// Reads one ref: the name of the entry it leads to; `None` if there is no such ref.
    ///
    /// # Errors
    /// [`Error::BadLink`] if the name is no symlink to an entry, [`Error::Io`].
    pub fn read_ref(&self, category: Category, name: &RefName) -> Result<Option<String>> {
        let path = || self.path_of(layout::ref_path(category, name.as_str()));
        let mut components: Vec<&[u8]> = name.components().map(str::as_bytes).collect();
        let Some(last) = components.pop() else { return Ok(None) };
        let parents =
            [category.directory().as_bytes(), layout::REFS.as_bytes()].into_iter().chain(components);
        let directory = match beneath::open_directory(self.directory(), self.path(), parents) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotADirectory => None,
            result => result?,
        };
        let Some(directory) = directory else { return Ok(None) };
        let fault = match beneath::read_link(&directory, last) {
            Ok(None) => return Ok(None),
            Ok(Some(target)) => match layout::parse_ref_target(&target) {
                Ok(entry) => return Ok(Some(entry)),
                Err(fault) => fault,
            },
            Err(Errno::INVAL) => LinkFault::NotASymlink,
            Err(errno) => return Err(Error::io(Step::ReadLink, path())(errno)),
        };
        Err(Error::BadLink { path: path(), fault })
    }

    /// Lists the refs below `refs/` (an empty prefix) or a directory in it, with the entries they name.
    ///
    /// Names are relative to the prefix and in byte order. Refs that are no good are left out; fsck shows
    /// them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn refs(&self, category: Category, prefix: &str) -> Result<Vec<(String, String)>> {
        let links = self.ref_links(category, prefix)?;
        Ok(links
            .into_iter()
            .filter_map(|link| Some((link.name_str()?.to_owned(), link.target.ok()?)))
            .collect())
    }

    /// Lists refs, bad ones included: as [`Repository::refs`], with everything that is there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn ref_links(&self, category: Category, prefix: &str) -> Result<Vec<RefLink>> {
        let base: Vec<CString> = [category.directory(), layout::REFS]
            .into_iter()
            .chain(prefix.split('/').filter(|component| !component.is_empty()))
            .filter_map(|component| CString::new(component).ok())
            .collect();
        let mut links = Vec::new();
        let mut pending: Vec<Vec<CString>> = vec![Vec::new()];
        while let Some(below) = pending.pop() {
            let components = base.iter().chain(&below).map(|component| component.as_bytes());
            let mut path = self.path().to_owned();
            path.extend(components.clone().map(beneath::os));
            let Some(directory) = beneath::open_directory(self.directory(), self.path(), components)? else {
                continue;
            };
            for Listed { name, kind } in beneath::list(&directory).map_err(Error::io(Step::List, &path))? {
                if kind == FileType::Directory && below.len().saturating_add(1) < REF_COMPONENTS_MAX {
                    let mut deeper = below.clone();
                    deeper.push(name);
                    pending.push(deeper);
                    continue;
                }
                let target = if kind == FileType::Symlink {
                    let read = beneath::read_link(&directory, &name)
                        .map_err(Error::io(Step::ReadLink, path.join(beneath::os(name.as_bytes()))))?;
                    let Some(target) = read else { continue };
                    layout::parse_ref_target(&target)
                } else if kind == FileType::Directory {
                    Err(LinkFault::TooDeep)
                } else {
                    Err(LinkFault::NotASymlink)
                };
                let full: Vec<&[u8]> =
                    below.iter().chain([&name]).map(|component| component.as_bytes()).collect();
                links.push(RefLink { name: full.join(&b'/'), target });
            }
        }
        links.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(links)
    }
}
