//! OCI container images in a composefs repository.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod rootfs;
