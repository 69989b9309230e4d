//! Entries: the first-level names of streams and images, each a symlink to an object.
//!
//! Targets are read, never followed: an entry can lead to an object of this repository and nowhere else.
//!
//! # Format
//! `docs/formats/repository.md`, sections 1 and 4.

use std::os::fd::OwnedFd;

use rustix::{fs::FileType, io::Errno};

use super::{Repository, layout};
use crate::{
    digest::ObjectId,
    disk::beneath::{self, Listed},
    error::{Category, Error, LinkFault, Result, Step},
    name::{RefName, StreamName, encode_component},
};

/// A first-level name as it is on disk, good or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryLink {
    /// The file name.
    pub name: Vec<u8>,
    /// The object it leads to, or why it leads to none.
    pub target: std::result::Result<ObjectId, LinkFault>,
}

impl EntryLink {
    /// Returns the name as text, if it is text.
    #[must_use]
    pub fn name_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.name).ok()
    }
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The first-level name.
    pub entry: String,
    /// The object.
    pub id: ObjectId,
}

/// The prefixes tried for a bare sha256 in hex, in order.
const STREAM_PREFIXES: [&str; 4] =
    ["oci-layer-sha256:", "oci-config-sha256:", "oci-manifest-sha256:", "oci-blob-sha256:"];

impl Repository {
    /// Opens a category's directory; `None` while it does not exist.
    pub(super) fn category_directory(&self, category: Category) -> Result<Option<OwnedFd>> {
        beneath::open_directory(self.directory(), self.path(), [category.directory().as_bytes()])
    }

    /// Reads one entry; `None` if there is no such name.
    ///
    /// # Errors
    /// [`Error::BadLink`] if the name is no symlink to an object, [`Error::Io`].
    pub fn entry(&self, category: Category, name: &str) -> Result<Option<ObjectId>> {
        if name.is_empty()
            || name == "."
            || name == ".."
            || name.contains(['/', '\0'])
            || name == layout::REFS
        {
            return Ok(None);
        }
        let Some(directory) = self.category_directory(category)? else { return Ok(None) };
        let path = || self.path_of(layout::entry_path(category, name));
        let fault = match beneath::read_link(&directory, name) {
            Ok(None) => return Ok(None),
            Ok(Some(target)) => match layout::parse_entry_target(self.algorithm(), &target) {
                Ok(id) => return Ok(Some(id)),
                Err(fault) => fault,
            },
            Err(Errno::INVAL) => LinkFault::NotASymlink,
            Err(Errno::NAMETOOLONG) => return Ok(None),
            Err(errno) => return Err(Error::io(Step::ReadLink, path())(errno)),
        };
        Err(Error::BadLink { path: path(), fault })
    }

    /// Returns the object of a stream; `None` if there is no such entry.
    ///
    /// # Errors
    /// As [`Repository::entry`].
    pub fn stream_entry(&self, name: &StreamName) -> Result<Option<ObjectId>> {
        self.entry(Category::Streams, name.as_str())
    }

    /// Returns the object of an image, which is the image's id; `None` if there is no such entry.
    ///
    /// # Errors
    /// As [`Repository::entry`], and [`Error::ObjectMismatch`] if the entry leads to another object.
    pub fn image_entry(&self, id: &ObjectId) -> Result<Option<ObjectId>> {
        self.check_id(id)?;
        match self.entry(Category::Images, &id.to_hex())? {
            Some(actual) if actual != *id => Err(Error::ObjectMismatch { id: *id, actual }),
            found => Ok(found),
        }
    }

    /// Lists all entries of a category, bad ones included, in byte order of the names.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn entries(&self, category: Category) -> Result<Vec<EntryLink>> {
        let Some(directory) = self.category_directory(category)? else { return Ok(Vec::new()) };
        let path = self.path_of(category.directory());
        let mut entries = Vec::new();
        for Listed { name, kind } in beneath::list(&directory).map_err(Error::io(Step::List, &path))? {
            if name.as_bytes() == layout::REFS.as_bytes() {
                continue;
            }
            let target = if kind == FileType::Symlink {
                let read = beneath::read_link(&directory, &name)
                    .map_err(Error::io(Step::ReadLink, path.join(beneath::os(name.as_bytes()))))?;
                // Gone since it was listed.
                let Some(target) = read else { continue };
                layout::parse_entry_target(self.algorithm(), &target)
            } else {
                Err(LinkFault::NotASymlink)
            };
            entries.push(EntryLink { name: name.into_bytes(), target });
        }
        Ok(entries)
    }

    /// Lists the streams, in byte order of the names. Entries that are no good are left out; fsck shows them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn stream_entries(&self) -> Result<Vec<(StreamName, ObjectId)>> {
        let entries = self.entries(Category::Streams)?;
        Ok(entries
            .iter()
            .filter_map(|entry| {
                Some((StreamName::new(entry.name_str()?).ok()?, *entry.target.as_ref().ok()?))
            })
            .collect())
    }

    /// Lists the images, sorted. Entries that are no good are left out; fsck shows them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn image_entries(&self) -> Result<Vec<ObjectId>> {
        let entries = self.entries(Category::Images)?;
        Ok(entries
            .iter()
            .filter_map(|entry| {
                let id = ObjectId::from_hex(self.algorithm(), &entry.name).ok()?;
                (entry.target == Ok(id)).then_some(id)
            })
            .collect())
    }

    /// Finds a stream by its path below `streams/`: an identifier, `refs/…`, or the bare hex of a sha256.
    ///
    /// A ref that does not exist is looked for below `refs/oci/`, too, encoded as a tag. Bare hex is tried as
    /// an identifier, then as a layer's, a config's, a manifest's and a blob's.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::BadLink`]; [`Error::Io`].
    pub fn resolve_stream(&self, name: &str) -> Result<Resolved> {
        let category = Category::Streams;
        let not_found = || Error::NotFound { category, name: name.to_owned() };
        let found =
            |entry: String| self.entry(category, &entry).map(|id| id.map(|id| Resolved { entry, id }));
        if let Some(rest) = name.strip_prefix("refs/") {
            for path in [rest.to_owned(), format!("oci/{}", encode_component(rest))] {
                let Ok(path) = RefName::new(path) else { continue };
                if let Some(entry) = self.read_ref(category, &path)? {
                    return found(entry)?.ok_or_else(not_found);
                }
            }
            return Err(not_found());
        }
        if let Some(resolved) = found(name.to_owned())? {
            return Ok(resolved);
        }
        if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            for prefix in STREAM_PREFIXES {
                if let Some(resolved) = found(format!("{prefix}{name}"))? {
                    return Ok(resolved);
                }
            }
        }
        Err(not_found())
    }

    /// Finds an image: by its id, by `refs/…`, or by a bare name below `images/refs/`.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::BadLink`]; [`Error::ObjectMismatch`] if an entry leads to another object
    /// than its name says; [`Error::Io`].
    pub fn resolve_image(&self, name: &str) -> Result<Resolved> {
        let category = Category::Images;
        let not_found = || Error::NotFound { category, name: name.to_owned() };
        let by_id = |entry: String| match ObjectId::from_hex(self.algorithm(), &entry) {
            Ok(id) => Ok(self.image_entry(&id)?.map(|id| Resolved { entry: id.to_hex(), id })),
            Err(_) => Ok::<_, Error>(None),
        };
        if let Some(resolved) = by_id(name.to_owned())? {
            return Ok(resolved);
        }
        let path = match name.strip_prefix("refs/") {
            Some(path) => path,
            None if name.contains('/') => return Err(not_found()),
            None => name,
        };
        let path = RefName::new(path).map_err(|_| not_found())?;
        let entry = self.read_ref(category, &path)?.ok_or_else(not_found)?;
        by_id(entry)?.ok_or_else(not_found)
    }
}
