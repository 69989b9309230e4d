//! Dumpfiles: trees as lines of text, in and out.
//!
//! Bytes or a tree come in, a tree or bytes go out; nothing here opens a file. Printing what was parsed
//! gives the canonical form, and parsing that gives the same tree again.
//!
//! # Format
//! `docs/formats/dumpfile.md`.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod escape;
pub mod line;
pub mod parse;
pub mod write;

pub use line::{HardlinkLine, Line};
pub use parse::{ParseError, Parsed, parse};
pub use write::write;

pub use crate::v0_3::dumpfile::{write_directory, write_dumpfile, write_hardlink, write_leaf};

/// The most bytes of contents a line may carry.
pub const CONTENT_MAX: usize = 5000;

/// The most bytes in a path with its leading slash, and in a symlink's target.
pub const PATH_MAX: usize = 4095;

#[cfg(test)]
mod tests;
