//! Lines of dumpfiles from nested trees.
//!
//! # Format
//! `docs/formats/oci.md`, section 8, "Display of an entry".

use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt as _, path::Path};

use super::{
    fsverity::FsVerityHashValue,
    tree::{FileSystem, LeafContent, Stat},
};
use crate::{
    dumpfile::{HardlinkLine, Line},
    filetree::{Entries, InodeKind},
};

fn put(
    writer: &mut impl fmt::Write,
    path: &Path,
    stat: &Stat,
    kind: &InodeKind,
    nlink: usize,
) -> fmt::Result {
    let stat = stat.to_native();
    let nlink = u32::try_from(nlink).unwrap_or(u32::MAX);
    write!(writer, "{}", Line::of(path.as_os_str().as_bytes(), &stat, kind, nlink))
}

/// Writes the line of a directory, without a line feed.
///
/// # Errors
/// Those of `writer`.
pub fn write_directory(writer: &mut impl fmt::Write, path: &Path, stat: &Stat, nlink: usize) -> fmt::Result {
    put(writer, path, stat, &InodeKind::Directory(Entries::new()), nlink)
}

/// Writes the line of anything else, without a line feed.
///
/// # Errors
/// Those of `writer`; [`fmt::Error`] for a device number that no image holds.
pub fn write_leaf<ObjectID: FsVerityHashValue>(
    writer: &mut impl fmt::Write,
    path: &Path,
    stat: &Stat,
    content: &LeafContent<ObjectID>,
    nlink: usize,
) -> fmt::Result {
    put(writer, path, stat, &content.to_native().ok_or(fmt::Error)?, nlink)
}

/// Writes the line of a further name, without a line feed.
///
/// # Errors
/// Those of `writer`.
pub fn write_hardlink(writer: &mut impl fmt::Write, path: &Path, target: &OsStr) -> fmt::Result {
    let line = HardlinkLine { path: path.as_os_str().as_bytes().into(), target: target.as_bytes().into() };
    write!(writer, "{line}")
}

/// Writes a tree in canonical form.
///
/// # Errors
/// What converting the tree gives; [`crate::Error::Output`].
pub fn write_dumpfile<ObjectID: FsVerityHashValue>(
    writer: &mut impl std::io::Write,
    file_system: &FileSystem<ObjectID>,
) -> crate::error::Result<()> {
    crate::dumpfile::write(&file_system.to_native()?, writer)
        .map_err(|source| crate::Error::Output { source })
}
