//! Finding the objects that nothing needs: one look at every name in the store.

use std::{
    ffi::{CStr, CString},
    os::fd::BorrowedFd,
    path::Path,
    sync::{Mutex, PoisonError},
};

use rustix::fs::FileType;

use super::{
    super::{
        Repository, fan_out, layout,
        reach::Reach,
        session::{Time, changed},
    },
    Garbage, path_text,
};
use crate::{
    digest::ObjectId,
    disk::{
        beneath::{self, Listed},
        publish::OBJECT_PREFIX,
    },
    error::{Error, Result, Step},
};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Objects that nothing needs, by id.
    pub(super) objects: Vec<Garbage>,
    /// Names that are none of an object's, sorted paths below the repository.
    pub(super) foreign: Vec<String>,
    /// How many objects nothing needs and yet stay, since they are new.
    pub(super) spared: usize,
}

/// Looks at all objects, on all cores: with nothing to do this is most of a collection. What was named, or changed
/// otherwise, since `spare` is no garbage.
pub(super) fn find(repository: &Repository, reach: &Reach, spare: Option<Time>) -> Result<Found> {
    let Some(objects) = repository.objects()? else { return Ok(Found::default()) };
    let path = repository.path_of(layout::OBJECTS);
    let mut found = Found::default();
    let mut prefixes = Vec::new();
    for Listed { name, kind } in beneath::list(objects).map_err(Error::io(Step::List, &path))? {
        let digits = name.as_bytes();
        if kind == FileType::Directory && digits.len() == 2 && digits.iter().all(is_lower_hex) {
            prefixes.push(name);
        } else if !digits.starts_with(OBJECT_PREFIX.as_bytes()) {
            found.foreign.push(path_text(layout::OBJECTS, digits));
        }
    }
    let all = Mutex::new(found);
    fan_out::each(&prefixes, fan_out::processors(), |prefix| {
        let mut part = look(repository, objects, &path, prefix, (reach, spare))?;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.objects.append(&mut part.objects);
        all.foreign.append(&mut part.foreign);
        all.spared = all.spared.saturating_add(part.spared);
        Ok(())
    })?;
    let mut found = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    // A plan must not depend on threads or on the order a file system lists names in.
    found.objects.sort_unstable_by_key(|garbage| garbage.id);
    found.foreign.sort_unstable();
    Ok(found)
}

const fn is_lower_hex(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn look(
    repository: &Repository,
    objects: BorrowedFd<'_>,
    path: &Path,
    prefix: &CString,
    (reach, spare): (&Reach, Option<Time>),
) -> Result<Found> {
    let mut found = Found::default();
    let Some(directory) = beneath::open_directory(objects, path, [prefix.as_bytes()])? else {
        return Ok(found);
    };
    let full = path.join(beneath::os(prefix.as_bytes()));
    let mut hex = prefix.as_bytes().to_vec();
    let mut failed = Ok(());
    let mut each = |name: &CStr, kind: FileType| {
        hex.truncate(prefix.as_bytes().len());
        hex.extend_from_slice(name.to_bytes());
        // An upper-case name is another file than the id's.
        let id = ObjectId::from_hex(repository.algorithm(), &hex)
            .ok()
            .filter(|_| kind != FileType::Directory && !hex.iter().any(u8::is_ascii_uppercase));
        let Some(id) = id else {
            let directory = path_text(layout::OBJECTS, prefix.as_bytes());
            found.foreign.push(path_text(&directory, name.to_bytes()));
            return;
        };
        if reach.is_live(&id) || failed.is_err() {
            return;
        }
        match beneath::stat(&directory, name) {
            Ok(Some(stat)) if spare.is_some_and(|since| changed(&stat) >= since) => {
                found.spared = found.spared.saturating_add(1);
            }
            Ok(Some(stat)) => found.objects.push(Garbage { id, size: beneath::size(&stat) }),
            Ok(None) => {}
            Err(errno) => failed = Err(repository.object_error(Step::Stat, &id, errno.into())),
        }
    };
    beneath::each(&directory, &mut each).map_err(Error::io(Step::List, full))?;
    failed.map(|()| found)
}
