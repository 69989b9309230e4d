//! One inode as the image shows it: a whiteout may be a file, a stub borrows from the root.
//!
//! # Format
//! `docs/formats/erofs.md`, sections 2 and 5.

use crate::digest::ObjectId;
use crate::filetree::{FileTree, InodeId, InodeKind, Regular, Stat};

use super::format::{self, FormatVersion};
use super::order::{Node, Order};

/// What follows an inode's header and xattrs, or is in its blocks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    /// Directory entries.
    Directory(InodeId),
    /// A regular file's contents.
    Contents(&'a [u8]),
    /// Nothing but chunk indexes for a file of that size, above 0.
    External(u64),
    /// A symlink's target.
    Target(&'a [u8]),
    /// A device number.
    Device(u32),
    /// Nothing.
    Nothing,
}

/// An inode as the image shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// Owner and times; permissions and xattrs are not to be taken from here.
    pub(super) stat: &'a Stat,
    /// Type and permissions.
    pub(super) mode: u16,
    pub(super) nlink: u32,
    pub(super) body: Body<'a>,
}

impl<'a> View<'a> {
    pub(super) fn new(tree: &'a FileTree, version: FormatVersion, order: &Order<'_>, node: Node) -> Self {
        match node {
            Node::Stub(_) => Self {
                stat: &tree.root().stat,
                mode: format::S_IFCHR | 0o644,
                nlink: 1,
                body: Body::Device(0),
            },
            Node::Tree(id) => {
                let inode = tree.inode(id);
                let file_type = written_type(&inode.kind, version);
                let body = match &inode.kind {
                    InodeKind::Directory(_) => Body::Directory(id),
                    InodeKind::Regular(Regular::Inline(contents)) => Body::Contents(contents),
                    InodeKind::Regular(regular) => match regular.size() {
                        0 => Body::Contents(&[]),
                        size => Body::External(size),
                    },
                    InodeKind::Symlink(target) => Body::Target(target),
                    InodeKind::CharDevice(0) if version.is_epoch1() => Body::Contents(&[]),
                    InodeKind::CharDevice(number) | InodeKind::BlockDevice(number) => Body::Device(*number),
                    InodeKind::Fifo | InodeKind::Socket => Body::Nothing,
                };
                Self {
                    stat: &inode.stat,
                    mode: file_type | inode.stat.mode & 0o7777,
                    nlink: order.links(id),
                    body,
                }
            }
        }
    }

    /// Returns the modification time that a version stores.
    pub(super) fn mtime(&self, version: FormatVersion) -> (i64, u32) {
        (self.stat.mtime_seconds, if version.is_epoch1() { self.stat.mtime_nanos } else { 0 })
    }
}

/// Returns the type bits an inode is written with: whiteouts are files in V0 and V1.
pub(super) fn written_type(kind: &InodeKind, version: FormatVersion) -> u16 {
    match kind {
        InodeKind::CharDevice(0) if version.is_epoch1() => format::S_IFREG,
        InodeKind::CharDevice(_) => format::S_IFCHR,
        InodeKind::Directory(_) => format::S_IFDIR,
        InodeKind::Regular(_) => format::S_IFREG,
        InodeKind::Symlink(_) => format::S_IFLNK,
        InodeKind::BlockDevice(_) => format::S_IFBLK,
        InodeKind::Fifo => format::S_IFIFO,
        InodeKind::Socket => format::S_IFSOCK,
    }
}

/// Returns the object that an external file of size above 0 names, and whether its digest is stored too.
pub(super) fn object(kind: &InodeKind) -> Option<(&ObjectId, bool)> {
    match kind {
        InodeKind::Regular(Regular::External { id, size: 1.. }) => Some((id, true)),
        InodeKind::Regular(Regular::Unverified { id, size: 1.. }) => Some((id, false)),
        _ => None,
    }
}
