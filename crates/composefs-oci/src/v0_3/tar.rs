//! Tar archives to streams, and streams to entries.

mod entry;
mod split;

pub use entry::{TarEntry, TarItem, get_entry};
pub use split::split;
#[cfg(any(feature = "proxy", feature = "registry"))]
pub use split::split_async;
