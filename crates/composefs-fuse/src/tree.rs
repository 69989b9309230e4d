//! The image in memory, and what the kernel asks of it: inodes by number, names, attributes.
//!
//! The number of an inode is that of the image, byte offset / 32, which is never 1; the root has 1, as FUSE wants it.
//! Whiteouts have no name, as overlayfs shows none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use composefs::{
    digest::Algorithm,
    erofs::{
        self, Image, ReadError, ReadLimits,
        overlay::regular,
        read::{Entry, Fault, Inode},
    },
    filetree::Regular,
};
use fuser::{FileAttr, FileType, INodeNo};

use crate::options::Owners;

/// Who has an id that no range maps.
const NOBODY: u32 = 65534;

/// An image that was checked.
pub(crate) struct Tree {
    bytes: Vec<u8>,
    algorithm: Algorithm,
    owners: Owners,
    pub(crate) census: Census,
}

/// What was met in the image.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Census {
    /// Names, those of hard links too.
    pub(crate) names: u64,
    /// Whether any inode has an attribute that is shown.
    pub(crate) xattrs: bool,
    /// Whether any inode has an access control list.
    pub(crate) acls: bool,
}

/// A name in a directory that is shown.
pub(crate) struct Named<'i> {
    pub(crate) entry: Entry<'i>,
    /// The number to show.
    pub(crate) number: INodeNo,
    image: Image<'i>,
    /// Where to go on after it.
    pub(crate) next: u64,
}

impl<'i> Named<'i> {
    /// Returns the inode it names.
    pub(crate) fn inode(&self) -> Result<Inode<'i>, ReadError> {
        self.image.inode(self.entry.nid)
    }

    /// Returns the inode's type, without looking at it.
    pub(crate) const fn kind(&self) -> FileType {
        match self.entry.file_type {
            2 => FileType::Directory,
            3 => FileType::CharDevice,
            4 => FileType::BlockDevice,
            5 => FileType::NamedPipe,
            6 => FileType::Socket,
            7 => FileType::Symlink,
            _ => FileType::RegularFile,
        }
    }
}

impl Tree {
    /// Checks all of an image: that there are no cycles, that names and contents are sound.
    pub(crate) fn new(bytes: Vec<u8>, algorithm: Algorithm, owners: Owners) -> Result<Self, ReadError> {
        let mut tree = Self { bytes, algorithm, owners, census: Census::default() };
        erofs::check(&tree.image()?, algorithm)?;
        tree.census = tree.count()?;
        Ok(tree)
    }

    fn image(&self) -> Result<Image<'_>, ReadError> {
        // The headers again: that is a dozen comparisons, and a view cannot be kept beside its bytes.
        Image::open(&self.bytes, &ReadLimits::default().nul_ends_names(true))
    }

    fn count(&self) -> Result<Census, ReadError> {
        let mut census = Census::default();
        let mut directories = vec![self.root()?];
        while let Some(directory) = directories.pop() {
            census.look_at(&directory);
            for entry in directory.entries() {
                let entry = entry.map_err(|source| ReadError::Inode { nid: directory.nid(), source })?;
                if entry.is_dots() {
                    continue;
                }
                census.names = census.names.saturating_add(1);
                let inode = directory.image().inode(entry.nid)?;
                if inode.is_directory() {
                    directories.push(inode);
                } else {
                    census.look_at(&inode);
                }
            }
        }
        Ok(census)
    }

    fn root(&self) -> Result<Inode<'_>, ReadError> {
        let image = self.image()?;
        image.inode(image.root_nid())
    }

    /// Finds an inode by the number that was shown.
    pub(crate) fn inode(&self, number: INodeNo) -> Result<Inode<'_>, ReadError> {
        if number == INodeNo::ROOT { self.root() } else { self.image()?.inode(number.0) }
    }

    /// Returns the number to show for an inode.
    pub(crate) fn number(&self, inode: &Inode<'_>) -> INodeNo {
        if inode.nid() == inode.image().root_nid() { INodeNo::ROOT } else { INodeNo(inode.nid()) }
    }

    /// Returns the bytes of the image.
    pub(crate) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Finds a name in a directory.
    pub(crate) fn find<'i>(
        &'i self,
        directory: &Inode<'i>,
        name: &[u8],
    ) -> Result<Option<Inode<'i>>, ReadError> {
        let found = directory.find(name).map_err(|source| at(directory, source))?;
        let Some(entry) = found else { return Ok(None) };
        let inode = directory.image().inode(entry.nid)?;
        Ok((!is_whiteout(&inode)).then_some(inode))
    }

    /// Walks the names of a directory from a position on, 0 or one that was given; `take` says whether to go on.
    pub(crate) fn names<'i>(
        &'i self,
        directory: &Inode<'i>,
        position: u64,
        mut take: impl FnMut(&Named<'i>) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        let image = *directory.image();
        let mut entries = directory.entries().resume(position).map_err(|source| at(directory, source))?;
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|source| at(directory, source))?;
            let number = if entry.nid == image.root_nid() { INodeNo::ROOT } else { INodeNo(entry.nid) };
            let named = Named { entry, number, image, next: entries.position() };
            if named.kind() == FileType::CharDevice && is_whiteout(&named.inode()?) {
                continue;
            }
            if !take(&named)? {
                break;
            }
        }
        Ok(())
    }

    /// Returns what `stat` shows.
    pub(crate) fn attributes(&self, inode: &Inode<'_>) -> FileAttr {
        let (seconds, nanos) = inode.mtime();
        let time = time(seconds, nanos);
        let (uid, gid) = match &self.owners {
            Owners::Image => (inode.uid(), inode.gid()),
            Owners::Map(map) => {
                (map.host(inode.uid()).unwrap_or(NOBODY), map.host(inode.gid()).unwrap_or(NOBODY))
            }
            Owners::One { uid, gid } => (*uid, *gid),
        };
        let kind = kind(inode);
        let device = matches!(kind, FileType::CharDevice | FileType::BlockDevice);
        FileAttr {
            ino: self.number(inode),
            size: inode.size(),
            blocks: inode.size().div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm: inode.mode() & 0o7777,
            nlink: inode.nlink(),
            uid,
            gid,
            rdev: if device { inode.device_number() } else { 0 },
            blksize: 4096,
            flags: 0,
        }
    }

    /// Returns what a regular file holds.
    pub(crate) fn regular(&self, inode: &Inode<'_>) -> Result<Regular, ReadError> {
        regular(inode, self.algorithm).map_err(|source| at(inode, source))
    }
}

impl Census {
    fn look_at(&mut self, inode: &Inode<'_>) {
        for (name, _) in attributes(inode) {
            self.xattrs = true;
            self.acls |= name.starts_with(b"system.posix_acl_");
        }
    }
}

/// Walks the extended attributes that the kernel's mount shows: those of overlayfs are hidden, and what was escaped for
/// it is shown as it was.
pub(crate) fn attributes<'i>(inode: &Inode<'i>) -> impl Iterator<Item = (Vec<u8>, &'i [u8])> {
    inode.xattrs().map_while(Result::ok).filter_map(|xattr| {
        let suffix = match xattr.suffix.strip_prefix(b"overlay.") {
            Some(rest) if xattr.prefix == b"trusted." => rest.starts_with(b"overlay.").then_some(rest)?,
            _ => xattr.suffix,
        };
        Some(([xattr.prefix, suffix].concat(), xattr.value))
    })
}

/// Returns an inode's type.
pub(crate) fn kind(inode: &Inode<'_>) -> FileType {
    match inode.type_bits() {
        0o040_000 => FileType::Directory,
        0o120_000 => FileType::Symlink,
        0o020_000 => FileType::CharDevice,
        0o060_000 => FileType::BlockDevice,
        0o010_000 => FileType::NamedPipe,
        0o140_000 => FileType::Socket,
        _ => FileType::RegularFile,
    }
}

fn is_whiteout(inode: &Inode<'_>) -> bool {
    kind(inode) == FileType::CharDevice && inode.device_number() == 0
}

fn at(inode: &Inode<'_>, source: Fault) -> ReadError {
    ReadError::Inode { nid: inode.nid(), source }
}

/// A time that the system cannot hold is the beginning of 1970.
fn time(seconds: i64, nanos: u32) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let second = if seconds < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    second.and_then(|second| second.checked_add(Duration::from_nanos(nanos.into()))).unwrap_or(UNIX_EPOCH)
}
