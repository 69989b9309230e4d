//! fs-verity: enabling it on a file, asking for the digest, reading what the file system keeps.
//!
//! # Format
//! `docs/formats/fsverity.md`, section 3.
#![allow(unsafe_code)]

use std::{ffi::c_void, io, marker::PhantomData, os::fd::AsFd};

use rustix::ioctl::{self, Direction, Ioctl, IoctlOutput, Opcode, Setter, Updater, opcode};

/// The capacity given to [`measure`], in bytes: the longest digest, so that a digest of an algorithm the
/// caller did not expect is told apart from "no verity".
const DIGEST_CAPACITY: usize = 64;

/// The kernel's `struct fsverity_enable_arg`.
#[repr(C)]
struct EnableArg {
    version: u32,
    hash_algorithm: u32,
    block_size: u32,
    salt_size: u32,
    salt_ptr: u64,
    sig_size: u32,
    reserved1: u32,
    sig_ptr: u64,
    reserved2: [u64; 11],
}

/// The kernel's `struct fsverity_digest`, with room for the digest.
#[repr(C)]
struct DigestArg {
    digest_algorithm: u16,
    digest_size: u16,
    digest: [u8; DIGEST_CAPACITY],
}

/// The kernel's `struct fsverity_read_metadata_arg`.
#[repr(C)]
struct ReadMetadataArg {
    metadata_type: u64,
    offset: u64,
    length: u64,
    buf_ptr: u64,
    reserved: u64,
}

const ENABLE: Opcode = opcode::write::<EnableArg>(b'f', 133);
// Only the header of four bytes counts in the number.
const MEASURE: Opcode = opcode::from_components(Direction::ReadWrite, b'f', 134, 4);
const READ_METADATA: Opcode = opcode::read_write::<ReadMetadataArg>(b'f', 135);

const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<EnableArg>() == 128);
    assert!(offset_of!(EnableArg, salt_ptr) == 16);
    assert!(offset_of!(EnableArg, sig_size) == 24);
    assert!(offset_of!(EnableArg, sig_ptr) == 32);
    assert!(size_of::<DigestArg>() == 4 + DIGEST_CAPACITY);
    assert!(offset_of!(DigestArg, digest) == 4);
    assert!(size_of::<ReadMetadataArg>() == 40);
    assert!(offset_of!(ReadMetadataArg, buf_ptr) == 24);
};

/// Enables fs-verity on a file: its contents can never change again, and every read is checked.
///
/// `fd` must be open for reading only, and nobody may have the file open for writing. `algorithm_number`
/// is the kernel's (1 SHA-256, 2 SHA-512), `block_size` is in bytes. `signature` is a detached PKCS#7
/// message in DER, checked against the `.fs-verity` keyring; the digest does not depend on it. The call
/// reads the whole file and writes its Merkle tree, and what it did is on disk when it returns.
///
/// # Errors
/// The kernel's: `EEXIST` already enabled (with whatever contents: [`measure`] it); `ETXTBSY` the file is
/// open for writing somewhere; `EBUSY` another call is at it; `EOPNOTSUPP`, `ENOTTY` the file system lacks
/// verity; `EKEYREJECTED`, `ENOKEY`, `EBADMSG` the signature is wrong, its key unknown, malformed. A
/// signature of 4 GiB or more is [`io::ErrorKind::InvalidInput`].
#[doc(alias = "FS_IOC_ENABLE_VERITY")]
pub fn enable(
    fd: impl AsFd,
    algorithm_number: u32,
    block_size: u32,
    signature: Option<&[u8]>,
) -> io::Result<()> {
    let sig_size = u32::try_from(signature.map_or(0, <[u8]>::len))
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "signature of 4 GiB or more"))?;
    let arg = EnableArg {
        version: 1,
        hash_algorithm: algorithm_number,
        block_size,
        salt_size: 0,
        salt_ptr: 0,
        sig_size,
        reserved1: 0,
        sig_ptr: signature.map_or(0, |bytes| bytes.as_ptr().expose_provenance() as u64),
        reserved2: [0; 11],
    };
    // SAFETY: the number is the one of this struct; the kernel only reads from it and from the `sig_size`
    // bytes at `sig_ptr`, which `signature` keeps borrowed for the length of the call.
    unsafe { ioctl::ioctl(fd, Setter::<ENABLE, EnableArg>::new(arg)) }?;
    Ok(())
}

/// What the kernel says a file's digest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The kernel's number of the hash: 1 SHA-256, 2 SHA-512.
    pub algorithm: u16,
    /// The digest, in the algorithm's length.
    pub digest: Vec<u8>,
}

/// Returns the fs-verity digest of a file that has verity enabled, without reading the file.
///
/// # Errors
/// The kernel's: `ENODATA` the file has no verity; `EOPNOTSUPP`, `ENOTTY` the file system lacks it;
/// `EOVERFLOW` the digest has more than 64 bytes (no known algorithm).
#[doc(alias = "FS_IOC_MEASURE_VERITY")]
pub fn measure(fd: impl AsFd) -> io::Result<Measured> {
    let mut arg =
        DigestArg { digest_algorithm: 0, digest_size: DIGEST_CAPACITY as u16, digest: [0; DIGEST_CAPACITY] };
    // SAFETY: the number is the one of this struct; the kernel writes the header and at most
    // `digest_size` bytes behind it, for which `digest` has room.
    unsafe { ioctl::ioctl(fd, Updater::<MEASURE, DigestArg>::new(&mut arg)) }?;
    let digest = arg
        .digest
        .get(..usize::from(arg.digest_size))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "digest longer than its room"))?;
    Ok(Measured { algorithm: arg.digest_algorithm, digest: digest.to_vec() })
}

/// The parts of a file's verity metadata that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum MetadataKind {
    /// The Merkle tree, root level first.
    MerkleTree = 1,
    /// The 256-byte descriptor, without the signature.
    Descriptor = 2,
    /// The built-in signature.
    Signature = 3,
}

/// [`READ_METADATA`] with the buffer it fills.
struct ReadMetadata<'a> {
    arg: ReadMetadataArg,
    buffer: PhantomData<&'a mut [u8]>,
}

// SAFETY: number and struct belong together; the kernel reads the struct and writes at most `length` bytes
// at `buf_ptr`, which the type keeps mutably borrowed; its return value is the number of bytes written.
unsafe impl Ioctl for ReadMetadata<'_> {
    type Output = usize;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        READ_METADATA
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.arg).cast()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> rustix::io::Result<usize> {
        usize::try_from(output).map_err(|_| rustix::io::Errno::INVAL)
    }
}

/// Reads verity metadata from `offset` (in bytes) on, and returns how many bytes came: maybe fewer than
/// the buffer holds, and 0 at the end.
///
/// # Errors
/// The kernel's: `ENODATA` the file has no verity, or no signature; `EOPNOTSUPP`, `ENOTTY` the file system,
/// or a kernel before 5.12, cannot do it.
#[doc(alias = "FS_IOC_READ_VERITY_METADATA")]
pub fn read_metadata(fd: impl AsFd, kind: MetadataKind, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    // The kernel returns the length as an int.
    let length = buffer.len().min(i32::MAX as usize);
    let request = ReadMetadata {
        arg: ReadMetadataArg {
            metadata_type: kind as u64,
            offset,
            length: length as u64,
            buf_ptr: buffer.as_mut_ptr().expose_provenance() as u64,
            reserved: 0,
        },
        buffer: PhantomData,
    };
    // SAFETY: what `ReadMetadata` promises, and `length` is at most the buffer's.
    let read = unsafe { ioctl::ioctl(fd, request) }?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "s390x"
    ))]
    fn numbers_are_the_kernels() {
        assert_eq!(ENABLE, 0x4080_6685);
        assert_eq!(MEASURE, 0xc004_6686);
        assert_eq!(READ_METADATA, 0xc028_6687);
    }

    #[test]
    fn what_is_no_verity_file_says_so() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let errno = |error: io::Error| error.raw_os_error().unwrap();
        let expected = [rustix::io::Errno::NOTTY, rustix::io::Errno::OPNOTSUPP].map(|e| e.raw_os_error());
        assert!(expected.contains(&errno(measure(&null).unwrap_err())));
        assert!(expected.contains(&errno(enable(&null, 1, 4096, None).unwrap_err())));
        let read = read_metadata(&null, MetadataKind::Descriptor, 0, &mut [0; 256]);
        assert!(expected.contains(&errno(read.unwrap_err())));
    }
}
