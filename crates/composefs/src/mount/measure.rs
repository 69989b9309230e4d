//! What the kernel says an image file is.

use std::os::fd::AsFd;

use crate::{
    digest::{Algorithm, ObjectId},
    disk::verity::{Measured, measure},
};

/// Asks the kernel for the fs-verity digest of an open file; `None` if it has none.
///
/// # Errors
/// What the system says; a digest of another algorithm is `InvalidData`.
pub fn measure_image(fd: impl AsFd, algorithm: Algorithm) -> std::io::Result<Option<ObjectId>> {
    match measure(fd, algorithm)? {
        Measured::Digest(id) => Ok(Some(id)),
        Measured::Missing => Ok(None),
        Measured::OtherAlgorithm(number) => Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("its fs-verity digest is of algorithm {number}, not {algorithm}"),
        )),
    }
}
