//! composefs images: a file tree as EROFS metadata that overlayfs reads, in three versions.
//!
//! # Format
//! `docs/formats/erofs.md`.

pub mod format;

pub use format::FormatVersion;
