//! What the kernel asks, and what it is told.
//!
//! The tree never changes, so everything may be kept for ever: names, those that are not there, attributes, contents.

use std::{cell::RefCell, ffi::OsStr, io, os::unix::ffi::OsStrExt as _, time::Duration};

use composefs::{
    erofs::{ReadError, read::Inode},
    filetree::Regular,
};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};

use crate::{
    files::Files,
    tree::{Named, Tree, attributes},
};

/// For ever, in effect.
const ALWAYS: Duration = Duration::from_secs(365 * 24 * 3600);
/// The most bytes of one answer; the kernel asks for no more than it was told.
const READ_MAX: usize = 1 << 20;
/// Nothing of a file needs to be forgotten or flushed when it is opened or closed.
const KEEP: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE.union(FopenFlags::FOPEN_NOFLUSH);

thread_local! {
    /// What an answer is put together in.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An image that is served.
pub(crate) struct Server {
    tree: Tree,
    files: Files,
    /// Whether permissions are the kernel's business.
    permissions: bool,
    /// Whether the kernel may be asked to read by itself.
    passthrough: bool,
    /// Whether root may list attributes that only root may see.
    trusted: bool,
    /// Whether the kernel does without opening directories.
    no_opendir: bool,
}

impl Server {
    pub(crate) const fn new(
        tree: Tree,
        files: Files,
        permissions: bool,
        passthrough: bool,
        trusted: bool,
    ) -> Self {
        Self { tree, files, permissions, passthrough, trusted, no_opendir: false }
    }

    fn inode(&self, number: INodeNo) -> Result<Inode<'_>, Errno> {
        self.tree.inode(number).map_err(|error| damaged(&error))
    }

    fn open_file(&self, number: INodeNo, reply: &ReplyOpen) -> Result<Opened, Errno> {
        let inode = self.inode(number)?;
        let (id, size) = match self.tree.regular(&inode).map_err(|error| damaged(&error))? {
            Regular::Inline(_) | Regular::Sparse(_) => return Ok(Opened::Image),
            Regular::External { id, size } | Regular::Unverified { id, size } => (id, size),
            Regular::Redirect { path, .. } => {
                tracing::error!(path = %path.escape_ascii(), "contents are outside of the objects");
                return Err(Errno::EIO);
            }
        };
        let object = self.files.object(&id, size).map_err(|error| {
            tracing::error!(object = %id, %error, "object cannot be given away");
            Errno::EIO
        })?;
        let (handle, file) = self.files.keep(number, object, |object| reply.open_backing(&object.fd));
        Ok(Opened::Object(handle, file))
    }

    fn read_file(
        &self,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        if let Some(file) = self.files.get(handle) {
            return file.read(buffer, offset).map_err(|error| {
                tracing::error!(inode = number.0, %error, "object cannot be read");
                Errno::EIO
            });
        }
        let inode = self.inode(number)?;
        let left = usize::try_from(inode.size().saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        if inode.is_external() {
            // A size and nothing else.
            buffer.fill(0);
            return Ok(length);
        }
        let contents = inode.contents();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let parts = contents.blocks.iter().chain(contents.tail).skip(from);
        for (to, byte) in buffer.iter_mut().zip(parts) {
            *to = *byte;
        }
        Ok(length)
    }

    /// Tells whether a process may know of an attribute when it lists them; what it may read is the kernel's business.
    fn lists(&self, request: &Request, name: &[u8]) -> bool {
        !name.starts_with(b"trusted.") || (self.trusted && request.uid() == 0)
    }

    fn directory(&self, number: INodeNo) -> Result<Inode<'_>, Errno> {
        let inode = self.inode(number)?;
        if inode.is_directory() { Ok(inode) } else { Err(Errno::ENOTDIR) }
    }

    /// Hands the names of a directory on until `add` has no room.
    fn list(
        &self,
        number: INodeNo,
        offset: u64,
        mut add: impl FnMut(&Named<'_>) -> Result<bool, ReadError>,
    ) -> Result<(), Errno> {
        let directory = self.directory(number)?;
        let listed = self.tree.names(&directory, offset, |named| add(named).map(|full| !full));
        listed.map_err(|error| damaged(&error))
    }
}

/// How the contents of an open file are had.
enum Opened {
    /// From the image.
    Image,
    /// From an object.
    Object(FileHandle, std::sync::Arc<crate::files::OpenFile>),
}

/// What is told of an image that cannot be read: it was found sound when it was opened.
fn damaged(error: &ReadError) -> Errno {
    tracing::error!(%error, "image cannot be read");
    Errno::EIO
}

/// What is told of a name that is not there, so that it is not asked for again.
const NOTHING: FileAttr = FileAttr {
    ino: INodeNo(0),
    size: 0,
    blocks: 0,
    atime: std::time::UNIX_EPOCH,
    mtime: std::time::UNIX_EPOCH,
    ctime: std::time::UNIX_EPOCH,
    crtime: std::time::UNIX_EPOCH,
    kind: FileType::RegularFile,
    perm: 0,
    nlink: 0,
    uid: 0,
    gid: 0,
    rdev: 0,
    blksize: 4096,
    flags: 0,
};

impl Filesystem for Server {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let can = config.capabilities();
        // Always with attributes, not when the kernel thinks so: whoever lists looks at what is listed, more often than not.
        let mut want =
            InitFlags::FUSE_PARALLEL_DIROPS | InitFlags::FUSE_CACHE_SYMLINKS | InitFlags::FUSE_DO_READDIRPLUS;
        // Without lists the kernel need not ask for them at every look at a file's permissions.
        if self.permissions && self.tree.census.acls {
            want |= InitFlags::FUSE_POSIX_ACL;
        }
        if self.passthrough
            && can.contains(InitFlags::FUSE_PASSTHROUGH)
            && config.set_max_stack_depth(1).is_ok()
        {
            want |= InitFlags::FUSE_PASSTHROUGH;
            self.files.allow_passthrough();
        }
        self.no_opendir = can.contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        let _ = config.add_capabilities(want & can);
        let _ = config.set_max_write(READ_MAX as u32);
        if let Err(most) = config.set_max_readahead(READ_MAX as u32) {
            let _ = config.set_max_readahead(most);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.directory(parent).and_then(|directory| {
            self.tree.find(&directory, name.as_bytes()).map_err(|error| damaged(&error))
        });
        match found {
            Ok(Some(inode)) => reply.entry(&ALWAYS, &self.tree.attributes(&inode), Generation(0)),
            Ok(None) => reply.entry(&ALWAYS, &NOTHING, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.inode(number) {
            Ok(inode) => reply.attr(&ALWAYS, &self.tree.attributes(&inode)),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        let target = self.inode(number).and_then(|inode| inode.symlink_target().map_err(|_| Errno::EINVAL));
        match target {
            Ok(target) => reply.data(target),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.open_file(number, &reply) {
            Ok(Opened::Image) => reply.opened(FileHandle(0), KEEP),
            Ok(Opened::Object(handle, file)) => match file.backing() {
                Some(backing) => reply.opened_passthrough(handle, FopenFlags::FOPEN_NOFLUSH, backing),
                None => reply.opened(handle, KEEP),
            },
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        BUFFER.with_borrow_mut(|buffer| {
            let size = usize::try_from(size).unwrap_or(READ_MAX).min(READ_MAX);
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            let room = buffer.get_mut(..size).unwrap_or_default();
            match self.read_file(number, handle, offset, room) {
                Ok(read) => reply.data(room.get(..read).unwrap_or_default()),
                Err(errno) => reply.error(errno),
            }
        });
    }

    fn release(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.files.release(number, handle);
        reply.ok();
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.no_opendir {
            // Said once, the kernel opens directories by itself, and keeps what is in them.
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
        }
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.list(number, offset, |named| {
            Ok(reply.add(named.number, named.next, named.kind(), OsStr::from_bytes(named.entry.name)))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.list(number, offset, |named| {
            let attributes = self.tree.attributes(&named.inode()?);
            let name = OsStr::from_bytes(named.entry.name);
            Ok(reply.add(named.number, named.next, name, &ALWAYS, &attributes, Generation(0)))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // As EROFS: the blocks of the image, none of them free.
        reply.statfs(self.tree.size() / 4096, 0, 0, self.tree.census.names, 0, 4096, 255, 4096);
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.tree.census.xattrs {
            // Said once, the kernel asks no more.
            reply.error(Errno::ENOSYS);
            return;
        }
        let inode = match self.inode(number) {
            Ok(inode) => inode,
            Err(errno) => return reply.error(errno),
        };
        match attributes(&inode).find(|(have, _)| have == name.as_bytes()) {
            Some((_, value)) => answer(value, size, reply),
            None => reply.error(Errno::NO_XATTR),
        }
    }

    fn listxattr(&self, request: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        if !self.tree.census.xattrs {
            reply.error(Errno::ENOSYS);
            return;
        }
        let inode = match self.inode(number) {
            Ok(inode) => inode,
            Err(errno) => return reply.error(errno),
        };
        let mut names = Vec::new();
        for (name, _) in attributes(&inode).filter(|(name, _)| self.lists(request, name)) {
            names.extend_from_slice(&name);
            names.push(0);
        }
        answer(&names, size, reply);
    }
}

/// Answers with bytes, or with how many there are if nothing was asked for yet.
fn answer(bytes: &[u8], size: u32, reply: ReplyXattr) {
    match (u32::try_from(bytes.len()), size) {
        (Ok(length), 0) => reply.size(length),
        (Ok(length), size) if length <= size => reply.data(bytes),
        _ => reply.error(Errno::ERANGE),
    }
}
