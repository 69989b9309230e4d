//! Binding the image id to the image: whoever trusts the config then trusts every byte of the file system.

pub mod annotation;
pub mod claim;
pub mod label;

pub use label::{LABEL, Sealed, seal, sealed_image};
