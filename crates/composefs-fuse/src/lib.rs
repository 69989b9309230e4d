//! composefs images as FUSE mounts, for those who may not mount with the kernel: the server, its mount, and a user
//! namespace to have it in.
//!
//! [`FuseMount::spawn`] serves an image on threads of this process and returns when the mount can be used. In goes the
//! image's EROFS file, which stays in memory as it is, and the object store; out come names, attributes and contents,
//! read-only, as the kernel's own mount shows them. Objects that the kernel does not check are hashed before the first
//! byte of them is given away. Where kernel and privileges allow, the kernel reads objects without asking again
//! (passthrough).
//!
//! [`enter_user_namespace`] makes an ordinary user root in a namespace of its own, where FUSE and overlayfs can be
//! mounted.
//!
//! Nothing here holds the repository's lock: the mount's record keeps the image.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod error;
pub mod options;
mod tree;
mod files;
mod server;
mod device;
pub mod mount;
pub mod unmount;
pub mod namespace;

pub use error::{FuseError, FuseStep};
pub use mount::{FuseMount, Stopper};
pub use namespace::{Ids, enter_user_namespace};
pub use options::{FuseOptions, Owners, Verify, Visitors};
pub use unmount::unmount;
