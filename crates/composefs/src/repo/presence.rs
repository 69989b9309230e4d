//! Looking for many objects at once.
//!
//! Most of what is asked for is there, and reading a directory costs a fraction of a look at each name in it. So
//! directories are read where a good part of their names is asked for; how many they have is guessed by their size.

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::fs::{FileType, fstat};

use super::{Repository, fan_out, layout};
use crate::{
    digest::ObjectId,
    disk::beneath,
    error::{Error, Result, Step},
};

/// A look at a name costs as much as reading so many.
const NAMES_PER_LOOK: usize = 6;
/// For fewer names a directory is not read, whatever its size says: some file systems tell none.
const READ_FROM: usize = 4;
/// What file systems need for a name beside its letters, at least.
const PER_NAME: usize = 8;
/// A thread for fewer objects would cost more than it saves.
const PER_THREAD: usize = 2048;

impl Repository {
    /// Tells whether all these objects are there: regular files of these names, whatever they hold.
    ///
    /// # Errors
    /// As [`Repository::has_object`].
    pub fn has_objects(&self, ids: impl IntoIterator<Item = ObjectId>) -> Result<bool> {
        let mut ids: Vec<ObjectId> = ids.into_iter().collect();
        for id in &ids {
            self.check_id(id)?;
        }
        let Some(objects) = self.objects()? else { return Ok(ids.is_empty()) };
        ids.sort_unstable();
        ids.dedup();
        let threads = fan_out::processors().min(ids.len().div_ceil(PER_THREAD));
        let groups: Vec<&[ObjectId]> =
            ids.chunk_by(|a, b| a.as_bytes().first() == b.as_bytes().first()).collect();
        let all = AtomicBool::new(true);
        fan_out::each(&groups, threads, |group| {
            if all.load(Ordering::Relaxed) && !self.has_group(objects, group)? {
                all.store(false, Ordering::Relaxed);
            }
            Ok(())
        })?;
        Ok(all.into_inner())
    }

    /// Looks for objects of one directory, which are sorted.
    fn has_group(&self, objects: BorrowedFd<'_>, group: &[ObjectId]) -> Result<bool> {
        let Some(first) = group.first() else { return Ok(true) };
        let prefix = first.object_directory();
        let path = self.path_of(layout::OBJECTS);
        let Some(directory) = beneath::open_directory(objects, &path, [prefix.as_bytes()])? else {
            return Ok(false);
        };
        let names: Vec<String> = group.iter().map(ObjectId::object_file_name).collect();
        let size = fstat(&directory).map(|stat| beneath::size(&stat));
        let size = size.map_err(Error::io(Step::Stat, path.join(&prefix)))?;
        let room = names.first().map_or(1, String::len).saturating_add(PER_NAME);
        let at_most = usize::try_from(size).unwrap_or(usize::MAX) / room;
        let mut found = vec![false; names.len()];
        if names.len() >= READ_FROM && names.len().saturating_mul(NAMES_PER_LOOK) >= at_most {
            beneath::each(&directory, &mut |name, kind| {
                // Where no kind is told, the name is looked at below.
                if kind == FileType::RegularFile
                    && let Ok(at) = names.binary_search_by(|wanted| wanted.as_bytes().cmp(name.to_bytes()))
                    && let Some(found) = found.get_mut(at)
                {
                    *found = true;
                }
            })
            .map_err(Error::io(Step::List, path.join(&prefix)))?;
        }
        for ((name, id), _) in names.iter().zip(group).zip(&found).filter(|(_, found)| !**found) {
            let stat = beneath::stat(directory.as_fd(), name.as_str())
                .map_err(|errno| self.object_error(Step::Stat, id, errno.into()))?;
            if !stat.is_some_and(|stat| beneath::kind(&stat) == FileType::RegularFile) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
