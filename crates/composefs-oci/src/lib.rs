//! OCI container images in a composefs repository.
#![forbid(unsafe_code)]

pub mod rootfs;
