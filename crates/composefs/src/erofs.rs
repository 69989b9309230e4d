//! composefs images: a file tree as EROFS metadata that overlayfs reads, in three versions.
//!
//! [`write()`] lays a tree out and streams the image, [`compute_id`] streams it into a hash. [`Image`] looks
//! into one without trusting a byte, [`to_tree()`] makes the tree again.
//!
//! # Format
//! `docs/formats/erofs.md`.

pub mod format;
pub mod error;
pub mod options;
mod dirent;
mod order;
mod inode;
mod xattr;
mod layout;
pub mod write;
pub mod read;
mod walk;
pub mod overlay;
pub mod to_tree;
pub mod check;
pub mod objects;

pub use check::check;
pub use error::{Refusal, WriteError};
pub use format::FormatVersion;
pub use objects::object_ids;
pub use options::{PrimaryNames, VersionError, WriteOptions, choose_version};
pub use read::{Image, ReadError, ReadLimits};
pub use to_tree::to_tree;
pub use write::{WriteReport, compute_id, to_vec, write};

#[cfg(test)]
mod tests;
