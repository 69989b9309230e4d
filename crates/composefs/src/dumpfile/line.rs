//! Single lines of a dumpfile, for trees and for whoever lists entries without a tree.
//!
//! # Format
//! `docs/formats/dumpfile.md`, section 2; `docs/formats/oci.md`, section 8, for entries of layers.

use std::{borrow::Cow, fmt, io::Write as _};

use crate::filetree::{Inode, InodeKind, Regular, Stat, Xattrs};

use super::escape::{Escape, push_escaped};

/// One line with all fields; `Display` gives it without the line feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The path with its leading slash, not escaped.
    pub path: Cow<'a, [u8]>,
    /// The size in bytes: of contents or target; 0 for directories and special files.
    pub size: u64,
    /// Type and permission bits of `st_mode`.
    pub mode: u32,
    /// The number of names.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The number of a device, else 0.
    pub rdev: u32,
    /// Seconds since 1970, and nanoseconds after.
    pub mtime: (i64, u32),
    /// A symlink's target, or the path of the object.
    pub payload: Cow<'a, [u8]>,
    /// Contents in the image itself.
    pub content: &'a [u8],
    /// The digest in hex.
    pub digest: Cow<'a, str>,
    /// Extended attributes.
    pub xattrs: &'a Xattrs,
}

impl<'a> Line<'a> {
    /// Makes the line of an inode; `nlink` is the number of its names, for a directory 2 and one for each directory in it.
    #[must_use]
    pub fn new(path: impl Into<Cow<'a, [u8]>>, inode: &'a Inode, nlink: u32) -> Self {
        Self::of(path, &inode.stat, &inode.kind, nlink)
    }

    /// Makes the line of an inode given as metadata and kind.
    #[must_use]
    pub fn of(path: impl Into<Cow<'a, [u8]>>, stat: &'a Stat, kind: &'a InodeKind, nlink: u32) -> Self {
        let mut line = Self {
            path: path.into(),
            size: 0,
            mode: kind.type_bits() | u32::from(stat.mode & 0o7777),
            nlink,
            uid: stat.uid,
            gid: stat.gid,
            rdev: 0,
            mtime: (stat.mtime_seconds, stat.mtime_nanos),
            payload: Cow::default(),
            content: &[],
            digest: Cow::default(),
            xattrs: &stat.xattrs,
        };
        match kind {
            InodeKind::Regular(regular) => {
                line.size = regular.size();
                match regular {
                    Regular::Inline(contents) => line.content = contents,
                    Regular::External { id, .. } => {
                        line.payload = Cow::Owned(id.object_path().into_bytes());
                        line.digest = Cow::Owned(id.to_hex());
                    }
                    Regular::Unverified { id, .. } => {
                        line.payload = Cow::Owned(id.object_path().into_bytes());
                    }
                    Regular::Redirect { path, .. } => line.payload = Cow::Borrowed(path),
                    Regular::Sparse(_) => {}
                }
            }
            InodeKind::Symlink(target) => {
                line.size = target.len() as u64;
                line.payload = Cow::Borrowed(target);
            }
            InodeKind::CharDevice(number) | InodeKind::BlockDevice(number) => line.rdev = *number,
            InodeKind::Directory(_) | InodeKind::Fifo | InodeKind::Socket => {}
        }
        line
    }

    /// Appends the line without its line feed.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        push_escaped(out, &self.path, Escape::Path);
        let (seconds, nanos) = self.mtime;
        // Writing to memory cannot fail.
        let _ = write!(
            out,
            " {} {:o} {} {} {} {} {seconds}.{nanos} ",
            self.size, self.mode, self.nlink, self.uid, self.gid, self.rdev
        );
        push_escaped(out, &self.payload, Escape::Optional);
        out.push(b' ');
        push_escaped(out, self.content, Escape::Optional);
        out.push(b' ');
        push_escaped(out, self.digest.as_bytes(), Escape::Optional);
        for (name, value) in self.xattrs.iter() {
            out.push(b' ');
            push_escaped(out, name, Escape::Xattr);
            out.push(b'=');
            push_escaped(out, value, Escape::Xattr);
        }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.append_to(&mut out);
        // Escaping leaves nothing but ASCII.
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// The line of a further name of an inode; `Display` gives it without the line feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardlinkLine<'a> {
    /// The path with its leading slash, not escaped.
    pub path: Cow<'a, [u8]>,
    /// The path of the inode's full line, not escaped.
    pub target: Cow<'a, [u8]>,
}

impl HardlinkLine<'_> {
    /// Appends the line without its line feed.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        push_escaped(out, &self.path, Escape::Path);
        out.extend_from_slice(b" 0 @120000 - - - - 0.0 ");
        push_escaped(out, &self.target, Escape::Optional);
        out.extend_from_slice(b" - -");
    }
}

impl fmt::Display for HardlinkLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::new();
        self.append_to(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}
