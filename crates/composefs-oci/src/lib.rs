//! OCI container images in a composefs repository: pull, look up, build the image, seal.
//!
//! Start reading at [`mod@pull`], which is the whole flow on a page. The modules are listed so that each uses only
//! those above it; the functions of 0.3 are at the end.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod digest;
pub mod ident;
pub mod environment;
pub mod credentials;
pub mod reference;
pub mod policy;
pub mod model;
pub mod decompress;
pub mod error;
pub mod transport;
pub mod import;
pub mod stored;
pub mod rootfs;
pub mod boot;
pub mod seal;
#[cfg(feature = "signatures")]
pub mod signature;
pub mod fsck;
mod stoppable;
mod afresh;
pub mod find;
pub mod trust;
pub mod bundle;
pub mod usage;
pub mod pull;
pub mod sealing;
pub mod repair;
pub mod copy;
pub mod export;
pub mod notes;

pub mod v0_3;

pub use error::{Error, Step};
#[cfg(any(feature = "proxy", feature = "registry"))]
pub use v0_3::pull;
pub use v0_3::{
    image, import_layer, ls_layer, mount, open_config, open_config_shallow, seal, tar, write_config,
};
