//! Committing names: the one place that knows the order objects, barrier, entries, refs.
//!
//! A name on disk never leads to data that a power cut could take away, and a name is never made before what
//! it leads to: entries wait for the barrier, refs for the entries, success for the refs.
//!
//! # Format
//! `docs/formats/repository.md`, section 6; the letters are its steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use super::{Repository, Writer, layout};
use crate::{
    digest::ObjectId,
    disk::{
        barrier, beneath,
        publish::{self, Swap},
    },
    error::{Category, Error, Result, Step},
    name::{RefName, StreamName},
};

/// Names to be made together. Nothing is changed before [`Commit::checkpoint`] or [`Commit::finish`].
#[derive(Debug)]
#[must_use = "a commit does nothing until it is finished"]
pub struct Commit<'w> {
    writer: &'w Writer,
    streams: BTreeMap<StreamName, ObjectId>,
    images: BTreeSet<ObjectId>,
    refs: BTreeMap<(Category, RefName), String>,
    removed: BTreeSet<(Category, RefName)>,
}

impl<'w> Commit<'w> {
    pub(super) const fn new(writer: &'w Writer) -> Self {
        Self {
            writer,
            streams: BTreeMap::new(),
            images: BTreeSet::new(),
            refs: BTreeMap::new(),
            removed: BTreeSet::new(),
        }
    }

    /// Names a stored stream; an entry of that name is replaced.
    pub fn stream(&mut self, name: StreamName, id: ObjectId) -> &mut Self {
        self.streams.insert(name, id);
        self
    }

    /// Names a stored image.
    pub fn image(&mut self, id: ObjectId) -> &mut Self {
        self.images.insert(id);
        self
    }

    /// Makes a ref to a stream, of this commit or there already; a ref of that name is replaced.
    pub fn stream_ref(&mut self, name: RefName, stream: &StreamName) -> &mut Self {
        self.set_ref(Category::Streams, name, stream.as_str().to_owned())
    }

    /// Makes a ref to an image, of this commit or there already; a ref of that name is replaced.
    pub fn image_ref(&mut self, name: RefName, image: &ObjectId) -> &mut Self {
        self.set_ref(Category::Images, name, image.to_hex())
    }

    fn set_ref(&mut self, category: Category, name: RefName, entry: String) -> &mut Self {
        let key = (category, name);
        self.removed.remove(&key);
        self.refs.insert(key, entry);
        self
    }

    /// Removes a ref to a stream; that it does not exist is an error when the commit is finished.
    pub fn remove_stream_ref(&mut self, name: RefName) -> &mut Self {
        self.remove_ref(Category::Streams, name)
    }

    /// Removes a ref to an image; that it does not exist is an error when the commit is finished.
    pub fn remove_image_ref(&mut self, name: RefName) -> &mut Self {
        self.remove_ref(Category::Images, name)
    }

    fn remove_ref(&mut self, category: Category, name: RefName) -> &mut Self {
        let key = (category, name);
        self.refs.remove(&key);
        self.removed.insert(key);
        self
    }

    /// Makes the entries given so far, durably; refs wait. What was finished survives an abort from here on.
    ///
    /// # Errors
    /// [`Error::ObjectMissing`] if an entry's object was not stored, [`Error::Io`]. Entries made before the
    /// error stay; each leads to whole data.
    pub fn checkpoint(&mut self) -> Result<()> {
        let entries = self.entries_to_change()?;
        if !entries.is_empty() || self.writer.state.barrier.is_marked() {
            self.writer.state.barrier.wait()?; // B
            self.make_entries(&entries)?; // C, D
        }
        self.streams.clear();
        self.images.clear();
        Ok(())
    }

    /// Makes all entries and then all refs, durably.
    ///
    /// # Errors
    /// As [`Commit::checkpoint`], and [`Error::NotFound`] if a ref would lead to no entry or a ref to be
    /// removed does not exist; nothing is changed then. After another error some entries and refs may have
    /// been made; each leads to whole data.
    pub fn finish(mut self) -> Result<()> {
        self.check_refs()?;
        let entries = self.entries_to_change()?;
        // Other writers name images without waiting for them to be durable, so a ref to such a one waits here.
        let foreign_image = self.refs.iter().any(|((category, _), entry)| {
            *category == Category::Images && !self.images.iter().any(|image| image.to_hex() == *entry)
        });
        // Without entries to make, objects may have been mended that entries lead to already.
        let waited = !entries.is_empty() || foreign_image || self.writer.state.barrier.is_marked();
        if waited {
            self.writer.state.barrier.wait()?; // B
        }
        self.make_entries(&entries)?; // C, D
        let refs = std::mem::take(&mut self.refs);
        self.make_refs(&refs, waited)?; // E, F
        self.remove_refs()
    }

    /// Returns the entries that are not on disk as wanted; their objects must be there.
    fn entries_to_change(&self) -> Result<Vec<(Category, String, ObjectId)>> {
        let wanted = self
            .streams
            .iter()
            .map(|(name, id)| (Category::Streams, name.as_str().to_owned(), *id))
            .chain(self.images.iter().map(|id| (Category::Images, id.to_hex(), *id)));
        let mut changes = Vec::new();
        for (category, name, id) in wanted {
            if !self.writer.has_object(&id)? {
                return Err(Error::ObjectMissing { id });
            }
            let have = match self.writer.entry(category, &name) {
                // A symlink that leads nowhere is replaced; anything else fails when that is tried.
                Err(Error::BadLink { .. }) => None,
                result => result?,
            };
            if have != Some(id) {
                changes.push((category, name, id));
            }
        }
        Ok(changes)
    }

    fn check_refs(&self) -> Result<()> {
        for ((category, _), entry) in &self.refs {
            let here = match category {
                Category::Streams => self.streams.keys().any(|name| name.as_str() == entry),
                Category::Images => self.images.iter().any(|id| id.to_hex() == *entry),
            };
            let there = || match self.writer.entry(*category, entry)? {
                Some(id) => self.writer.has_object(&id),
                None => Ok(false),
            };
            if !here && !there()? {
                return Err(Error::NotFound { category: *category, name: entry.clone() });
            }
        }
        for (category, name) in &self.removed {
            match self.writer.read_ref(*category, name) {
                // Bad ones may be removed, too.
                Ok(Some(_)) | Err(Error::BadLink { .. }) => {}
                Ok(None) => {
                    let name = format!("{}/{name}", layout::REFS);
                    return Err(Error::NotFound { category: *category, name });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn make_entries(&self, entries: &[(Category, String, ObjectId)]) -> Result<()> {
        let mut touched = Touched::default();
        for category in Category::ALL {
            let mut directory = None;
            for (_, name, id) in entries.iter().filter(|(of, ..)| *of == category) {
                let directory = match &directory {
                    Some(directory) => directory,
                    None => directory.insert(touched.open(self.writer, &[category.directory()])?),
                };
                let path = self.writer.path_of(layout::entry_path(category, name));
                let swap = publish::swap_symlink(
                    self.writer.directory(),
                    directory,
                    name,
                    &layout::entry_target(id),
                )
                .map_err(Error::io(Step::Symlink, path))?;
                touched.note(swap);
            }
        }
        touched.sync(self.writer)
    }

    /// Makes refs; `waited` says that all directories there were are durable.
    fn make_refs(&self, refs: &BTreeMap<(Category, RefName), String>, waited: bool) -> Result<()> {
        if refs.is_empty() {
            return Ok(());
        }
        // D, once more: entries somebody else made may not be durable yet.
        for category in Category::ALL {
            if refs.keys().any(|(of, _)| *of == category)
                && let Some(directory) = self.writer.category_directory(category)?
            {
                barrier::sync(directory, &self.writer.path_of(category.directory()))?;
            }
        }
        // A process that was killed may have made directories and not synced them; a barrier has.
        let mut touched = Touched { parents: !waited, ..Touched::default() };
        for ((category, name), entry) in refs {
            let mut components = vec![category.directory(), layout::REFS];
            components.extend(name.components());
            let Some(last) = components.pop() else { continue };
            let directory = touched.open(self.writer, &components)?;
            let target = layout::ref_target(name.components().count(), entry);
            let path = self.writer.path_of(layout::ref_path(*category, name.as_str()));
            let swap = publish::swap_symlink(self.writer.directory(), directory, last, &target)
                .map_err(Error::io(Step::Symlink, path))?;
            touched.note(swap);
        }
        touched.sync(self.writer)
    }

    fn remove_refs(&self) -> Result<()> {
        for (category, name) in &self.removed {
            remove_ref(self.writer, *category, name)?;
        }
        Ok(())
    }
}

/// Removes one ref, durably; tells whether it was there. Directories it leaves empty stay.
fn remove_ref(repository: &Repository, category: Category, name: &RefName) -> Result<bool> {
    let mut components: Vec<&str> = vec![category.directory(), layout::REFS];
    components.extend(name.components());
    let Some(last) = components.pop() else { return Ok(false) };
    let parents = components.iter().map(|component| component.as_bytes());
    let Some(directory) = beneath::open_directory(repository.directory(), repository.path(), parents)? else {
        return Ok(false);
    };
    let path = repository.path_of(layout::ref_path(category, name.as_str()));
    let removed = publish::remove(&directory, last).map_err(Error::io(Step::Unlink, &path))?;
    barrier::sync(&directory, path.parent().unwrap_or(&path))?;
    Ok(removed)
}

/// The directories in which names were made, and that are to be synced.
#[derive(Default)]
struct Touched {
    directories: BTreeMap<PathBuf, OwnedFd>,
    root: bool,
    /// Whether directories above count as touched, though they were there.
    parents: bool,
}

impl Touched {
    /// Opens a directory, making it and its parents where they are missing; all that gain a name are noted.
    fn open(&mut self, writer: &Writer, components: &[&str]) -> Result<OwnedFd> {
        let modes = writer.state.modes();
        let mut at: Option<OwnedFd> = None;
        let mut path = PathBuf::new();
        for component in components {
            let parent = at.as_ref().map_or_else(|| writer.directory(), AsFd::as_fd);
            let full = writer.path_of(path.join(component));
            let made =
                modes.make_directory(parent, *component).map_err(Error::io(Step::MakeDirectory, &full))?;
            if made || self.parents {
                match &at {
                    None => self.root = true,
                    Some(parent) => self.keep(&path, parent)?,
                }
            }
            let opened = beneath::open_directory(parent, &writer.path_of(&path), [component.as_bytes()])?;
            let opened = opened.ok_or_else(|| Error::io(Step::Open, full)(rustix::io::Errno::NOENT))?;
            path.push(component);
            at = Some(opened);
        }
        let directory = at.ok_or_else(|| Error::io(Step::Open, writer.path())(rustix::io::Errno::NOENT))?;
        self.keep(&path, &directory)?;
        Ok(directory)
    }

    fn keep(&mut self, path: &std::path::Path, directory: &OwnedFd) -> Result<()> {
        if !self.directories.contains_key(path) {
            let copy = directory.try_clone().map_err(Error::io(Step::Open, path))?;
            self.directories.insert(path.to_owned(), copy);
        }
        Ok(())
    }

    fn note(&mut self, swap: Swap) {
        // The temporary symlink was a name in the root.
        self.root |= swap == Swap::Replaced;
    }

    /// Syncs the deepest first, so that a directory is whole before its name is.
    fn sync(&self, writer: &Writer) -> Result<()> {
        for (path, directory) in self.directories.iter().rev() {
            barrier::sync(directory, &writer.path_of(path))?;
        }
        if self.root {
            barrier::sync(writer.directory(), writer.path())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
