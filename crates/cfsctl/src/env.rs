//! Every environment variable the program reads itself.

/// Which log lines go to stderr, in the notation of `RUST_LOG`.
pub(crate) const LOG: &str = "CFS_LOG";
/// The same, as upstream has it.
pub(crate) const RUST_LOG: &str = "RUST_LOG";
/// Where `--user` finds its repository.
pub(crate) const HOME: &str = "HOME";
/// Set and not empty: no colours.
pub(crate) const NO_COLOR: &str = "NO_COLOR";
/// The kind of terminal.
pub(crate) const TERM: &str = "TERM";
/// Set by the program itself for the process that serves a FUSE mount: say on stdout when it is ready, then detach.
pub(crate) const FUSE_SERVER: &str = "CFS_FUSE_SERVER";
