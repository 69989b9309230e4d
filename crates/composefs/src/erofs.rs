//! composefs images: a file tree as EROFS metadata that overlayfs reads, in three versions.
//!
//! # Format
//! `docs/formats/erofs.md`.

pub mod format;

pub use format::FormatVersion;
pub mod read;
mod walk;
pub mod overlay;
pub mod to_tree;
pub mod check;
pub mod objects;

pub use check::check;
pub use objects::object_ids;
pub use read::{Image, ReadError, ReadLimits};
pub use to_tree::to_tree;
