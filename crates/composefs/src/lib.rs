//! composefs repositories: objects stored once under their fs-verity digests, splitstreams, EROFS
//! metadata images, and the mounts made of them.
//!
//! The modules are listed so that each uses only those above it: the formats (bytes in, values out, no
//! system calls), then what touches the system, last the frozen 0.3 surface.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod digest;
pub mod name;
pub mod read_at;
pub mod splitstream;
pub mod filetree;
pub mod dumpfile;
pub mod erofs;
pub mod progress;
pub mod error;
pub mod disk;
pub mod repo;
pub mod scan;
pub mod image;
pub mod extract;
pub mod mount;
pub mod v0_3;

pub use error::{Category, Error};
pub use filetree::INLINE_CONTENT_MAX;
#[cfg(any(test, feature = "test"))]
pub use v0_3::test;
pub use v0_3::{fsverity, repository, tree, util};
