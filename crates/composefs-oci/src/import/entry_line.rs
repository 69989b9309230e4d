//! A layer's entry as a line of a dumpfile.
//!
//! # Format
//! `docs/formats/oci.md`, section 8, "Display of an entry".

use composefs::{
    digest::ObjectId,
    dumpfile::{HardlinkLine, Line},
    filetree::{InodeKind, Regular, Stat, Xattrs, inode::device_number},
};
use composefs_tar::{Content, Entry, EntryKind, Member};

/// Returns the line of a member without its line feed. The number of links is always 1: a layer doesn't know.
///
/// # Errors
/// The reason why the member is no entry of a tree.
pub fn entry_line(member: &Member, object: Option<ObjectId>) -> Result<Vec<u8>, composefs_tar::EntryError> {
    let entry = member.entry.as_ref().map_err(Clone::clone)?;
    let path = shown_path(&entry.path);
    let mut line = Vec::new();
    match kind(entry, object) {
        Some(kind) => {
            let stat = stat(entry);
            Line::of(path, &stat, &kind, 1).append_to(&mut line);
        }
        None => {
            if let EntryKind::Hardlink { target } = &entry.kind {
                HardlinkLine { path: path.into(), target: shown_path(target).into() }.append_to(&mut line);
            }
        }
    }
    Ok(line)
}

/// One leading slash is dropped, one put in front, all trailing ones go; the root is empty.
pub(crate) fn shown_path(path: &[u8]) -> Vec<u8> {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last.saturating_add(1));
    let path = path.get(..end).unwrap_or_default();
    if path.is_empty() { Vec::new() } else { [b"/", path].concat() }
}

pub(crate) fn stat(entry: &Entry) -> Stat {
    let mut xattrs = Xattrs::default();
    for (name, value) in &entry.xattrs {
        xattrs.set(name, value);
    }
    Stat {
        mode: (entry.mode & 0o7777) as u16,
        uid: entry.uid,
        gid: entry.gid,
        mtime_seconds: entry.mtime.seconds,
        mtime_nanos: entry.mtime.nanos,
        xattrs,
    }
}

/// The inode of an entry; `None` for a hard link.
pub(crate) fn kind(entry: &Entry, object: Option<ObjectId>) -> Option<InodeKind> {
    Some(match &entry.kind {
        EntryKind::Directory => InodeKind::Directory(composefs::filetree::Entries::new()),
        EntryKind::Regular { size, content } => InodeKind::Regular(match (content, object) {
            (Content::Inline(contents), _) => Regular::Inline(contents.as_slice().into()),
            (_, Some(id)) => Regular::External { id, size: *size },
            (_, None) => Regular::Sparse(*size),
        }),
        EntryKind::Symlink { target } => InodeKind::Symlink(target.as_slice().into()),
        EntryKind::CharDevice { major, minor } => {
            InodeKind::CharDevice(device_number((*major).into(), (*minor).into()).unwrap_or_default())
        }
        EntryKind::BlockDevice { major, minor } => {
            InodeKind::BlockDevice(device_number((*major).into(), (*minor).into()).unwrap_or_default())
        }
        EntryKind::Fifo => InodeKind::Fifo,
        EntryKind::Hardlink { .. } => return None,
    })
}
