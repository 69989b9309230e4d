//! Copies between media; one binary.
#![cfg(feature = "registry")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod lab;

mod downloads;
mod files;
mod kept;
mod registries;
mod skopeo;
mod uploads;
