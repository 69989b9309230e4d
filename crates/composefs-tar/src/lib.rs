//! Tar archives as pushed bytes: what goes in is an archive in pieces of any size, what comes out are the
//! same bytes, sorted into what a splitstream keeps inline and what becomes an object, together with the
//! entry that every member stands for.
//!
//! * [`Parser`] is the state machine; [`Parser::parse`] returns [`Event`]s. Bulk data are sub-slices of the
//!   pushed buffer, never copied; no member and no run of inline bytes is held whole.
//! * [`Entry`] is a member's header, GNU long names and PAX records resolved into one.
//! * [`SparseMap`] and its [`Expander`] turn the stored data of a sparse member into the file.
//! * [`build`] goes the other way, entries to header bytes.
//!
//! The crate does no I/O and knows no repository: the caller makes objects and trees.
//!
//! ```
//! use composefs_tar::{Event, Options, Parser, build::Archive};
//!
//! let tar = Archive::new().file(b"etc/hostname", b"box\n").file(b"etc/motd", &[b'x'; 100]).finish();
//! let (mut inline, mut external) = (0, 0);
//! let mut parser = Parser::new(Options::default());
//! for mut piece in tar.chunks(1000) {
//!     while let Some(event) = parser.parse(&mut piece)? {
//!         match event {
//!             Event::Inline(bytes) => inline += bytes.len(),
//!             Event::Member(member) | Event::Begin(member) => assert!(member.entry.is_ok()),
//!             Event::Content(bytes) => external += bytes.len(),
//!             Event::End => {}
//!         }
//!     }
//! }
//! parser.finish()?;
//! assert_eq!(external, 100);
//! assert_eq!(inline, tar.len() - 100);
//! # Ok::<(), composefs_tar::Error>(())
//! ```
//!
//! # Format
//! `docs/formats/tree.md` section 4 (entries), `docs/formats/splitstream.md` sections 3 and 4 (chunks).
#![forbid(unsafe_code)]

pub mod header;
mod show;
mod sparse;
mod gnu;
mod pax;
mod entry;
mod error;
mod limits;
mod event;
mod parse;
pub mod build;

pub use entry::{Content, Entry, EntryError, EntryFault, EntryKind, PathError, clean_path};
pub use error::Error;
pub use event::{Event, INLINE_MAX, Member};
pub use header::{Field, Format, NumberError};
pub use limits::{Limits, Mode, Options};
pub use parse::Parser;
pub use pax::{Mtime, PaxError};
pub use sparse::{Expander, Piece, Segment, SparseError, SparseMap};
