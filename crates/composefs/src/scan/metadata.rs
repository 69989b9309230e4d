//! The metadata of one file: permissions, owner, time, extended attributes.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{fstat, getxattr, listxattr},
    io::Errno,
};

use crate::{
    error::{Error, Result, Step},
    filetree::{Stat, Xattrs},
};

/// The kernel's limit for a list of names and for a value.
const XATTR_MAX: usize = 64 * 1024;

/// Reads the metadata of an open file; one opened by path only will do.
pub(super) fn read(fd: &OwnedFd, path: &Path) -> Result<Stat> {
    let stat = fstat(fd).map_err(Error::io(Step::Stat, path))?;
    Ok(Stat {
        mode: u16::try_from(stat.st_mode & 0o7777).unwrap_or(0),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime_seconds: stat.st_mtime,
        mtime_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        xattrs: read_xattrs(fd).map_err(Error::io(Step::ReadXattrs, path))?,
    })
}

/// Reads all attributes that can be listed. By way of `/proc`, which works for symlinks and devices, too.
fn read_xattrs(fd: &OwnedFd) -> io::Result<Xattrs> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mut xattrs = Xattrs::default();
    let mut small = [0; 1024];
    let mut large = Vec::new();
    let list = match with_room(&mut small, &mut large, |room| listxattr(&path, room)) {
        Ok(list) => list.to_vec(),
        Err(Errno::OPNOTSUPP) => return Ok(xattrs),
        Err(errno) => return Err(errno.into()),
    };
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        match with_room(&mut small, &mut large, |room| getxattr(&path, name, room)) {
            Ok(value) => xattrs.set(name, value),
            // Gone since it was listed.
            Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(xattrs)
}

/// Calls with a small buffer, and with the largest if that does not do.
fn with_room<'b>(
    small: &'b mut [u8],
    large: &'b mut Vec<u8>,
    mut call: impl FnMut(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<&'b [u8]> {
    let (buffer, length): (&[u8], usize) = match call(small) {
        Err(Errno::RANGE) => {
            large.resize(XATTR_MAX, 0);
            let length = call(large)?;
            (large, length)
        }
        result => {
            let length = result?;
            (small, length)
        }
    };
    Ok(buffer.get(..length).unwrap_or_default())
}
