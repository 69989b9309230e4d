//! Mounts that show other owners than the file system beneath has: `mount_setattr`, which rustix lacks.
#![allow(unsafe_code)]

use std::{
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd},
};

/// The kernel's `struct mount_attr`, as of its first version.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const _: () = assert!(size_of::<MountAttr>() == 32);

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// Lets a mount show owners as a user namespace maps them: an id inside of the namespace, which is on disk, as the one
/// outside. The mount must not have a place yet.
///
/// # Errors
/// The kernel's: `EINVAL` the file system cannot do it, or the mount has a place; `EPERM` without `CAP_SYS_ADMIN`, or
/// the mount is mapped already; `ENOSYS` before 5.12.
#[doc(alias = "mount_setattr")]
#[doc(alias = "MOUNT_ATTR_IDMAP")]
pub fn map_ids(mount: impl AsFd, namespace: impl AsFd) -> io::Result<()> {
    let namespace = u64::try_from(namespace.as_fd().as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let attr = MountAttr { attr_set: MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd: namespace };
    let (mount, flags) = (mount.as_fd().as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: the path is empty and ends in NUL, the struct has the size that is given; the kernel only reads both, and
    // the descriptors are open for the length of the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount,
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_namespace_is_refused() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let error = map_ids(&null, &null).unwrap_err();
        assert!(
            [Some(libc::EINVAL), Some(libc::EPERM), Some(libc::ENOSYS)].contains(&error.raw_os_error()),
            "{error}"
        );
    }
}
