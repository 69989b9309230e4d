//! A blob's way into the repository: read and checked, inflated, split, hashed, stored; all at the same time.
//!
//! Nothing here makes an entry: what comes out are objects and the ids of streams, to be committed by the caller
//! once every digest agrees.

mod backlog;
pub mod entry_line;
pub mod layer;
mod pipeline;
mod shared_files;
mod sparse;
mod spool;
pub mod streams;

pub use entry_line::entry_line;
pub use layer::{ImportedLayer, LayerDigest, LayerImporter, LayerStats};
pub use shared_files::{SharedFiles, Sharing};
