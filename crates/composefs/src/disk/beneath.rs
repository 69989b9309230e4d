//! Opening and listing below a directory descriptor, never outside it.
//!
//! Paths are walked component by component and no symlink is followed, whatever a damaged or hostile
//! repository has put where a directory should be.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io::{self, Read as _},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, fstat, mkdirat, openat, openat2,
        readlinkat, statat,
    },
    io::{Errno, retry_on_intr},
};

use crate::error::{Error, Result, Step};

/// The most bytes of a symlink's target that are read; the kernel's own limit.
const TARGET_MAX: usize = 4096;

/// Opens a name. A signal that comes between does not count: network and FUSE file systems let it end the call.
pub(crate) fn open(
    directory: impl AsFd,
    name: impl rustix::path::Arg + Copy,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let directory = directory.as_fd();
    retry_on_intr(|| openat(directory, name, flags, mode))
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Turns "does not exist" into `None`.
pub(crate) fn optional<T>(result: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the directory at the end of `components`; `None` if one of them does not exist.
pub(crate) fn open_directory<'a>(
    root: impl AsFd,
    root_path: &Path,
    components: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<OwnedFd>> {
    let mut path = root_path.to_owned();
    let mut at: Option<OwnedFd> = None;
    for component in components {
        path.push(os(component));
        let opened = match &at {
            Some(fd) => open(fd, component, DIRECTORY, Mode::empty()),
            None => open(root.as_fd(), component, DIRECTORY, Mode::empty()),
        };
        match optional(opened).map_err(Error::io(Step::Open, &path))? {
            Some(fd) => at = Some(fd),
            None => return Ok(None),
        }
    }
    match at {
        Some(fd) => Ok(Some(fd)),
        None => open(root, c".", DIRECTORY, Mode::empty()).map(Some).map_err(Error::io(Step::Open, path)),
    }
}

// A fifo would block an open without O_NONBLOCK; regular files do not care.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// Opens a file for reading; a symlink as its last component and everything but regular files are refused.
pub(crate) fn open_file(directory: impl AsFd, name: impl rustix::path::Arg + Copy) -> io::Result<OwnedFd> {
    regular(open(directory, name, FILE, Mode::empty())?)
}

/// Opens the file `name` in the directory `parent` below `directory`: as [`open_file`], and nothing on the way
/// may be a symlink or a mount. Overlayfs looks files up in its data layers like that.
pub(crate) fn open_file_below(directory: impl AsFd, parent: &str, name: &str) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let path = format!("{parent}/{name}");
    match retry_on_intr(|| openat2(&directory, &path, FILE, Mode::empty(), resolve)) {
        // A kernel before 5.6, a sandbox that does not know the call, a rename that came between.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {
            let parent = open(directory, parent, DIRECTORY, Mode::empty())?;
            open_file(parent, name)
        }
        opened => regular(opened?),
    }
}

fn regular(fd: OwnedFd) -> io::Result<OwnedFd> {
    if kind(&fstat(&fd)?) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(fd)
}

/// Returns a file's type.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Returns a file's size in bytes.
pub(crate) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Looks at a name without following it.
pub(crate) fn stat(directory: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<Option<Stat>> {
    optional(statat(directory, name, AtFlags::SYMLINK_NOFOLLOW))
}

/// Reads a symlink's target; `None` if there is no such name.
pub(crate) fn read_link(
    directory: impl AsFd,
    name: impl rustix::path::Arg,
) -> rustix::io::Result<Option<Vec<u8>>> {
    let target = readlinkat(directory, name, Vec::with_capacity(256));
    Ok(optional(target)?.map(CString::into_bytes).filter(|target| target.len() <= TARGET_MAX))
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_all(fd: OwnedFd, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::from(fd);
    let size = size(&fstat(&file)?);
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {limit} bytes"));
    if size > limit {
        return Err(too_large());
    }
    let mut contents = Vec::with_capacity(usize::try_from(size).map_err(|_| too_large())?.saturating_add(1));
    file.take(limit.saturating_add(1)).read_to_end(&mut contents)?;
    if contents.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(contents)
}

/// A name in a directory and its type, if the file system says it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: CString,
    pub(crate) kind: FileType,
}

/// Calls `found` with every name in a directory but `.` and `..`, as the file system has them.
pub(crate) fn each(directory: impl AsFd, found: &mut dyn FnMut(&CStr, FileType)) -> io::Result<()> {
    // A fresh description: the position in the directory belongs to it.
    let fd = open(directory, c".", DIRECTORY, Mode::empty())?;
    let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
    let mut entries = RawDir::new(fd, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found(name, entry.file_type());
        }
    }
    Ok(())
}

/// Lists a directory: `.` and `..` left out, sorted bytewise, types looked up where the file system gives none.
pub(crate) fn list(directory: impl AsFd) -> io::Result<Vec<Listed>> {
    let directory = directory.as_fd();
    let mut names = Vec::new();
    each(directory, &mut |name, kind| names.push(Listed { name: name.to_owned(), kind }))?;
    names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    for listed in &mut names {
        if listed.kind == FileType::Unknown
            && let Some(stat) = stat(directory, &listed.name)?
        {
            listed.kind = kind(&stat);
        }
    }
    Ok(names)
}

/// Makes a directory unless it is there; tells whether it was made. Whatever else has the name is refused.
pub(crate) fn make_directory(
    directory: impl AsFd,
    name: impl rustix::path::Arg + Copy,
    mode: Mode,
) -> io::Result<bool> {
    match mkdirat(directory.as_fd(), name, mode) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => match stat(directory, name)? {
            Some(stat) if kind(&stat) == FileType::Directory => Ok(false),
            _ => Err(Errno::NOTDIR.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Takes bytes for a file name, as the system does.
pub(crate) fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}
