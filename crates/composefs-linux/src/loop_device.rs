//! Loop devices: a file as a block device, for kernels that cannot mount the file itself.
#![allow(unsafe_code)]

use std::{
    ffi::c_void,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    ioctl::{self, Ioctl, IoctlOutput, Opcode, Setter},
};

/// The kernel's `struct loop_info64`.
#[repr(C)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// The kernel's `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<LoopInfo64>() == 232);
    assert!(offset_of!(LoopInfo64, flags) == 52);
    assert!(size_of::<LoopConfig>() == 304);
    assert!(offset_of!(LoopConfig, info) == 8);
};

// These numbers carry no direction or size, on any architecture.
const LOOP_CONFIGURE: Opcode = 0x4c0a;
const LOOP_CTL_GET_FREE: Opcode = 0x4c82;

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// How often another process may take the free device first before [`attach`] gives up.
const ATTEMPTS: u32 = 64;

/// A configured loop device. It goes away by itself once `fd` and every mount of it are closed.
#[derive(Debug)]
pub struct LoopDevice {
    /// The block device, open for reading.
    pub fd: OwnedFd,
    /// Its path: `/dev/loopN`.
    pub path: PathBuf,
}

/// [`LOOP_CTL_GET_FREE`]: no argument, the answer is the return value.
struct GetFree;

// SAFETY: the call takes no argument and touches no memory; its return value is the device's number.
unsafe impl Ioctl for GetFree {
    type Output = u32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> rustix::io::Result<u32> {
        u32::try_from(output).map_err(|_| Errno::INVAL)
    }
}

/// Returns the number of a free loop device, made if there is none.
///
/// `control` is `/dev/loop-control`. Nothing is reserved: another process may take it first.
///
/// # Errors
/// The kernel's: `ENOTTY` for another file, `EPERM` without `CAP_SYS_ADMIN`.
#[doc(alias = "LOOP_CTL_GET_FREE")]
pub fn get_free(control: impl AsFd) -> io::Result<u32> {
    // SAFETY: what `GetFree` promises.
    let number = unsafe { ioctl::ioctl(control, GetFree) }?;
    Ok(number)
}

/// Puts `file` behind the loop device: read-only, cleared with its last user, with buffered reads.
///
/// # Errors
/// The kernel's: `EBUSY` the device is taken; `ENOTTY`, `EINVAL` a kernel before 5.8.
#[doc(alias = "LOOP_CONFIGURE")]
pub fn configure(device: impl AsFd, file: impl AsFd) -> io::Result<()> {
    let fd = u32::try_from(file.as_fd().as_raw_fd()).map_err(|_| Errno::BADF)?;
    let arg = LoopConfig {
        fd,
        block_size: 0,
        info: LoopInfo64 {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: the number is the one of this struct, which the kernel only reads; `file` stays open for
    // the length of the call, after which the kernel holds its own reference.
    unsafe { ioctl::ioctl(device, Setter::<LOOP_CONFIGURE, LoopConfig>::new(arg)) }?;
    Ok(())
}

/// Finds a free loop device and puts `file`, open for reading, behind it, read-only.
///
/// # Errors
/// Of opening `/dev/loop-control` (`ENOENT`: no loop driver, or no `/dev` of it) and `/dev/loopN`, of
/// [`get_free`] and [`configure`]; `EBUSY` only after many lost races.
pub fn attach(file: impl AsFd) -> io::Result<LoopDevice> {
    let control = rustix::io::retry_on_intr(|| {
        rustix::fs::open("/dev/loop-control", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
    })?;
    for _ in 0..ATTEMPTS {
        let path = PathBuf::from(format!("/dev/loop{}", get_free(&control)?));
        let fd = rustix::io::retry_on_intr(|| {
            rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        })?;
        match configure(&fd, file.as_fd()) {
            Ok(()) => return Ok(LoopDevice { fd, path }),
            Err(error) if error.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::BUSY.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_no_loop_devices() {
        let null = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(get_free(&null).unwrap_err().raw_os_error(), Some(Errno::NOTTY.raw_os_error()));
        assert_eq!(configure(&null, &null).unwrap_err().raw_os_error(), Some(Errno::NOTTY.raw_os_error()));
    }
}
