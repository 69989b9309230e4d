//! Binding the image id to the image: whoever trusts the image's documents, or who signed the seal, then trusts every
//! byte of the file system.

pub mod annotation;
pub mod claim;
pub mod error;
pub mod digests;
pub mod artifact;
pub mod inline;
pub mod label;

pub use error::SealError;
pub use label::{LABEL, Sealed, seal, sealed_image};
