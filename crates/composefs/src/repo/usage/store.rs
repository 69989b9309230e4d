//! One look at every file in the store.

use std::{
    collections::HashMap,
    ffi::{CStr, CString},
    os::fd::BorrowedFd,
    sync::{Mutex, PoisonError},
};

use rustix::fs::FileType;

use super::{
    super::{
        Repository, fan_out, layout,
        session::{Time, changed},
    },
    Amount,
    sets::Sets,
};
use crate::{
    digest::ObjectId,
    disk::{
        beneath::{self, Listed},
        publish::{META_PREFIX, OBJECT_PREFIX, SYMLINK_PREFIX},
    },
    error::{Error, Result, Step},
};

/// A block as `st_blocks` counts.
const BLOCK: u64 = 512;

/// What is there in one directory: by set, and whether it is new.
type Part = HashMap<(usize, bool), Amount>;

/// What is there.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// For each set, what is there of the objects that have it.
    pub(super) amounts: Vec<Amount>,
    /// As much of it as is new.
    pub(super) recent: Vec<Amount>,
    pub(super) temporaries: u64,
    pub(super) temporary_bytes: u64,
    pub(super) problems: Vec<Error>,
}

/// Looks at all objects, on all cores.
///
/// New is what was named, or changed otherwise, since `since`.
pub(super) fn look(repository: &Repository, sets: &Sets, since: Option<Time>) -> Result<Found> {
    let none = vec![Amount::default(); sets.len()];
    let mut found = Found { amounts: none.clone(), recent: none, ..Found::default() };
    find_temporaries(repository, repository.directory(), "", &[SYMLINK_PREFIX, META_PREFIX], &mut found)?;
    let Some(objects) = repository.objects()? else { return Ok(found) };
    let listed = find_temporaries(repository, objects, layout::OBJECTS, &[OBJECT_PREFIX], &mut found)?;
    let prefixes: Vec<CString> = listed
        .into_iter()
        .filter(|listed| listed.kind == FileType::Directory && listed.name.as_bytes().len() == 2)
        .map(|listed| listed.name)
        .collect();
    let all = Mutex::new(found);
    fan_out::each(&prefixes, fan_out::processors(), |prefix| {
        let mut part = Part::new();
        let mut problems = Vec::new();
        if let Err(error) = look_below(repository, objects, prefix, (sets, since), &mut part, &mut problems) {
            problems.push(error);
        }
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        for ((set, is_recent), amount) in part {
            if let Some(sum) = all.amounts.get_mut(set) {
                sum.add(&amount);
            }
            if let Some(sum) = all.recent.get_mut(set).filter(|_| is_recent) {
                sum.add(&amount);
            }
        }
        all.problems.append(&mut problems);
        drop(all);
        Ok(())
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Counts the temporaries of a directory; returns all that is in it.
fn find_temporaries(
    repository: &Repository,
    directory: BorrowedFd<'_>,
    below: &str,
    prefixes: &[&str],
    found: &mut Found,
) -> Result<Vec<Listed>> {
    let path = repository.path_of(below);
    let listed = beneath::list(directory).map_err(Error::io(Step::List, &path))?;
    for Listed { name, kind } in &listed {
        let is_ours = |prefix: &&str| name.as_bytes().starts_with(prefix.as_bytes());
        if *kind == FileType::Directory || !prefixes.iter().any(is_ours) {
            continue;
        }
        if let Ok(Some(stat)) = beneath::stat(directory, name) {
            found.temporaries = found.temporaries.saturating_add(1);
            found.temporary_bytes = found.temporary_bytes.saturating_add(beneath::size(&stat));
        }
    }
    Ok(listed)
}

fn look_below(
    repository: &Repository,
    objects: BorrowedFd<'_>,
    prefix: &CString,
    (sets, since): (&Sets, Option<Time>),
    part: &mut Part,
    problems: &mut Vec<Error>,
) -> Result<()> {
    let path = repository.path_of(layout::OBJECTS);
    let Some(directory) = beneath::open_directory(objects, &path, [prefix.as_bytes()])? else {
        return Ok(());
    };
    let mut hex = prefix.as_bytes().to_vec();
    let mut each = |name: &CStr, kind: FileType| {
        hex.truncate(prefix.as_bytes().len());
        hex.extend_from_slice(name.to_bytes());
        if kind == FileType::Directory || hex.iter().any(u8::is_ascii_uppercase) {
            return;
        }
        let Ok(id) = ObjectId::from_hex(repository.algorithm(), &hex) else { return };
        match beneath::stat(&directory, name) {
            Ok(Some(stat)) => {
                let is_recent = since.is_some_and(|since| changed(&stat) >= since);
                part.entry((sets.set_of(&id), is_recent)).or_default().add(&Amount {
                    objects: 1,
                    bytes: beneath::size(&stat),
                    disk_bytes: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK),
                });
            }
            Ok(None) => {}
            Err(errno) => problems.push(repository.object_error(Step::Stat, &id, errno.into())),
        }
    };
    let full = path.join(beneath::os(prefix.as_bytes()));
    beneath::each(&directory, &mut each).map_err(Error::io(Step::List, full))
}
