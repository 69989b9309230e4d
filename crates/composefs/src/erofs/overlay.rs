//! What overlayfs's attributes on one inode mean, and the inode of the tree that they hide.
//!
//! # Format
//! `docs/formats/erofs.md`, section 9, "Back to the tree".
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::{
    digest::{Algorithm, ObjectId},
    filetree::{self, InodeKind, Regular, Stat},
};

use super::{
    format::{
        CHUNK_INDEXES_MAX, FormatVersion, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFSOCK, chunk_bits,
        chunk_count,
    },
    read::{Fault, Inode},
};

/// The most bytes of attributes an inode may have, counted as the C tools do.
const XATTR_BYTES_MAX: usize = 32767;
/// The longest attribute name before escaping.
const XATTR_NAME_MAX: usize = 255;
/// The marks of an escaped whiteout, after unescaping.
const WHITEOUT: [&[u8]; 2] = [b"trusted.overlay.whiteout", b"user.overlay.whiteout"];
/// The marks of a directory with whiteouts.
const WHITEOUTS: [&[u8]; 2] = [b"trusted.overlay.whiteouts", b"user.overlay.whiteouts"];
/// The marks of V1 that overlayfs looks for whiteouts in a directory.
const OPAQUE: [&[u8]; 2] = [b"trusted.overlay.opaque", b"user.overlay.opaque"];

/// What is left of the bytes that a tree may take.
#[derive(Debug)]
pub(super) struct Meter {
    limit: u64,
    left: u64,
}

impl Meter {
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, left: limit }
    }

    fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes as u64).ok_or(Fault::TreeBytes(self.limit))?;
        Ok(())
    }
}

/// The attributes of an inode, sorted by whom they are for.
#[derive(Default)]
struct Sorted<'i> {
    pointers: Pointers<'i>,
    /// The owner's, unescaped.
    owner: filetree::Xattrs,
}

/// The attributes that lead to an object.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pointers<'i> {
    pub(super) metacopy: Option<&'i [u8]>,
    pub(super) redirect: Option<&'i [u8]>,
}

impl<'i> Pointers<'i> {
    /// Finds them, whatever else the inode has.
    pub(super) fn of(inode: &Inode<'i>) -> Result<Self, Fault> {
        let mut pointers = Self::default();
        for xattr in inode.xattrs() {
            let xattr = xattr?;
            if xattr.prefix == b"trusted." {
                pointers.set(xattr.suffix, xattr.value)?;
            }
        }
        Ok(pointers)
    }

    fn set(&mut self, suffix: &[u8], value: &'i [u8]) -> Result<(), Fault> {
        let pointer = match suffix {
            b"overlay.metacopy" => &mut self.metacopy,
            b"overlay.redirect" => &mut self.redirect,
            _ => return Ok(()),
        };
        if pointer.replace(value).is_some() {
            return Err(Fault::XattrTwice([b"trusted.", suffix].concat()));
        }
        Ok(())
    }

    /// Returns the bytes where a metacopy that was found sound has its digest.
    pub(super) fn digest_bytes(&self) -> Option<&'i [u8]> {
        self.metacopy.and_then(|value| value.get(4..))
    }

    /// Returns the digest in metacopy, unless that is missing or empty.
    fn digest(&self, algorithm: Algorithm) -> Result<Option<ObjectId>, Fault> {
        let Some((head, digest)) = self
            .metacopy
            .filter(|value| !value.is_empty())
            .map(|value| value.split_first_chunk::<4>().ok_or(Fault::Metacopy))
            .transpose()?
        else {
            return Ok(None);
        };
        let [version, length, flags, number] = *head;
        if version != 0 || flags != 0 || usize::from(length) != digest.len().saturating_add(head.len()) {
            return Err(Fault::Metacopy);
        }
        if number != algorithm.kernel_number() {
            return Err(Fault::Algorithm { expected: algorithm, actual: number });
        }
        ObjectId::from_bytes(algorithm, digest).map(Some).map_err(|_| Fault::Metacopy)
    }

    /// Returns what an external file of `size` bytes, above 0, holds.
    fn regular(&self, algorithm: Algorithm, size: u64) -> Result<Regular, Fault> {
        let digest = self.digest(algorithm)?;
        let Some(redirect) = self.redirect else {
            return Ok(digest.map_or(Regular::Sparse(size), |id| Regular::External { id, size }));
        };
        let path = redirect.strip_prefix(b"/").ok_or(Fault::Redirect)?;
        if path.is_empty() || path.len() > 4095 || path.contains(&0) {
            return Err(Fault::Redirect);
        }
        let named =
            ObjectId::from_object_path(algorithm, path).ok().filter(|id| id.object_path().as_bytes() == path);
        match (digest, named) {
            (Some(id), named) if named == Some(id) => Ok(Regular::External { id, size }),
            (Some(_), _) => Err(Fault::RedirectDisagrees),
            (None, _) if self.metacopy.is_none() => Err(Fault::RedirectDisagrees),
            (None, Some(id)) => Ok(Regular::Unverified { id, size }),
            (None, None) => Ok(Regular::Redirect { path: path.into(), size }),
        }
    }
}

/// Returns what an external file holds; `None` if the contents are in the image.
pub(super) fn external(
    inode: &Inode<'_>,
    pointers: &Pointers<'_>,
    algorithm: Algorithm,
) -> Result<Option<Regular>, Fault> {
    let (size, version) = (inode.size(), inode.image().version());
    // Upstream gives empty files a metacopy, which nothing reads.
    if size == 0 {
        return Ok(None);
    }
    if !inode.is_external() {
        // V2 has no blocks of contents; what is longer than a tail can't be read back by its other readers.
        if version == FormatVersion::V2 && !inode.contents().blocks.is_empty() {
            return Err(Fault::Size(size));
        }
        return match pointers {
            Pointers { metacopy: None, redirect: None } => Ok(None),
            _ => Err(Fault::TwoContents),
        };
    }
    if version.is_epoch1() && chunk_count(size, chunk_bits(size)) > CHUNK_INDEXES_MAX {
        return Err(Fault::Size(size));
    }
    pointers.regular(algorithm, size).map(Some)
}

/// Reads what a regular file holds, for readers that want no tree.
///
/// # Errors
/// [`Fault::Type`] for other inodes; those of attributes and contents.
pub fn regular(inode: &Inode<'_>, algorithm: Algorithm) -> Result<Regular, Fault> {
    if !inode.is_regular() {
        return Err(Fault::Type { mode: inode.mode(), format: 0, size: inode.size() });
    }
    let outside = external(inode, &Pointers::of(inode)?, algorithm)?;
    Ok(outside.unwrap_or_else(|| Regular::Inline(inode.contents().to_vec().into())))
}

/// Sorts the attributes of an inode, checks the owner's, unescapes them.
fn sort_xattrs<'i>(inode: &Inode<'i>, meter: &mut Meter) -> Result<Sorted<'i>, Fault> {
    let mut sorted = Sorted::default();
    let mut owner: Vec<(Vec<u8>, &[u8])> = Vec::new();
    let mut bytes = 12_usize;
    for xattr in inode.xattrs() {
        let xattr = xattr?;
        let suffix = match xattr.suffix.strip_prefix(b"overlay.") {
            Some(rest) if xattr.prefix == b"trusted." => {
                if !rest.starts_with(b"overlay.") {
                    sorted.pointers.set(xattr.suffix, xattr.value)?;
                    continue;
                }
                rest
            }
            _ => xattr.suffix,
        };
        let name = [xattr.prefix, suffix].concat();
        if name.len() > XATTR_NAME_MAX {
            return Err(Fault::XattrName(name));
        }
        bytes = bytes.saturating_add(7).saturating_add(name.len()).saturating_add(xattr.value.len());
        if bytes > XATTR_BYTES_MAX {
            return Err(Fault::XattrsTooLarge);
        }
        meter.take(name.len().saturating_add(xattr.value.len()))?;
        owner.push((name, xattr.value));
    }
    owner.sort_unstable();
    if let Some(((name, _), _)) = owner.iter().zip(owner.iter().skip(1)).find(|(a, b)| a.0 == b.0) {
        return Err(Fault::XattrTwice(name.clone()));
    }
    for (name, value) in &owner {
        sorted.owner.set(name, value);
    }
    Ok(sorted)
}

fn stat(inode: &Inode<'_>, xattrs: filetree::Xattrs) -> Stat {
    let (mtime_seconds, mtime_nanos) = inode.mtime();
    Stat {
        mode: inode.mode() & 0o7777,
        uid: inode.uid(),
        gid: inode.gid(),
        mtime_seconds,
        mtime_nanos,
        xattrs,
    }
}

/// Returns the metadata of a directory; `whiteouts` tells whether it contains escaped whiteouts.
pub(super) fn directory(inode: &Inode<'_>, whiteouts: bool, meter: &mut Meter) -> Result<Stat, Fault> {
    let mut xattrs = sort_xattrs(inode, meter)?.owner;
    if whiteouts {
        for name in WHITEOUTS {
            xattrs.remove(name);
        }
        if inode.image().version() == FormatVersion::V1
            && OPAQUE.iter().all(|name| xattrs.get(name) == Some(b"x"))
        {
            for name in OPAQUE {
                xattrs.remove(name);
            }
        }
    }
    Ok(stat(inode, xattrs))
}

/// Returns the tree's inode of a leaf.
pub(super) fn leaf(
    inode: &Inode<'_>,
    algorithm: Algorithm,
    meter: &mut Meter,
) -> Result<filetree::Inode, Fault> {
    let Sorted { pointers, owner: mut xattrs } = sort_xattrs(inode, meter)?;
    let kind = match inode.type_bits() {
        S_IFDIR => return Err(Fault::DirectoryTwice),
        S_IFLNK => InodeKind::Symlink(inode.symlink_target()?.into()),
        S_IFCHR => InodeKind::CharDevice(inode.device_number()),
        S_IFBLK => InodeKind::BlockDevice(inode.device_number()),
        S_IFIFO => InodeKind::Fifo,
        S_IFSOCK => InodeKind::Socket,
        _ if is_escaped_whiteout(inode, &xattrs) => {
            for name in WHITEOUT {
                xattrs.remove(name);
            }
            InodeKind::CharDevice(0)
        }
        _ => match external(inode, &pointers, algorithm)? {
            Some(outside) => InodeKind::Regular(outside),
            None => InodeKind::Regular(Regular::Inline(inode.contents().to_vec().into())),
        },
    };
    meter.take(inode.contents().len())?;
    if kind.is_whiteout() && inode.nlink() > 1 {
        return Err(Fault::WhiteoutLinks);
    }
    Ok(filetree::Inode { stat: stat(inode, xattrs), kind })
}

fn is_escaped_whiteout(inode: &Inode<'_>, xattrs: &filetree::Xattrs) -> bool {
    inode.image().version().is_epoch1()
        && inode.size() == 0
        && WHITEOUT.iter().all(|name| xattrs.get(name) == Some(b""))
}
